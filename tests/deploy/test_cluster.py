"""Everything in deploy/ on a real API server: applied, installed, upgraded, taken away again."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import helm_python
import yaml

import audit
import chart
import cluster
import manifests
from test_manifests import OVERLAYS

CRD = "crd/inferenceendpoints.modelway.dev"
# Kinds that the API server has only with the CRDs of other projects.
FOREIGN = ("gateway.networking.k8s.io/", "cert-manager.io/")
# What the API server adds to everybody who is logged in.
EVERYBODY = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}
EXAMPLES = sorted(path for path in (chart.DEPLOY / "examples").glob("*.yaml"))
# A file for `modelway dev`, not for a cluster.
NOT_FOR_CLUSTERS = {"demo.yaml"}


def stand_in(kind, plural):
    """A CRD that makes the API server know a kind of the Prometheus operator, whatever is in it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "names": {"kind": kind, "plural": plural},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": True,
                        }
                    },
                }
            ],
        },
    }


@unittest.skipUnless(cluster.has_control_plane(), cluster.WITHOUT)
class OnTheApiServer(unittest.TestCase):
    def setUp(self):
        self.server = cluster.shared()

    def apply(self, text, *arguments, kubeconfig=None):
        return self.server.kubectl(
            "apply", "--server-side", "-f", "-", *arguments, given=text, kubeconfig=kubeconfig
        )

    def namespace(self, name):
        # An earlier test's namespace of this name may still be on its way out.
        self.server.kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=50s")
        self.apply(yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        self.addCleanup(self.server.kubectl, "delete", "namespace", name, "--wait=false")

    def crd(self):
        self.server.kubectl("apply", "--server-side", "--force-conflicts", "-f", manifests.CRD)
        self.server.kubectl("wait", "--for=condition=Established", CRD, "--timeout=30s")

    def delete_crd(self):
        self.server.kubectl("delete", CRD, "--ignore-not-found", "--timeout=50s")

    def helm(self, namespace):
        config = helm_python.Config(kubeconfig_path=self.server.kubeconfig, namespace=namespace)
        self.addCleanup(config.close)
        return config

    def names(self, *arguments):
        """Names of the objects that a `kubectl get` finds."""
        found = json.loads(self.server.kubectl("get", *arguments, "-o", "json"))
        return {one["metadata"]["name"] for one in found["items"]}


class Manifests(OnTheApiServer):
    def test_install_is_applied_and_taken_away(self):
        text = manifests.INSTALL.read_text()
        self.server.run("delete", "-f", "-", "--ignore-not-found", "--timeout=50s", given=text)
        self.apply(text)
        self.addCleanup(self.server.run, "delete", "-f", "-", "--timeout=50s", given=text)
        self.server.kubectl("wait", "--for=condition=Established", CRD, "--timeout=30s")
        # Twice is as good as once, and kustomize's overlays fit over it.
        self.apply(text)
        for folder in OVERLAYS:
            path = chart.DEPLOY / "kustomize" / folder
            dry = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", path]
            code, _, error = self.server.run(*dry)
            # The overlays make a namespace of their own, that a dry run does not.
            problems = [line for line in error.splitlines() if '"models" not found' not in line]
            self.assertTrue(code == 0 or not problems, problems)
        replicas = self.server.kubectl(
            *("get", "deployment", "modelway", "-n", "modelway", "-o", "jsonpath={.spec.replicas}")
        )
        self.assertEqual(replicas, "1")
        # The controllers could make the pod: nothing in it offends the namespace's `restricted`.
        self.server.kubectl(
            *("wait", "-n", "modelway", "--timeout=50s", "deployment/modelway"),
            "--for=jsonpath={.status.unavailableReplicas}=1",
        )
        self.assertEqual(len(self.names("pods", "-n", "modelway")), 1)

    def test_overlays_are_applied_for_real(self):
        for folder in OVERLAYS:
            with self.subTest(folder):
                path = chart.DEPLOY / "kustomize" / folder
                self.server.kubectl("apply", "--server-side", "--force-conflicts", "-k", path)
                self.server.kubectl("wait", "--for=condition=Established", CRD, "--timeout=30s")
                self.server.kubectl("delete", "-k", path, "--timeout=55s")

    def test_examples_are_applied_dry_and_for_real(self):
        self.crd()
        self.addCleanup(self.delete_crd)
        for name in ("models", "modelway"):
            self.namespace(name)
        self.assertGreater(len(EXAMPLES), 5)
        for path in EXAMPLES:
            if path.name in NOT_FOR_CLUSTERS:
                continue
            found = chart.documents(path)
            ours = [one for one in found if not one["apiVersion"].startswith(FOREIGN)]
            with self.subTest(path.name):
                if ours:
                    text = yaml.safe_dump_all(ours)
                    self.apply(text, "--dry-run=server", "--force-conflicts")
                    self.apply(text, "--force-conflicts")

    @unittest.skipUnless(cluster.has_kinds(), cluster.WITHOUT_KINDS)
    def test_examples_for_other_projects_fit_their_kinds(self):
        folder = pathlib.Path(os.environ[cluster.KINDS])
        files = sorted(folder.glob("*.yaml"))
        self.assertTrue(files, f"{folder} holds no CRD")
        for path in files:
            self.server.kubectl("apply", "--server-side", "-f", path)
            self.addCleanup(self.server.kubectl, "delete", "-f", path, "--timeout=50s")
        self.server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=50s")
        self.namespace("modelway")
        applied = set()
        for path in EXAMPLES:
            theirs = [one for one in chart.documents(path) if one["apiVersion"].startswith(FOREIGN)]
            for one in theirs:
                self.apply(json.dumps(one), "--validate=strict")
                applied.add(one["kind"])
        self.assertEqual(applied, {"Gateway", "HTTPRoute", "Issuer", "Certificate"})


class Releases(OnTheApiServer):
    def install(self, namespace, values=None, name=chart.RELEASE):
        self.namespace(namespace)
        config = self.helm(namespace)
        release = config.install(chart.CHART, name, values or {}, namespace=namespace)
        return config, release

    def test_a_release_comes_is_upgraded_and_goes_but_its_crd_stays(self):
        self.delete_crd()
        self.addCleanup(self.delete_crd)
        self.namespace("models")
        config, _ = self.install("life", {"secretNamespaces": ["models"]})
        self.server.kubectl("wait", "--for=condition=Established", CRD, "--timeout=30s")
        quickstart = chart.documents(chart.DEPLOY / "examples" / "quickstart.yaml")
        [endpoint] = [one for one in quickstart if one["kind"] == "InferenceEndpoint"]
        self.apply(json.dumps(endpoint))

        # A new chart brings a new CRD: here one with one more short name.
        with tempfile.TemporaryDirectory() as folder:
            copied = pathlib.Path(folder) / "modelway"
            subprocess.run(["cp", "-r", chart.CHART, copied], check=True)
            path = copied / "files" / "inferenceendpoints.yaml"
            [crd] = chart.documents(path)
            crd["spec"]["names"]["shortNames"].append("newer")
            path.write_text(yaml.safe_dump(crd))
            values = {"secretNamespaces": ["models"], "replicaCount": 2}
            config.upgrade(copied, chart.RELEASE, values, namespace="life")
        names = self.server.kubectl("get", CRD, "-o", "jsonpath={.spec.names.shortNames}")
        self.assertIn("newer", names)
        self.assertEqual(self.names("poddisruptionbudgets", "-n", "life"), {"modelway"})

        self.assertEqual(self.names("inferenceendpoints", "-n", "models"), {"demo"})
        config.uninstall(chart.RELEASE)
        self.assertEqual(self.names("inferenceendpoints", "-n", "models"), {"demo"})
        for kind in ("deployments.apps", "services", "roles", "rolebindings"):
            self.assertEqual(self.names(kind, "-n", "life"), set(), kind)
        mine = ("-l", "app.kubernetes.io/part-of=modelway")
        self.assertEqual(self.names("clusterroles", *mine), set())
        self.assertEqual(self.names("clusterrolebindings", *mine), set())

        # The CRD that stayed is taken over by the next release.
        again = self.helm("life")
        again.install(chart.CHART, chart.RELEASE, {}, namespace="life")
        again.uninstall(chart.RELEASE)

    def test_presets_and_forms_are_accepted(self):
        self.crd()
        self.addCleanup(self.delete_crd)
        self.namespace("models")
        forms = {f"preset-{name}": chart.preset(name) for name in chart.PRESETS}
        forms["namespaced"] = {"watchNamespaces": ["models"], "rbac": {"aggregateRoles": False}}
        forms["azureml"] = {
            "legacyLabels": True,
            "service": {"name": "azureml-fe", "type": "LoadBalancer", "internalLoadBalancer": True},
        }
        forms["closed"] = {
            "drain": {"preStopSeconds": 5},
            "networkPolicy": {"enabled": True, "limitEgress": True},
        }
        for name, values in forms.items():
            with self.subTest(name):
                quiet = chart.merged(values, {"crds": {"enabled": False}})
                config, _ = self.install(name, quiet)
                config.uninstall(chart.RELEASE)

    def test_monitors_come_with_their_kinds(self):
        self.crd()
        self.addCleanup(self.delete_crd)
        kinds = {"serviceMonitor": "ServiceMonitor", "podMonitor": "PodMonitor"}
        for value, kind in kinds.items():
            plural = f"{kind.lower()}s"
            values = {"crds": {"enabled": False}, "metrics": {value: {"enabled": True}}}
            with self.subTest(kind):
                config, release = self.install(f"no-{kind.lower()}", values)
                self.assertNotIn(f"kind: {kind}", release["manifest"])
                config.uninstall(chart.RELEASE)

                self.apply(json.dumps(stand_in(kind, plural)))
                name = f"crd/{plural}.monitoring.coreos.com"
                self.addCleanup(self.server.kubectl, "delete", name, "--timeout=50s")
                self.server.kubectl("wait", "--for=condition=Established", name, "--timeout=30s")
                config, release = self.install(f"with-{kind.lower()}", values)
                self.assertIn(f"kind: {kind}", release["manifest"])
                config.uninstall(chart.RELEASE)


class Rights(OnTheApiServer):
    def rules(self, account, namespace):
        """What the API server itself says an account may do, but for what everybody may."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        # kubectl's own check of what it sends would ask for CRDs, in the account's name.
        create = ("create", "--validate=false", "-f", "-", "-o", "json", "--as", account)
        answer = self.server.kubectl(*create, given=json.dumps(review))
        found = set()
        for rule in json.loads(answer)["status"]["resourceRules"]:
            found |= audit.expanded(rule, namespace)
        return {right for right in found if right.resource not in EVERYBODY}

    def test_the_account_may_do_what_the_page_says_and_no_more(self):
        self.crd()
        self.addCleanup(self.delete_crd)
        for name in ("models", "bystander", "rights"):
            self.namespace(name)
        account = "system:serviceaccount:rights:modelway"
        forms = [
            {"secretNamespaces": ["models"]},
            {"secretNamespaces": ["models"], "secretNames": ["demo-keys"]},
            {"watchNamespaces": ["models"], "rbac": {"aggregateRoles": False}},
        ]
        config = self.helm("rights")
        for values in forms:
            with self.subTest(values):
                found = chart.objects(values, namespace="rights")
                expected = audit.rights(found, account)
                quiet = {**values, "crds": {"enabled": False}}
                self.addCleanup(config.uninstall, chart.RELEASE, ignore_not_found=True)
                config.install(chart.CHART, chart.RELEASE, quiet, namespace="rights")
                for namespace in ("models", "bystander", "rights"):
                    here = {
                        audit.Right(r.verb, r.group, r.resource, namespace, r.names)
                        for r in expected
                        if r.namespace in (None, namespace)
                    }
                    self.assertEqual(self.rules(account, namespace), here)
                config.uninstall(chart.RELEASE)

    def test_one_secret_is_watched_by_name_and_no_other(self):
        self.namespace("models")
        self.namespace("named")
        values = {
            "crds": {"enabled": False},
            "secretNamespaces": ["models"],
            "secretNames": ["demo-keys"],
        }
        config = self.helm("named")
        self.addCleanup(config.uninstall, chart.RELEASE, ignore_not_found=True)
        config.install(chart.CHART, chart.RELEASE, values, namespace="named")
        token = self.server.kubectl("create", "token", "modelway", "-n", "named").strip()
        kubeconfig = self.limited(token)
        path = "/api/v1/namespaces/models/secrets?watch=1&timeoutSeconds=1"
        allowed = {
            "&fieldSelector=metadata.name%3Ddemo-keys": True,
            "&fieldSelector=metadata.name%3Dother-keys": False,
            "&fieldSelector=type%3DOpaque": False,
            "": False,
        }
        for selector, is_allowed in allowed.items():
            code, _, error = self.server.run("get", "--raw", path + selector, kubeconfig=kubeconfig)
            self.assertEqual(code == 0, is_allowed, (selector, error))
            self.assertEqual("Forbidden" in error, not is_allowed, (selector, error))

    def test_the_audit_log_of_a_real_account_is_compared(self):
        self.crd()
        self.addCleanup(self.delete_crd)
        for name in ("models", "watched"):
            self.namespace(name)
        self.apply(chart.DEPLOY.joinpath("examples", "quickstart.yaml").read_text())
        values = {"crds": {"enabled": False}, "secretNamespaces": ["models"]}
        config = self.helm("watched")
        config.install(chart.CHART, chart.RELEASE, values, namespace="watched")
        self.addCleanup(config.uninstall, chart.RELEASE)

        account = "system:serviceaccount:watched:modelway"
        token = self.server.kubectl("create", "token", "modelway", "-n", "watched").strip()
        kubeconfig = self.limited(token)
        before = len(self.server.audit_lines())

        def call(*arguments, given=None):
            return self.server.run(*arguments, given=given, kubeconfig=kubeconfig)

        def works(*arguments, given=None):
            code, _, error = call(*arguments, given=given)
            self.assertEqual(code, 0, (arguments, error))

        scale = "/apis/apps/v1/namespaces/models/deployments/demo-blue/scale"
        works("get", "pods", "-A")
        works("get", "inferenceendpoints", "-A")
        works("get", "--raw", scale)
        patch = ("patch", "--type=merge", "-p", '{"spec":{"replicas":2}}')
        works(*patch, "deployment/demo-blue", "-n", "models", "--subresource=scale")
        status = ("patch", "--type=merge", "-p", '{"status":{"replicas":"0/2"}}')
        # kubectl reads before it patches, which the router does not and may not.
        call(*status, "inferenceendpoint/demo", "-n", "models", "--subresource=status")
        refused = [
            ("get", "secrets", "-A"),
            ("get", "secrets", "-n", "models"),
            ("delete", "pods", "--all", "-n", "models"),
            ("get", "secret", "demo-keys", "-n", "watched"),
            ("get", "nodes"),
        ]
        for arguments in refused:
            code, _, error = call(*arguments)
            self.assertNotEqual(code, 0, arguments)
            self.assertIn("Forbidden", error)
        code, _, error = call("get", "secret", "demo-keys", "-n", "models")
        self.assertIn("NotFound", error)

        made = audit.calls(self.server.audit_lines()[before:], account)
        granted = audit.rights(chart.objects(values, namespace="watched"), account)
        forbidden = {(call.verb, call.resource, call.namespace) for call in audit.forbidden(made)}
        expected = {
            ("list", "secrets", None),
            ("list", "secrets", "models"),
            ("list", "nodes", None),
            ("get", "secrets", "watched"),
        }
        self.assertLessEqual(expected, forbidden)
        self.assertEqual(audit.ungranted(granted, made), [])
        unused = {str(right) for right in audit.unused(granted, made)}
        self.assertNotIn("list pods in all namespaces", unused)
        self.assertNotIn("patch deployments/scale.apps in all namespaces", unused)
        self.assertNotIn("get secrets in models", unused)
        self.assertIn("watch pods in all namespaces", unused)
        self.assertIn("patch statefulsets/scale.apps in all namespaces", unused)
        self.assertIn("create leases.coordination.k8s.io in watched", unused)

    def limited(self, token):
        """A kubeconfig with nothing but this token."""
        [config] = chart.documents(self.server.kubeconfig)
        config["users"][0]["user"] = {"token": token}
        path = self.server.directory / "limited.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        return path


if __name__ == "__main__":
    unittest.main()
