"""The router lives with exactly the chart's rights: nothing is forbidden, and no right is spare."""

import base64
import json
import tempfile
import threading
import unittest

import yaml

import audit
import chart
import cluster
import router
from test_cluster import OnTheApiServer

ENDPOINT = "demo"
SCORE = f"/api/v1/endpoint/{ENDPOINT}/score"
# More than one replica of each version can serve, so that it scales.
CLIENTS = 4


def workload(kind, name):
    labels = {"app": name}
    container = {"name": "model", "image": "model"}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    if kind == "StatefulSet":
        spec.update(serviceName=name, podManagementPolicy="Parallel")
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def version(name, kind, is_default):
    return {
        "name": name,
        "isDefault": is_default,
        "targetRef": {"kind": kind, "name": name},
        "autoscale": {"minReplicas": 1, "maxReplicas": 4, "scaleDownWindow": "1s"},
    }


def versions(default):
    kinds = {"blue": "Deployment", "green": "StatefulSet"}
    return [version(name, kind, name == default) for name, kind in kinds.items()]


ENDPOINT_OBJECT = {
    "apiVersion": "modelway.dev/v1alpha1",
    "kind": "InferenceEndpoint",
    "metadata": {"name": ENDPOINT},
    "spec": {"auth": {"mode": "Key", "secretRef": {"name": "demo-keys"}}, "versions": versions("blue")},
}


@unittest.skipUnless(cluster.has_control_plane(), cluster.WITHOUT)
class Life(OnTheApiServer):
    """A short life of an endpoint, with all that a router does at the API server."""

    def test_with_all_namespaces(self):
        self.live("life-all", {"secretNamespaces": ["life-all-models"]})

    def test_with_listed_namespaces(self):
        values = {"watchNamespaces": ["life-some-models"], "rbac": {"aggregateRoles": False}}
        self.live("life-some", values)

    def live(self, own, values):
        self.assertTrue(router.is_built(), router.WITHOUT)
        self.models = f"{own}-models"
        self.crd()
        for name in (own, self.models):
            self.namespace(name)
        config = self.helm(own)
        config.install(chart.CHART, chart.RELEASE, {**values, "crds": {"enabled": False}}, namespace=own)
        self.addCleanup(config.uninstall, chart.RELEASE)
        self.account = f"system:serviceaccount:{own}:{chart.RELEASE}"
        # Nobody balances between routers here: the end need not wait for it.
        quick = chart.merged(values, {"drain": {"delaySeconds": 0}})
        objects = chart.objects(quick, namespace=own)
        self.granted = audit.rights(objects, self.account)
        self.before = len(self.server.audit_lines())
        self.api = router.Api(self.server.kubeconfig)
        self.addCleanup(self.api.close)

        folder = tempfile.TemporaryDirectory(prefix="modelway-life.")
        self.addCleanup(folder.cleanup)
        token = self.server.kubectl("create", "token", chart.RELEASE, "-n", own).strip()
        path = self.server.directory / f"{own}.kubeconfig"
        limited = router.token_kubeconfig(self.server.kubeconfig, token, own, path)
        pods = router.Pods(self.server.kubeconfig, self.models)
        self.addCleanup(pods.stop)
        self.router = router.Router(objects, limited, folder.name)
        self.addCleanup(self.router.stop)
        try:
            self.scores()
            self.replaces_a_key(may_ask_the_cluster="watchNamespaces" not in values)
            self.rotates_its_signing_keys(own)
            self.scales_up()
            self.scales_down()
            self.changes_its_default()
            self.assertEqual(self.router.stop(), 0)
            self.used_what_it_may()
        except AssertionError as error:
            raise AssertionError(f"{error}\nthe router said:\n{self.router.log()[-4000:]}") from error

    def made(self):
        return audit.calls(self.server.audit_lines()[self.before :], self.account)

    def has_done(self, verb, resource):
        return any((one.verb, one.resource) == (verb, resource) for one in self.made())

    def scores(self):
        """From nothing to an answer: the router makes the keys and says that it is ready."""
        objects = [workload("Deployment", "blue"), workload("StatefulSet", "green"), ENDPOINT_OBJECT]
        text = yaml.safe_dump_all(objects)
        self.server.kubectl("apply", "-n", self.models, "-f", "-", given=text)
        self.server.kubectl(
            *("wait", "-n", self.models, f"inferenceendpoint/{ENDPOINT}"),
            *("--for=condition=Ready", "--timeout=50s"),
        )
        key = ("get", "secret", "demo-keys", "-n", self.models)
        form = "go-template={{.data.primaryKey | base64decode}}"
        self.headers = {"Authorization": f"Bearer {self.server.kubectl(*key, '-o', form)}"}
        code, said = self.router.ask(SCORE, "{}", **self.headers)
        self.assertEqual(code, 200, said)

    def replaces_a_key(self, may_ask_the_cluster):
        path = f"/api/v1/endpoints/{ENDPOINT}/keys/secondary/regenerate"
        code, said = self.router.ask_admin(path)
        self.assertEqual(code, 200, said)
        if may_ask_the_cluster:
            # Somebody whom the cluster knows, and who may nothing: the router has asked for both.
            nobody = self.server.kubectl("create", "token", "default", "-n", self.models).strip()
            code, said = self.router.ask_admin(path, nobody)
            self.assertEqual(code, 403, said)

    def rotates_its_signing_keys(self, own):
        """A month passes for the keys that tokens are signed with."""
        path = f"/api/v1/namespaces/{own}/secrets/{chart.RELEASE}-signing-keys"

        def keys():
            data = self.api.get(path).get("data", {})
            return json.loads(base64.b64decode(data.get("keys.json", "")) or "{}").get("keys", [])

        router.until("signing keys are made", lambda: len(keys()) == 1)
        [key] = keys()
        text = json.dumps({"keys": [{**key, "made": "2020-01-01T00:00:00Z"}]})
        self.api.call("PATCH", path, {"data": {"keys.json": base64.b64encode(text.encode()).decode()}})
        router.until("a second one is made", lambda: len(keys()) == 2)

    def replicas(self, plural):
        name = {"deployments": "blue", "statefulsets": "green"}[plural]
        return self.api.get(f"/apis/apps/v1/namespaces/{self.models}/{plural}/{name}")["spec"]["replicas"]

    def scales_up(self):
        """Load makes replicas, also while somebody else writes to the same objects all the time."""
        loads = [
            router.Load(
                self.router, SCORE, {**self.headers, "azureml-model-deployment": name}, CLIENTS
            )
            for name in ("blue", "green")
        ]
        try:
            for plural in ("deployments", "statefulsets"):
                router.until(f"more {plural}", lambda plural=plural: self.replicas(plural) > 1)
            for plural, name in (("deployments", "blue"), ("statefulsets", "green")):
                self.collides(plural, name)
        finally:
            for load in loads:
                load.stop()
        for load in loads:
            self.assertGreater(load.codes.get(200, 0), 0, load.codes)

    def collides(self, plural, name):
        """Others write between what the router knows and what it writes: it has to look again."""
        path = f"/apis/apps/v1/namespaces/{self.models}/{plural}/{name}"
        is_over, count = threading.Event(), 0
        other = router.Api(self.server.kubeconfig)

        def write():
            number = 0
            while not is_over.is_set():
                number += 1
                other.call("PATCH", path, {"metadata": {"annotations": {"by": str(number)}}})

        thread = threading.Thread(target=write)
        thread.start()
        try:
            router.until(
                f"the router looks at the scale of {plural}",
                lambda: self.has_done("get", f"{plural}/scale"),
                # Fewer than the load needs, again and again, so that there is something to write.
                lambda: self.api.call("PATCH", path, {"spec": {"replicas": 1}}),
            )
        finally:
            is_over.set()
            thread.join()
            other.close()
        # The last word is the router's, else there is nothing to take away later.
        router.until(f"more {plural} again", lambda: self.replicas(plural) > 1)

    def scales_down(self):
        for plural in ("deployments", "statefulsets"):
            router.until(f"fewer {plural}", lambda plural=plural: self.replicas(plural) == 1)
        router.until("a pod is marked", lambda: self.has_done("patch", "pods"))

    def changes_its_default(self):
        """To and fro: what happens twice is counted in the event that is there already."""
        path = f"/apis/modelway.dev/v1alpha1/namespaces/{self.models}/inferenceendpoints/{ENDPOINT}"
        defaults = {"next": "green"}

        def change():
            new = defaults["next"]
            status = self.api.get(path).get("status", {})
            if status.get("defaultVersion") == new:
                defaults["next"] = "blue" if new == "green" else "green"
                self.api.call("PATCH", path, {"spec": {"versions": versions(defaults["next"])}})
            elif new == "green":
                self.api.call("PATCH", path, {"spec": {"versions": versions(new)}})

        # The scaling before this may have been counted already: both have to be seen.
        router.until(
            "the change of the default is an event, and an event is counted",
            lambda: "DefaultChanged" in self.reasons() and self.has_done("patch", "events"),
            change,
        )

    def reasons(self):
        """Of all events about endpoints."""
        path = f"/apis/events.k8s.io/v1/namespaces/{self.models}/events"
        about = (one for one in self.api.get(path)["items"] if one["regarding"].get("kind") == "InferenceEndpoint")
        return {one["reason"] for one in about}

    def used_what_it_may(self):
        # A lease is renewed, and given back at the end.
        made = self.made()
        self.assertEqual([str(call) for call in audit.forbidden(made)], [])
        self.assertEqual([str(right) for right in audit.unused(self.granted, made)], [])
        self.assertEqual([str(call) for call in audit.ungranted(self.granted, made)], [])
        reasons = self.reasons()
        self.assertLessEqual({"ScaledUp", "ScaledDown", "DefaultChanged"}, reasons, json.dumps(sorted(reasons)))


if __name__ == "__main__":
    unittest.main()
