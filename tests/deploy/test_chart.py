"""The chart alone: what Helm's linter says, what it renders to, and which values it refuses."""

import copy
import functools
import itertools
import json
import unittest

import helm_python
import kubernetes_validate
from kubernetes_validate import utils as schemas
from yamllint import config as yamllint_config
from yamllint import linter as yamllint

import chart

# The oldest and the newest Kubernetes whose schemas the objects are held to.
KUBERNETES = ("1.33", "1.37")
# A schema is a file of a megabyte; read anew for each object, the tests would take a minute longer.
schemas.schema_contents = functools.cache(schemas.schema_contents)
schemas.all_versions = functools.cache(schemas.all_versions)
# Severities of Helm's linter.
WARNING = 2
YAML_RULES = yamllint_config.YamlLintConfig(
    "{extends: default, rules: {document-start: disable, line-length: {max: 110}, "
    "braces: {max-spaces-inside: 0}, indentation: {indent-sequences: whatever}, "
    # The schema of Kubernetes says where a boolean stands.
    "truthy: disable, comments: {min-spaces-from-content: 1}, empty-lines: {max: 2}}}"
)

# One change of the values each, on what the objects of a release depend. A test renders all pairs.
CHANGES = [
    {"replicaCount": 3},
    {"replicaCount": 0},
    {"image": {"tag": "1.2.3", "pullPolicy": "Always"}, "imagePullSecrets": [{"name": "pull"}]},
    {"image": {"digest": "sha256:" + "ab" * 32}},
    {"fullnameOverride": "scoring"},
    {"nameOverride": "router", "leaseName": "scoring"},
    {"crds": {"enabled": False}},
    {"watchNamespaces": ["models", "modelway"]},
    {"watchNamespaces": ["models", "123"], "secretNamespaces": ["models"]},
    {"secretNamespaces": ["models"]},
    {"secretNames": ["demo-keys", "other-keys"]},
    {"legacyLabels": True, "publicUrl": "https://models.example.com", "accessLog": False},
    {"drain": {"preStopSeconds": 15, "delaySeconds": 1, "timeoutSeconds": 60}},
    {"extraArgs": ["--workers=2"], "extraEnv": [{"name": "NO_COLOR", "value": "1"}]},
    {"service": {"name": "azureml-fe", "type": "LoadBalancer", "internalLoadBalancer": True}},
    {
        "service": {
            "type": "LoadBalancer",
            "loadBalancerSourceRanges": ["10.0.0.0/8"],
            "externalTrafficPolicy": "Local",
            "annotations": {"example.com/pool": "inside"},
        }
    },
    {"service": {"type": "NodePort", "nodePort": 30080, "port": 8080}},
    {"tls": {"enabled": True, "secretNames": ["modelway-tls"]}},
    {
        "tls": {
            "enabled": True,
            "secretNames": ["a", "b"],
            "plain": "redirect",
            "clientCASecretName": "clients",
        },
        "service": {"type": "LoadBalancer", "httpsPort": 8443},
    },
    {"admin": {"service": {"enabled": False}}},
    {"metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}},
    {"serviceAccount": {"create": False, "name": "mine"}},
    {"serviceAccount": {"name": "yours", "annotations": {"azure.workload.identity/client-id": "x"}}},
    {"rbac": {"create": False, "aggregateRoles": False}},
    {"podDisruptionBudget": {"maxUnavailable": "50%"}},
    {"podDisruptionBudget": {"enabled": False}, "topologySpread": {"enabled": False}},
    {"networkPolicy": {"enabled": True}},
    {
        "networkPolicy": {
            "enabled": True,
            "limitEgress": True,
            "clientsFrom": [{"namespaceSelector": {}}],
            "adminFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}],
        }
    },
    {"resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": "1500m"}}},
    {
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "nodeSelector": {"pool": "cpu"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "system-cluster-critical",
    },
]

# What the schema has to refuse, and a word of the message: the name of the field.
BAD = [
    ({"replicas": 3}, "replicas"),
    ({"replicaCount": "3"}, "replicaCount"),
    ({"replicaCount": -1}, "replicaCount"),
    ({"replicaCount": 101}, "replicaCount"),
    ({"image": {"repository": ""}}, "repository"),
    ({"image": {"repository": "modelway@sha256:ab"}}, "repository"),
    ({"image": {"tag": "a b"}}, "tag"),
    ({"image": {"digest": "sha256:short"}}, "digest"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"imagePullSecrets": ["pull"]}, "imagePullSecrets"),
    ({"watchNamespaces": "models"}, "watchNamespaces"),
    ({"watchNamespaces": ["Models"]}, "watchNamespaces"),
    ({"watchNamespaces": ["a", "a"]}, "watchNamespaces"),
    ({"secretNames": ["keys/demo"]}, "secretNames"),
    ({"secretNamespaces": ["*"]}, "secretNamespaces"),
    ({"publicUrl": "models.example.com"}, "publicUrl"),
    ({"logLevel": ""}, "logLevel"),
    ({"leaseName": "Lease"}, "leaseName"),
    ({"fullnameOverride": "f" * 53}, "fullnameOverride"),
    ({"drain": {"timeoutSeconds": "315s"}}, "timeoutSeconds"),
    ({"drain": {"timeoutSeconds": 3601}}, "timeoutSeconds"),
    ({"extraArgs": "--workers=2"}, "extraArgs"),
    ({"extraEnv": [{"value": "x"}]}, "extraEnv"),
    ({"service": {"type": "ExternalName"}}, "type"),
    ({"service": {"port": 0}}, "port"),
    ({"service": {"nodePort": 65536}}, "nodePort"),
    ({"service": {"name": "azureml_fe"}}, "name"),
    ({"service": {"loadBalancerSourceRanges": ["everywhere"]}}, "loadBalancerSourceRanges"),
    ({"service": {"annotations": {"a": 1}}}, "annotations"),
    ({"metrics": {"serviceMonitor": {"interval": "often"}}}, "interval"),
    ({"podDisruptionBudget": {"maxUnavailable": 0}}, "maxUnavailable"),
    ({"networkPolicy": {"replicaPorts": []}}, "replicaPorts"),
    ({"resources": {"limits": {"cpu": "two"}}}, "cpu"),
    ({"topologySpread": True}, "topologySpread"),
    ({"tls": {"secretNames": "modelway-tls"}}, "secretNames"),
    ({"tls": {"secretNames": ["A"]}}, "secretNames"),
    ({"tls": {"secretNames": ["a", "a"]}}, "secretNames"),
    ({"tls": {"plain": "maybe"}}, "plain"),
    ({"tls": {"clientAuth": "none"}}, "clientAuth"),
    ({"service": {"httpsPort": 0}}, "httpsPort"),
]

# What the schema cannot see and a template refuses, with what it has to say.
CONTRADICTIONS = [
    ({"tls": {"enabled": True}}, "name the Secrets with the certificates in tls.secretNames"),
    ({"serviceAccount": {"create": False}}, "name the account to use"),
    (
        {"watchNamespaces": ["models"], "secretNamespaces": ["other"]},
        "other is not one of watchNamespaces",
    ),
    (
        {"metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}},
        "serviceMonitor or podMonitor, not both",
    ),
]


def check(test, found):
    """Holds objects to the schemas of Kubernetes, and to what a schema does not see."""
    names = [chart.full_name(one) for one in found]
    test.assertEqual(sorted(set(names)), sorted(names), "an object is there twice")
    for one, version in itertools.product(found, KUBERNETES):
        with test.subTest(chart.full_name(one), kubernetes=version):
            kubernetes_validate.validate(one, version, strict=True)


class Lint(unittest.TestCase):
    def test_helm_has_nothing_to_say(self):
        for name in (None, *chart.PRESETS):
            with self.subTest(preset=name):
                values = chart.preset(name) if name else {}
                report = helm_python.lint(chart.CHART, values, strict=True)
                serious = [m for m in report["messages"] if m["severity"] >= WARNING]
                self.assertEqual((report["errors"], serious), ([], []))

    def test_files_are_tidy_yaml(self):
        files = [*chart.CHART.glob("*.yaml"), *chart.DEPLOY.glob("examples/*.yaml")]
        files += chart.DEPLOY.glob("kustomize/**/*.yaml")
        self.assertGreater(len(files), 10)
        for path in files:
            with self.subTest(path=path.name):
                problems = list(yamllint.run(path.read_text(), YAML_RULES))
                self.assertEqual(problems, [])


class Rendering(unittest.TestCase):
    def test_presets_give_good_objects(self):
        check(self, chart.objects())
        for name in chart.PRESETS:
            check(self, chart.objects(chart.preset(name)))

    def test_every_pair_of_changes_gives_good_objects(self):
        seen = set()
        for one, other in itertools.combinations(CHANGES, 2):
            with self.subTest(values=(one, other)):
                for found in chart.objects(chart.merged(one, other)):
                    # The same object in the same form needs to be looked at once.
                    text = json.dumps(found)
                    if text not in seen:
                        seen.add(text)
                        check(self, [found])
        self.assertGreater(len(seen), 100)

    def test_no_object_comes_twice(self):
        for values in CHANGES:
            names = [chart.full_name(one) for one in chart.objects(values)]
            self.assertEqual(len(set(names)), len(names), values)

    def test_a_namespace_of_digits_stays_a_text(self):
        for one in chart.objects({"secretNamespaces": ["123"]}, namespace="456"):
            self.assertIsInstance(one["metadata"].get("namespace", ""), str)

    def test_two_releases_share_no_object_but_what_can_be_switched_off(self):
        first = {chart.full_name(one) for one in chart.objects(namespace="here")}
        second = {chart.full_name(one) for one in chart.objects(namespace="there")}
        self.assertEqual(
            first & second, {"CustomResourceDefinition/inferenceendpoints.modelway.dev"}
        )
        values = {"crds": {"enabled": False}}
        third = {chart.full_name(one) for one in chart.objects(values, namespace="there")}
        self.assertEqual(first & third, set())

    def test_presets_are_those_of_the_cluster_purposes(self):
        replicas = {
            name: chart.only(chart.objects(chart.preset(name)), "Deployment")["spec"]["replicas"]
            for name in chart.PRESETS
        }
        self.assertEqual(replicas, {"fastprod": 3, "denseprod": 2, "devtest": 1})
        self.assertEqual(chart.only(chart.objects(), "Deployment")["spec"]["replicas"], 1)

    def test_presets_change_only_what_there_is(self):
        with helm_python.Chart.load(chart.CHART) as loaded:
            defaults = loaded.values
        for name in chart.PRESETS:
            for key, value in chart.preset(name).items():
                self.assertIn(key, defaults)
                if isinstance(value, dict):
                    self.assertLessEqual(set(value), set(defaults[key]), f"{name}: {key}")


class Values(unittest.TestCase):
    def test_bad_values_are_refused_by_name(self):
        with helm_python.Chart.load(chart.CHART) as loaded:
            loaded.validate_schema({})
            for values, word in BAD:
                with self.subTest(values=values):
                    with self.assertRaises(helm_python.HelmError) as raised:
                        loaded.validate_schema(loaded.merge_values(copy.deepcopy(values)))
                    self.assertIn(word, str(raised.exception))

    def test_contradictions_are_refused_with_what_to_do(self):
        for values, words in CONTRADICTIONS:
            with self.subTest(values=values):
                with self.assertRaises(helm_python.HelmError) as raised:
                    chart.texts(values)
                self.assertIn(words, str(raised.exception))

    def test_every_value_has_a_place_in_the_schema(self):
        with helm_python.Chart.load(chart.CHART) as loaded:
            self.assertEqual(missing(loaded.values, loaded.schema), [])

    def test_a_value_reaches_its_object(self):
        values = {
            "watchNamespaces": ["models", "more"],
            "legacyLabels": True,
            "publicUrl": "https://models.example.com/x",
            "accessLog": False,
            "leaseName": "scoring",
            "keyGrace": "10m",
            "tokens": {"signingSecret": "scoring-tokens", "issuer": "https://models.example.com"},
            "admin": {"tokenSecret": "scoring-admin"},
            "drain": {"preStopSeconds": 7, "delaySeconds": 8, "timeoutSeconds": 90},
            "extraArgs": ["--workers=2"],
        }
        pod = chart.only(chart.objects(values), "Deployment")["spec"]["template"]["spec"]
        self.assertEqual(
            pod["containers"][0]["args"],
            [
                "serve",
                "--kubernetes",
                "--namespaces=models,more",
                "--legacy-labels",
                "--lease-name=scoring",
                "--router-selector=app.kubernetes.io/name=modelway,"
                "app.kubernetes.io/instance=modelway,app.kubernetes.io/component=router",
                "--signing-secret=scoring-tokens",
                "--token-issuer=https://models.example.com",
                "--key-grace=10m",
                "--admin-token-file=/etc/modelway/admin/token",
                "--access-log=off",
                "--public-url=https://models.example.com/x",
                "--drain-delay=8s",
                "--drain-timeout=90s",
                "--workers=2",
            ],
        )
        [volume] = pod["volumes"]
        self.assertEqual(volume["secret"]["secretName"], "scoring-admin")
        [mount] = pod["containers"][0]["volumeMounts"]
        self.assertEqual((mount["name"], mount["readOnly"]), (volume["name"], True))
        self.assertEqual(pod["terminationGracePeriodSeconds"], 7 + 8 + 90 + 10)
        self.assertEqual(
            pod["containers"][0]["lifecycle"], {"preStop": {"sleep": {"seconds": 7}}}
        )

    def test_https_is_mounted_told_and_reachable(self):
        values = {
            "tls": {
                "enabled": True,
                "secretNames": ["modelway-tls", "other.tls"],
                "plain": "redirect",
                "clientCASecretName": "clients",
                "clientAuth": "optional",
            },
            "service": {"type": "NodePort", "httpsPort": 8443, "httpsNodePort": 30443},
            "networkPolicy": {"enabled": True},
        }
        found = chart.objects(values)
        pod = chart.only(found, "Deployment")["spec"]["template"]["spec"]
        container = pod["containers"][0]
        self.assertEqual(
            [arg for arg in container["args"] if "tls" in arg or "plain" in arg or "redirect" in arg],
            [
                "--tls-dir=/etc/modelway/tls/modelway-tls",
                "--tls-dir=/etc/modelway/tls/other.tls",
                "--plain=redirect",
                "--redirect-port=8443",
                "--tls-client-ca=/etc/modelway/client-ca/ca.crt",
                "--tls-client-auth=optional",
            ],
        )
        self.assertIn({"name": "https", "containerPort": 8443}, container["ports"])
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        secrets = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"]}
        self.assertEqual(
            {mounts[name]: secret for name, secret in secrets.items()},
            {
                "/etc/modelway/tls/modelway-tls": "modelway-tls",
                "/etc/modelway/tls/other.tls": "other.tls",
                "/etc/modelway/client-ca": "clients",
            },
        )
        self.assertTrue(all(mount["readOnly"] for mount in container["volumeMounts"]))
        [service] = [
            one
            for one in chart.of_kind(found, "Service")
            if one["metadata"]["name"] == "modelway"
        ]
        self.assertEqual(
            service["spec"]["ports"][1],
            {"name": "https", "port": 8443, "targetPort": "https", "nodePort": 30443},
        )
        policy = chart.only(found, "NetworkPolicy")["spec"]["ingress"][0]["ports"]
        self.assertEqual([port["port"] for port in policy], ["http", "https"])

    def test_without_https_nothing_of_it_is_there(self):
        for values in ({}, {"tls": {"secretNames": ["modelway-tls"]}}):
            found = chart.objects(values)
            pod = chart.only(found, "Deployment")["spec"]["template"]["spec"]
            self.assertNotIn("volumes", pod)
            self.assertNotIn("tls", json.dumps(pod))

    def test_routers_look_for_pods_with_their_own_labels(self):
        for values in ({}, {"nameOverride": "router"}, {"podLabels": {"a": "b"}}):
            spec = chart.only(chart.objects(values, name="first"), "Deployment")["spec"]
            labels = spec["template"]["metadata"]["labels"]
            args = spec["template"]["spec"]["containers"][0]["args"]
            [selector] = [arg for arg in args if arg.startswith("--router-selector=")]
            pairs = selector.removeprefix("--router-selector=").split(",")
            wanted = dict(pair.split("=") for pair in pairs)
            self.assertEqual(wanted, spec["selector"]["matchLabels"])
            self.assertLessEqual(wanted.items(), labels.items())

    def test_the_image_is_named_by_tag_or_digest(self):
        digest = "sha256:" + "0" * 64
        cases = [
            ({}, "modelway:0.1.0"),
            ({"repository": "registry.example:5000/a/b"}, "registry.example:5000/a/b:0.1.0"),
            ({"tag": "next"}, "modelway:next"),
            ({"tag": "next", "digest": digest}, f"modelway@{digest}"),
        ]
        for image, expected in cases:
            deployment = chart.only(chart.objects({"image": image}), "Deployment")
            container = deployment["spec"]["template"]["spec"]["containers"][0]
            self.assertEqual(container["image"], expected)

    def test_services_are_as_asked_for(self):
        def services(values):
            found = chart.of_kind(chart.objects({"service": values}), "Service")
            return {one["metadata"]["name"]: one for one in found}

        self.assertEqual(set(services({})), {"modelway", "modelway-admin"})
        plain = services({"name": "azureml-fe"})["azureml-fe"]
        self.assertEqual(plain["spec"]["type"], "ClusterIP")
        self.assertEqual(
            plain["spec"]["ports"], [{"name": "http", "port": 80, "targetPort": "http"}]
        )
        outside = services({"type": "LoadBalancer"})["modelway"]
        self.assertNotIn("annotations", outside["metadata"])
        inside = services({"type": "LoadBalancer", "internalLoadBalancer": True})["modelway"]
        self.assertEqual(
            inside["metadata"]["annotations"][
                "service.beta.kubernetes.io/azure-load-balancer-internal"
            ],
            "true",
        )
        node = services({"type": "NodePort", "nodePort": 30080})["modelway"]
        self.assertEqual(node["spec"]["ports"][0]["nodePort"], 30080)

    def test_a_budget_is_there_only_for_several_routers(self):
        for replicas, budgets in ((0, 0), (1, 0), (2, 1), (3, 1)):
            found = chart.objects({"replicaCount": replicas})
            self.assertEqual(len(chart.of_kind(found, "PodDisruptionBudget")), budgets)

    def test_the_notes_say_what_several_routers_mean(self):
        def notes(values):
            return next(t for p, t in chart.texts(values).items() if p.endswith("NOTES.txt"))

        self.assertNotIn("counts slots on its own", notes({}))
        self.assertIn("counts slots on its own", notes({"replicaCount": 2}))
        # Rendered without a cluster, that has no such kind.
        monitored = notes({"metrics": {"podMonitor": {"enabled": True}}})
        self.assertIn("does not know the kind PodMonitor", monitored)


def missing(values, schema, path=""):
    """Fields of the values that the schema does not name."""
    found = []
    for key, value in values.items():
        properties = schema.get("properties")
        if properties is None:
            continue
        if key not in properties:
            found.append(f"{path}{key}")
        elif isinstance(value, dict):
            found += missing(value, properties[key], f"{path}{key}.")
    return found


if __name__ == "__main__":
    unittest.main()
