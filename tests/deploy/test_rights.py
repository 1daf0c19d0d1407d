"""What the router may do at the API server, word for word, and that it is no more than that."""

import itertools
import unittest

import audit
import chart

# Of endpoints, their targets and pods: where the router watches.
ENDPOINT_RIGHTS = {
    ("modelway.dev", "inferenceendpoints"): {"list", "watch"},
    ("modelway.dev", "inferenceendpoints/status"): {"patch"},
    ("", "pods"): {"list", "watch", "patch"},
    ("apps", "deployments"): {"list", "watch"},
    ("apps", "replicasets"): {"list", "watch"},
    ("apps", "statefulsets"): {"list", "watch"},
    ("apps", "deployments/scale"): {"get", "patch"},
    ("apps", "statefulsets/scale"): {"get", "patch"},
    ("autoscaling", "horizontalpodautoscalers"): {"list", "watch"},
    ("events.k8s.io", "events"): {"create", "patch"},
}
SECRET_RIGHTS = {("", "secrets"): {"get", "watch", "create", "patch"}}
# Of callers of the admin port: only where the router has rights in the cluster as a whole.
REVIEW_RIGHTS = {
    ("authentication.k8s.io", "tokenreviews"): {"create"},
    ("authorization.k8s.io", "subjectaccessreviews"): {"create"},
}
# In its own namespace without a condition on the name.
OWN_RIGHTS = {("coordination.k8s.io", "leases"): {"create"}, ("", "secrets"): {"create"}}
LEASES = ("coordination.k8s.io", "leases")
NEVER = {
    ("", "pods/exec"),
    ("", "secrets/*"),
    ("", "serviceaccounts/token"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "clusterroles"),
}


def rights(values=None, name=chart.RELEASE, namespace=chart.NAMESPACE):
    account = f"system:serviceaccount:{namespace}:{name}"
    return audit.rights(chart.objects(values, name, namespace), account)


def table(found, namespace):
    """The rights in one namespace (none: in all) by resource, without those limited to names."""
    result = {}
    for right in found:
        if right.namespace == namespace and not right.names:
            result.setdefault((right.group, right.resource), set()).add(right.verb)
    return result


def named(found):
    return {(r.verb, r.group, r.resource, r.namespace, r.names) for r in found if r.names}


class Rights(unittest.TestCase):
    def test_all_namespaces_are_served_without_a_secret_of_them(self):
        found = rights()
        self.assertEqual(table(found, None), {**ENDPOINT_RIGHTS, **REVIEW_RIGHTS})
        own = {**OWN_RIGHTS, **SECRET_RIGHTS}
        self.assertEqual(table(found, "modelway"), own)
        self.assertEqual({right.namespace for right in found}, {None, "modelway"})

    def test_the_lease_is_one_by_name(self):
        for values, lease in (({}, "modelway"), ({"leaseName": "scoring"}, "scoring")):
            leases = {right for right in named(rights(values)) if right[2] == "leases"}
            self.assertEqual(
                leases, {(verb, *LEASES, "modelway", (lease,)) for verb in ("get", "update")}
            )

    def test_the_signing_keys_are_one_secret_by_name(self):
        default = "modelway-signing-keys"
        for values, name in (({}, default), ({"tokens": {"signingSecret": "mine"}}, "mine")):
            secrets = {right for right in named(rights(values)) if right[2] == "secrets"}
            verbs = ("get", "watch", "patch")
            self.assertEqual(secrets, {(verb, "", "secrets", "modelway", (name,)) for verb in verbs})

    def test_callers_are_looked_up_only_where_that_is_asked_for(self):
        found = rights({"admin": {"kubernetesAuth": False}})
        self.assertEqual(table(found, None), ENDPOINT_RIGHTS)

    def test_secrets_are_read_only_where_that_is_asked_for(self):
        found = rights({"secretNamespaces": ["models", "more"]})
        self.assertEqual(table(found, "models"), SECRET_RIGHTS)
        self.assertEqual(table(found, "more"), SECRET_RIGHTS)
        self.assertEqual(table(found, "modelway"), OWN_RIGHTS)

    def test_secrets_can_be_limited_to_names(self):
        found = rights({"secretNames": ["demo-keys"], "secretNamespaces": ["models"]})
        self.assertEqual(table(found, "models"), {})
        self.assertEqual(
            {right for right in named(found) if right[2:4] == ("secrets", "models")},
            {(verb, "", "secrets", "models", ("demo-keys",)) for verb in ("get", "watch", "patch")},
        )

    def test_listed_namespaces_need_no_right_in_the_cluster(self):
        values = {"watchNamespaces": ["models", "more"], "rbac": {"aggregateRoles": False}}
        found = rights(values)
        self.assertEqual({right.namespace for right in found}, {"models", "more", "modelway"})
        for namespace in ("models", "more"):
            self.assertEqual(table(found, namespace), {**ENDPOINT_RIGHTS, **SECRET_RIGHTS})
        self.assertEqual(
            table(found, "modelway"), {**OWN_RIGHTS, ("", "pods"): {"list", "watch"}}
        )
        kinds = {one["kind"] for one in chart.objects(values)}
        self.assertEqual(kinds & {"ClusterRole", "ClusterRoleBinding"}, set())

    def test_an_own_namespace_that_is_watched_is_not_granted_twice(self):
        found = rights({"watchNamespaces": ["modelway"]})
        expected = {**ENDPOINT_RIGHTS, **OWN_RIGHTS, **SECRET_RIGHTS}
        self.assertEqual(table(found, "modelway"), expected)
        self.assertEqual({right.namespace for right in found}, {"modelway"})

    def test_nothing_is_granted_by_wildcard_and_nothing_that_leads_to_more(self):
        forms = [{}, {"watchNamespaces": ["models"]}, {"secretNames": ["a"]}, {"replicaCount": 3}]
        forms += [chart.preset(name) for name in chart.PRESETS]
        for values in forms:
            for one in chart.objects(values):
                if one["kind"] not in ("Role", "ClusterRole"):
                    continue
                for rule in one["rules"]:
                    words = itertools.chain(rule["apiGroups"], rule["resources"], rule["verbs"])
                    self.assertFalse([word for word in words if "*" in word], rule)
                    self.assertNotIn("nonResourceURLs", rule)
                    self.assertFalse({"escalate", "bind", "impersonate"} & set(rule["verbs"]))
                    pairs = itertools.product(rule["apiGroups"], rule["resources"])
                    self.assertFalse(NEVER & set(pairs), rule)
                    if "secrets" in rule["resources"]:
                        self.assertFalse({"list", "update", "delete", "deletecollection"} & set(rule["verbs"]))

    def test_no_binding_gives_secrets_in_all_namespaces(self):
        for values in ({}, {"secretNamespaces": ["models"]}):
            secrets = [right for right in rights(values) if right.resource == "secrets"]
            self.assertTrue(secrets)
            self.assertNotIn(None, {right.namespace for right in secrets})

    def test_bindings_name_the_account_of_the_pods(self):
        for account in ({}, {"name": "mine"}, {"create": False, "name": "theirs"}):
            found = chart.objects({"serviceAccount": account})
            pod = chart.only(found, "Deployment")["spec"]["template"]["spec"]
            for one in found:
                if one["kind"].endswith("Binding"):
                    subject = {
                        "kind": "ServiceAccount",
                        "name": pod["serviceAccountName"],
                        "namespace": "modelway",
                    }
                    self.assertEqual(one["subjects"], [subject])

    def test_people_with_view_edit_and_admin_get_endpoints(self):
        prefix = "rbac.authorization.k8s.io/aggregate-to-"
        found = {
            one["metadata"]["name"]: one
            for one in chart.of_kind(chart.objects(), "ClusterRole")
            if any(label.startswith(prefix) for label in one["metadata"]["labels"])
        }
        given = {}
        for one in found.values():
            for label in one["metadata"]["labels"]:
                if label.startswith(prefix):
                    verbs = {verb for rule in one["rules"] for verb in rule["verbs"]}
                    given.setdefault(label.removeprefix(prefix), set()).update(verbs)
        read = {"get", "list", "watch"}
        write = read | {"create", "update", "patch", "delete", "deletecollection"}
        self.assertEqual(given, {"view": read, "edit": write, "admin": write})

    def test_the_page_about_rights_has_them_all(self):
        page = (chart.ROOT / "docs" / "rbac.md").read_text()
        for (group, resource), verbs in {**ENDPOINT_RIGHTS, **REVIEW_RIGHTS, **SECRET_RIGHTS}.items():
            name = f"{resource}.{group}" if group else resource
            row = next((line for line in page.splitlines() if f"| `{name}` |" in line), "")
            for verb in verbs:
                self.assertIn(f"`{verb}`", row, f"docs/rbac.md: the row of `{name}`")


if __name__ == "__main__":
    unittest.main()
