"""The comparison of an audit log with rights, on lines as an API server wrote them."""

import json
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import unittest

import audit
import chart

ACCOUNT = chart.ACCOUNT


def line(verb, resource, code=200, **changes):
    """One line of an audit log; fields as kube-apiserver 1.34 writes them."""
    target = {"resource": resource, "apiVersion": "v1"}
    for key in ("namespace", "name", "apiGroup", "subresource"):
        if key in changes:
            target[key] = changes[key]
    return json.dumps(
        {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": "83e1a1f0-95ea-4cb1-8a6e-f6d1be4f2a75",
            "stage": changes.get("stage", "ResponseComplete"),
            "requestURI": "/api/v1/pods",
            "verb": verb,
            "user": {
                "username": changes.get("user", ACCOUNT),
                "groups": ["system:serviceaccounts", "system:authenticated"],
            },
            "sourceIPs": ["127.0.0.1"],
            "objectRef": target,
            "responseStatus": {"metadata": {}, "code": code},
            "annotations": {"authorization.k8s.io/decision": "allow"},
        }
    )


GRANTED = {
    audit.Right("list", "", "pods"),
    audit.Right("watch", "", "pods"),
    audit.Right("patch", "apps", "deployments/scale"),
    audit.Right("get", "", "secrets", "models"),
    audit.Right("get", "", "secrets", "more"),
    audit.Right("update", "coordination.k8s.io", "leases", "modelway", ("modelway",)),
}
ALL_USED = [
    line("list", "pods"),
    # A watch that still runs has begun only.
    line("watch", "pods", stage="ResponseStarted"),
    line("patch", "deployments", apiGroup="apps", subresource="scale", namespace="a", name="b"),
    line("get", "secrets", 404, namespace="models", name="demo-keys"),
    line("update", "leases", apiGroup="coordination.k8s.io", namespace="modelway", name="modelway"),
]


class Comparison(unittest.TestCase):
    def findings(self, lines, granted=frozenset(GRANTED)):
        made = audit.calls(lines, ACCOUNT)
        return (
            [str(call) for call in audit.forbidden(made)],
            [str(right) for right in audit.unused(granted, made)],
            [str(call) for call in audit.ungranted(granted, made)],
        )

    def test_a_router_that_uses_all_and_no_more_is_good(self):
        self.assertEqual(self.findings(ALL_USED), ([], [], []))

    def test_each_missing_call_is_an_unused_right(self):
        rights = [
            "list pods in all namespaces",
            "watch pods in all namespaces",
            "patch deployments/scale.apps in all namespaces",
            "get secrets in models",
            "update leases.coordination.k8s.io named modelway in modelway",
        ]
        for number, expected in enumerate(rights):
            lines = ALL_USED[:number] + ALL_USED[number + 1 :]
            _, unused, _ = self.findings(lines)
            self.assertIn(expected, unused)
            self.assertLessEqual({word.split(" in ")[0] for word in unused}, {expected.split(" in ")[0]})

    def test_a_forbidden_call_is_found_and_uses_no_right(self):
        lines = [*ALL_USED[1:], line("list", "pods", 403)]
        forbidden, unused, ungranted = self.findings(lines)
        self.assertEqual(forbidden, ["list pods in all namespaces: 403"])
        self.assertEqual(unused, ["list pods in all namespaces"])
        self.assertEqual(ungranted, [])

    def test_a_call_outside_of_the_scope_is_by_rights_of_others(self):
        cases = [
            line("get", "secrets", namespace="third", name="x"),
            line("list", "secrets", namespace="models"),
            line("delete", "pods", namespace="models", name="x"),
            line("patch", "deployments", apiGroup="apps", namespace="a", name="b"),
            line("update", "leases", apiGroup="coordination.k8s.io", namespace="modelway", name="y"),
        ]
        for call in cases:
            forbidden, unused, ungranted = self.findings([*ALL_USED, call])
            self.assertEqual((forbidden, unused, len(ungranted)), ([], [], 1), call)

    def test_a_right_in_all_namespaces_is_used_in_any(self):
        lines = [line("list", "pods", namespace="models"), *ALL_USED[1:]]
        self.assertEqual(self.findings(lines), ([], [], []))

    def test_others_and_calls_for_no_resource_do_not_count(self):
        version = json.loads(line("get", "pods"))
        del version["objectRef"]
        lines = [line("list", "pods", 403, user="admin"), json.dumps(version), ""]
        self.assertEqual(audit.calls(lines, ACCOUNT), set())

    def test_a_call_that_was_not_answered_yet_does_not_count(self):
        self.assertEqual(audit.calls([line("list", "pods", stage="RequestReceived")], ACCOUNT), set())

    def test_a_broken_line_is_named(self):
        with self.assertRaisesRegex(ValueError, "line 2 of the audit log is not JSON"):
            audit.calls([ALL_USED[0], '{"verb": '], ACCOUNT)


class Recorded(unittest.TestCase):
    """testdata/audit.log: kube-apiserver 1.34.4's own lines about an account with the chart's rights."""

    def setUp(self):
        path = pathlib.Path(__file__).parent / "testdata" / "audit.log"
        self.made = audit.calls(path.read_text(encoding="utf-8").splitlines(), ACCOUNT)
        values = {"secretNamespaces": ["models"]}
        self.granted = audit.rights(chart.objects(values), ACCOUNT)

    def test_every_call_is_read(self):
        self.assertEqual(
            sorted(map(str, self.made)),
            [
                "get deployments/scale.apps demo-blue in models: 200",
                "get secrets demo-keys in models: 404",
                "list nodes in all namespaces: 403",
                "list pods in all namespaces: 200",
                "list secrets in all namespaces: 403",
                "patch deployments/scale.apps demo-blue in models: 200",
                "watch pods in all namespaces: 200",
                "watch secrets demo-keys in models: 200",
            ],
        )

    def test_it_is_compared_with_the_charts_rights(self):
        self.assertEqual(audit.ungranted(self.granted, self.made), [])
        # Those of one object by name, such as the Secret of the signing keys, are others.
        unused = {
            (right.verb, right.resource)
            for right in audit.unused(self.granted, self.made)
            if not right.names
        }
        used = {
            ("get", "deployments/scale"),
            ("patch", "deployments/scale"),
            ("get", "secrets"),
            ("watch", "secrets"),
            ("list", "pods"),
            ("watch", "pods"),
        }
        every = {(right.verb, right.resource) for right in self.granted if not right.names}
        self.assertEqual(unused, every - used)


MANIFEST = textwrap.dedent(
    """\
    apiVersion: rbac.authorization.k8s.io/v1
    kind: ClusterRole
    metadata: {name: pods}
    rules:
      - {apiGroups: [""], resources: [pods], verbs: [list, watch]}
    ---
    apiVersion: rbac.authorization.k8s.io/v1
    kind: RoleBinding
    metadata: {name: pods, namespace: models}
    roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: pods}
    subjects:
      - {kind: ServiceAccount, name: modelway, namespace: modelway}
      - {kind: ServiceAccount, name: other, namespace: modelway}
    ---
    apiVersion: rbac.authorization.k8s.io/v1
    kind: RoleBinding
    metadata: {name: others, namespace: others}
    roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: pods}
    subjects:
      - {kind: ServiceAccount, name: other, namespace: modelway}
    """
)


class Command(unittest.TestCase):
    def run_on(self, lines, account=ACCOUNT):
        with tempfile.TemporaryDirectory() as folder:
            log, manifest = f"{folder}/audit.log", f"{folder}/rights.yaml"
            with open(log, "w", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
            with open(manifest, "w", encoding="utf-8") as file:
                file.write(MANIFEST)
            command = [sys.executable, audit.__file__, log, account, manifest]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            return done.returncode, (done.stdout + done.stderr).splitlines()

    def test_it_says_what_is_wrong_and_fails(self):
        calls = [line("list", "pods", namespace="models"), line("get", "nodes", 403, name="n")]
        self.assertEqual(
            self.run_on(calls),
            (1, ["forbidden: get nodes n in all namespaces: 403", "never used: watch pods in models"]),
        )

    def test_it_passes_what_is_good(self):
        calls = [line(verb, "pods", namespace="models") for verb in ("list", "watch")]
        self.assertEqual(self.run_on(calls), (0, ["2 rights, all used; nothing forbidden"]))

    def test_an_empty_comparison_is_a_failure(self):
        code, said = self.run_on([line("list", "pods", namespace="models", user="somebody")])
        self.assertEqual(code, 1)
        self.assertIn("nothing to compare", said[0])


if __name__ == "__main__":
    unittest.main()
