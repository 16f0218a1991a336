"""Renews the schemas beside this file, trimmed to the kinds that our manifests use.

    pip download --no-deps kubernetes-validate==1.37.0          (PyPI)
    go mod download -json github.com/cert-manager/cert-manager@v1.21.2      (its Dir)
    go mod download -json github.com/compose-spec/compose-go/v2@v2.16.2     (its Dir)
    python3 vendor.py WHEEL CERT_MANAGER_DIR COMPOSE_GO_DIR      (wants PyYAML)

A kind that is not in KINDS or CUSTOM has no schema, and `cargo xtask check` refuses it.
"""

import json
import pathlib
import sys
import zipfile

import yaml

# The oldest Kubernetes that these manifests are for: what it does not know must not be used.
KUBERNETES = "v1.33.0"
KINDS = [
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.apps.v1.StatefulSet",
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    "io.k8s.api.batch.v1.Job",
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Namespace",
    "io.k8s.api.core.v1.Secret",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.networking.v1.NetworkPolicy",
    "io.k8s.api.policy.v1.PodDisruptionBudget",
]
CUSTOM = ["certificates", "issuers"]
PREFIX = "#/$defs/"


def plain(node):
    """Without prose, and with references into this file."""
    if isinstance(node, list):
        return [plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        # A property may be called description; its schema is then an object.
        if key == "description" and isinstance(value, str):
            continue
        if key in ("$schema", "$id"):
            continue
        if key == "$ref":
            value = PREFIX + value.split(PREFIX)[1]
        kept[key] = plain(value)
    return kept


def references(node):
    if isinstance(node, list):
        for each in node:
            yield from references(each)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value.removeprefix(PREFIX)
            else:
                yield from references(value)


def strict(node):
    """What a custom resource does not list, its server would drop without a word."""
    if isinstance(node, list):
        return [strict(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {key: strict(value) for key, value in node.items()}
    listed = isinstance(node.get("properties"), dict) and node.get("type") == "object"
    if listed and not node.get("x-kubernetes-preserve-unknown-fields"):
        node.setdefault("additionalProperties", False)
    return node


def kubernetes(wheel):
    path = f"kubernetes_validate/kubernetes-json-schema/{KUBERNETES}-local-strict/_definitions.json"
    known = json.loads(zipfile.ZipFile(wheel).read(path))["$defs"]
    kinds, definitions, wanted = {}, {}, list(KINDS)
    for name in KINDS:
        for of in known[name]["x-kubernetes-group-version-kind"]:
            version = "/".join(filter(None, [of["group"], of["version"]]))
            kinds[f"{version} {of['kind']}"] = name
    while wanted:
        name = wanted.pop()
        if name not in definitions:
            definitions[name] = plain(known[name])
            wanted.extend(references(definitions[name]))
    return kinds, definitions


def custom(folder, metadata):
    for plural in CUSTOM:
        text = pathlib.Path(folder, f"deploy/crds/cert-manager.io_{plural}.yaml").read_text()
        spec = yaml.safe_load(text)["spec"]
        version = next(each for each in spec["versions"] if each["storage"])
        schema = strict(plain(version["schema"]["openAPIV3Schema"]))
        schema["properties"]["metadata"] = metadata
        name = f"{spec['group']}/{version['name']} {spec['names']['kind']}"
        yield name, schema


def write(name, schema):
    text = json.dumps(schema, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    pathlib.Path(__file__).with_name(name).write_text(text + "\n")


def main():
    wheel, cert_manager, compose = sys.argv[1:]
    kinds, definitions = kubernetes(wheel)
    meta = {"$ref": PREFIX + "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
    for kind, schema in custom(cert_manager, meta):
        kinds[kind] = kind
        definitions[kind] = schema
    write("kubernetes.json", {"kinds": kinds, "$defs": definitions})
    spec = pathlib.Path(compose, "schema/compose-spec.json").read_text()
    write("compose.json", json.loads(spec))


main()
