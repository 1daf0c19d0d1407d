"""Writes what is made from other files: the chart's copy of the CRD and deploy/manifests/install.yaml.

    scripts/manifests            # writes both
"""

import re
import sys

import chart

CRD = chart.DEPLOY / "crds" / "inferenceendpoints.yaml"
CHART_CRD = chart.CHART / "files" / "inferenceendpoints.yaml"
INSTALL = chart.DEPLOY / "manifests" / "install.yaml"

HEAD = f"""\
# Made by scripts/manifests from deploy/helm/modelway with its default values: change that, then run it.
#
#   kubectl apply --server-side -f deploy/manifests/install.yaml
#
# One router for the endpoints of all namespaces. It reads and makes keys in its own namespace; for
# another, here `models`:
#
#   kubectl -n models create rolebinding modelway-modelway-keys \\
#     --clusterrole=modelway-modelway-keys --serviceaccount=modelway:modelway
apiVersion: v1
kind: Namespace
metadata:
  name: {chart.NAMESPACE}
  labels:
    # The router's pods keep to the strictest of Kubernetes' rules for pods.
    pod-security.kubernetes.io/enforce: restricted
"""

# Who is needed comes first, as Helm installs them.
ORDER = (
    "PodDisruptionBudget",
    "ServiceAccount",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "Deployment",
)

# Labels that are only true of a release of Helm.
HELMS_OWN = re.compile(r"^ +(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", re.MULTILINE)


def install():
    """The text of install.yaml."""
    rendered = chart.texts()
    parts = []
    for path, text in sorted(rendered.items()):
        if path.endswith(".yaml"):
            parts += [part.strip("\n") for part in re.split(r"^---\n", text, flags=re.MULTILINE)]
    kinds = [(one, part) for part in parts for one in chart.read(part)]
    ordered = sorted(kinds, key=lambda pair: ORDER.index(pair[0]["kind"]))
    body = "".join(f"---\n{part}\n" for _, part in ordered)
    return HEAD + HELMS_OWN.sub("", body)


def write():
    CHART_CRD.parent.mkdir(exist_ok=True)
    CHART_CRD.write_text(CRD.read_text())
    INSTALL.write_text(install())


if __name__ == "__main__":
    if len(sys.argv) != 1:
        sys.exit(__doc__)
    write()
