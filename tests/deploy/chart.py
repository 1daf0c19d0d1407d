"""The chart as the tests see it: rendered by Helm itself, read as objects."""

import copy
import pathlib

import yaml
from helm_python import Chart

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "modelway"
PRESETS = ("fastprod", "denseprod", "devtest")
# libyaml where PyYAML has it: the CRD is long, and read often.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Of the release in deploy/manifests, in the documents and in most tests.
RELEASE = NAMESPACE = "modelway"
# The account that the release's pods have.
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"


def preset(name):
    """The values of a preset, as `helm -f values-NAME.yaml` gives them."""
    return yaml.safe_load((CHART / f"values-{name}.yaml").read_text())


def merged(*layers):
    """Values laid over each other, as several `-f` and `--set` are."""
    result = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else copy.deepcopy(value)
    return result


def texts(values=None, name=RELEASE, namespace=NAMESPACE):
    """What each template renders to, by its path."""
    with Chart.load(CHART) as chart:
        return chart.render(values or {}, name=name, namespace=namespace)


def objects(values=None, name=RELEASE, namespace=NAMESPACE):
    """The objects of a release."""
    rendered = texts(values, name, namespace)
    manifests = [text for path, text in sorted(rendered.items()) if path.endswith(".yaml")]
    return [one for text in manifests for one in read(text)]


def read(text):
    """The objects of a text."""
    return [found for found in yaml.load_all(text, LOADER) if found]


def of_kind(found, kind):
    return [one for one in found if one["kind"] == kind]


def only(found, kind):
    """The one object of a kind."""
    matching = of_kind(found, kind)
    if len(matching) != 1:
        raise AssertionError(f"{len(matching)} objects of kind {kind}, not 1")
    return matching[0]


def full_name(one):
    meta = one["metadata"]
    return "/".join(filter(None, (one["kind"], meta.get("namespace"), meta["name"])))


def documents(path):
    """The objects of a file."""
    return read(pathlib.Path(path).read_text())
