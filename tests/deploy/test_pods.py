"""Pods that the project ships, held to Kubernetes' strictest rules for pods and to good manners."""

import unittest

import chart

# Volumes that the level `restricted` of the Pod Security Standards allows.
VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def templates():
    """Every pod template in the chart and in the examples, with where it comes from."""
    sources = {f"preset {name}": chart.objects(chart.preset(name)) for name in chart.PRESETS}
    sources["defaults"] = chart.objects()
    for path in (chart.DEPLOY / "examples").glob("*.yaml"):
        sources[path.name] = chart.documents(path)
    for source, found in sorted(sources.items()):
        for one in chart.of_kind(found, "Deployment"):
            yield f"{source}: {one['metadata']['name']}", one["spec"]["template"]["spec"]


def offences(pod):
    """What the level `restricted` (Pod Security Standards, 1.34) finds wrong with a pod."""
    found = []
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            found.append(f"{field} is on")
    for volume in pod.get("volumes", []):
        if not VOLUMES & set(volume):
            found.append(f"volume {volume['name']} is of a kind that is not allowed")
    own = pod.get("securityContext", {})
    for container in pod.get("initContainers", []) + pod["containers"]:
        name = container["name"]
        context = {**own, **container.get("securityContext", {})}
        if context.get("privileged"):
            found.append(f"{name}: privileged")
        if context.get("allowPrivilegeEscalation") is not False:
            found.append(f"{name}: allowPrivilegeEscalation is not false")
        if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
            found.append(f"{name}: may be root")
        if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            found.append(f"{name}: no seccomp profile")
        capabilities = context.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []):
            found.append(f"{name}: keeps capabilities")
        if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            found.append(f"{name}: adds capabilities")
        if any("hostPort" in port for port in container.get("ports", [])):
            found.append(f"{name}: hostPort")
    return found


class Pods(unittest.TestCase):
    def test_there_are_pods_to_look_at(self):
        self.assertGreater(len(list(templates())), 7)

    def test_pods_are_restricted(self):
        for name, pod in templates():
            with self.subTest(name):
                self.assertEqual(offences(pod), [])

    def test_the_check_finds_what_is_wrong(self):
        _, good = next(templates())
        container = good["containers"][0]

        def bad(pod=None, **context):
            changed = {**container, "securityContext": {**container["securityContext"], **context}}
            return offences({**good, "containers": [changed], **(pod or {})})

        self.assertEqual(bad(), [])
        for changes in (
            {"privileged": True},
            {"allowPrivilegeEscalation": True},
            {"runAsNonRoot": False},
            {"runAsUser": 0},
            {"seccompProfile": {"type": "Unconfined"}},
            {"capabilities": {"drop": ["NET_RAW"]}},
            {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}},
        ):
            self.assertEqual(len(bad(**changes)), 1, changes)
        self.assertEqual(len(bad({"hostNetwork": True})), 1)
        self.assertEqual(len(bad({"volumes": [{"name": "x", "hostPath": {"path": "/"}}]})), 1)

    def test_pods_cannot_write_and_know_their_bounds(self):
        for name, pod in templates():
            for container in pod["containers"]:
                with self.subTest(name):
                    self.assertIs(container["securityContext"]["readOnlyRootFilesystem"], True)
                    for bound in ("requests", "limits"):
                        self.assertEqual(set(container["resources"][bound]), {"cpu", "memory"})
                    self.assertIn("readinessProbe", container)

    def test_only_the_router_has_a_token(self):
        for name, pod in templates():
            is_router = pod["containers"][0]["name"] == "router"
            self.assertIs(pod["automountServiceAccountToken"], is_router, name)

    def test_the_router_has_two_cores_and_512_mebibytes_at_most(self):
        router = chart.only(chart.objects(), "Deployment")["spec"]["template"]["spec"]
        limits = router["containers"][0]["resources"]["limits"]
        self.assertEqual(limits, {"cpu": "2", "memory": "512Mi"})

    def test_a_restart_does_not_depend_on_the_api_server(self):
        router = chart.only(chart.objects(), "Deployment")["spec"]["template"]["spec"]
        container = router["containers"][0]
        for probe in ("startupProbe", "livenessProbe"):
            self.assertEqual(container[probe]["httpGet"]["path"], "/livez")
        self.assertEqual(container["readinessProbe"]["httpGet"]["path"], "/readyz")


if __name__ == "__main__":
    unittest.main()
