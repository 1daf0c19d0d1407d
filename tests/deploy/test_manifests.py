"""What is made from other files is what they make today, and kustomize builds on it."""

import subprocess
import unittest

import chart
import cluster
import manifests
from test_chart import check

OVERLAYS = ("base", "overlays/dev", "overlays/ha")


def built(folder):
    """What `kubectl kustomize` makes of a folder of deploy/kustomize."""
    command = [cluster.kubectl_program(), "kustomize", str(chart.DEPLOY / "kustomize" / folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise AssertionError(f"kubectl kustomize {folder}: {done.stderr}")
    return chart.read(done.stdout)


class Current(unittest.TestCase):
    def test_the_charts_crd_is_that_of_the_project(self):
        self.assertEqual(
            manifests.CHART_CRD.read_text(), manifests.CRD.read_text(), "run scripts/manifests"
        )

    def test_install_is_what_the_chart_renders(self):
        self.assertEqual(manifests.INSTALL.read_text(), manifests.install(), "run scripts/manifests")

    def test_the_crd_is_kept_and_otherwise_unchanged(self):
        [original] = chart.documents(manifests.CRD)
        crd = chart.only(chart.objects(), "CustomResourceDefinition")
        annotations = crd["metadata"].pop("annotations")
        self.assertEqual(annotations, {"helm.sh/resource-policy": "keep"})
        self.assertEqual(crd, original)
        found = chart.objects({"crds": {"enabled": False}})
        self.assertEqual(chart.of_kind(found, "CustomResourceDefinition"), [])

    def test_a_change_of_the_crd_comes_with_an_upgrade(self):
        # Helm never upgrades what is in crds/; only what templates render.
        self.assertFalse((chart.CHART / "crds").exists())

    def test_install_has_the_objects_of_the_chart_and_nothing_of_helm(self):
        found = chart.documents(manifests.INSTALL)
        expected = {chart.full_name(one) for one in chart.objects()} | {"Namespace/modelway"}
        self.assertEqual({chart.full_name(one) for one in found}, expected)
        text = manifests.INSTALL.read_text()
        self.assertNotIn("managed-by", text)
        self.assertNotIn("helm.sh/chart", text)
        check(self, found)

    def test_chart_router_and_image_have_one_version(self):
        cargo = (chart.ROOT / "Cargo.toml").read_text()
        version = cargo.split('version = "', 1)[1].split('"', 1)[0]
        [meta] = chart.documents(chart.CHART / "Chart.yaml")
        self.assertEqual((meta["version"], meta["appVersion"]), (version, version))
        for path in (chart.DEPLOY / "examples").glob("*.yaml"):
            for one in chart.of_kind(chart.documents(path), "Deployment"):
                for container in one["spec"]["template"]["spec"]["containers"]:
                    self.assertEqual(container["image"], f"modelway:{version}", path)


@unittest.skipUnless(cluster.has_kubectl(), cluster.WITHOUT)
class Kustomize(unittest.TestCase):
    def test_overlays_build_good_objects(self):
        for folder in OVERLAYS:
            check(self, built(folder))

    def test_the_base_is_the_manifest_and_the_keys_of_one_namespace(self):
        names = {chart.full_name(one) for one in built("base")}
        expected = {chart.full_name(one) for one in chart.documents(manifests.INSTALL)}
        more = {"Namespace/models", "RoleBinding/models/modelway-modelway-keys"}
        self.assertEqual(names, expected | more)

    def test_overlays_are_the_presets(self):
        pairs = {"overlays/dev": "devtest", "overlays/ha": "fastprod"}
        for folder, preset in pairs.items():
            with self.subTest(folder):
                ours, theirs = built(folder), chart.objects(chart.preset(preset))
                mine = chart.only(ours, "Deployment")["spec"]
                helms = chart.only(theirs, "Deployment")["spec"]
                self.assertEqual(mine["replicas"], helms["replicas"])
                spread = "topologySpreadConstraints"
                pods = [one["template"]["spec"] for one in (mine, helms)]
                self.assertEqual(pods[0], pods[1])
                self.assertEqual(spread in pods[0], preset == "fastprod")
                services = [
                    {
                        one["metadata"]["name"]: one["spec"]
                        for one in chart.of_kind(found, "Service")
                    }
                    for found in (ours, theirs)
                ]
                if preset == "devtest":
                    # The default of the API server, that the chart writes out.
                    services[1]["modelway"].pop("externalTrafficPolicy")
                self.assertEqual(services[0], services[1])
                budgets = [chart.of_kind(found, "PodDisruptionBudget") for found in (ours, theirs)]
                specs = [[one["spec"] for one in found] for found in budgets]
                self.assertEqual(specs[0], specs[1])


if __name__ == "__main__":
    unittest.main()
