"""JSON schemas of KServe's resources, from the models of KServe's Python package; unknown fields are errors.

The package's models are generated from KServe's Go types, as its custom resource definitions are. They are read and not imported:
the package's own dependencies (ray, FastAPI, pandas) are not installed. Types of Kubernetes are references to the schemas of
kubernetes-validate.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

Schema = dict[str, Any]
KINDS = {
    "serving.kserve.io/v1alpha1/ServingRuntime": "V1alpha1ServingRuntime",
    "serving.kserve.io/v1beta1/InferenceService": "V1beta1InferenceService",
}
# Where the name in KServe's models does not say the Kubernetes group.
GROUPS = {"V1ObjectMeta": "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
SIMPLE = {"str": "string", "int": "integer", "bool": "boolean", "float": "number", "object": "object"}


def validate(manifest: Schema) -> None:
    """Check an object.

    Raises:
        jsonschema.ValidationError: if a field is unknown, missing or of a wrong type.
    """
    version = kubernetes_validate.latest_version()
    kubernetes = schema_contents(f"kubernetes-json-schema/v{version}-local-strict/_definitions.json", version)
    registry: Registry[Any] = Resource.from_contents(kubernetes) @ Registry()
    name = KINDS[f"{manifest['apiVersion']}/{manifest['kind']}"]
    schema = {"$ref": f"#/$defs/{name}", "$defs": definitions()}
    jsonschema.Draft202012Validator(schema, registry=registry).validate(manifest)


@functools.cache
def definitions() -> dict[str, Schema]:
    """The schema of each of KServe's classes, by the class' name."""
    sources = [
        Path(str(path.locate())).read_text(encoding="utf-8")
        for path in importlib.metadata.files("kserve") or []
        if path.parent.as_posix() == "kserve/models" and path.name.startswith(("v1alpha1_", "v1beta1_"))
    ]
    fields = {match[1]: source for source in sources if (match := re.search(r"^class (\w+)\(object\):", source, re.M))}
    return {name: _object(source, frozenset(fields)) for name, source in fields.items()}


def _object(source: str, own: frozenset[str]) -> Schema:
    """The schema of the class in a generated file."""

    def literal(name: str) -> dict[str, str]:
        match = re.search(rf"^    {name} = (\{{.*?\}})$", source, re.M | re.S)
        assert match is not None
        return dict(ast.literal_eval(match[1]))

    types, names = literal("openapi_types"), literal("attribute_map")
    required = re.findall(r"Invalid value for `(\w+)`, must not be `None`", source)
    return {
        "type": "object",
        "properties": {names[field]: _schema(kind, own) for field, kind in types.items()},
        "required": [names[field] for field in required],
        "additionalProperties": False,
    }


def _schema(kind: str, own: frozenset[str]) -> Schema:
    """The schema of a type as the generator writes it, such as list[V1Container]."""
    if match := re.fullmatch(r"list\[(.*)\]", kind):
        return {"type": "array", "items": _schema(match[1], own)}
    if match := re.fullmatch(r"dict\(str, (.*)\)", kind):
        return {"type": "object", "additionalProperties": _schema(match[1], own)}
    if kind in SIMPLE:
        return {"type": SIMPLE[kind]}
    if kind in own:
        return {"$ref": f"#/$defs/{kind}"}
    if kind.endswith("Quantity"):
        return {"type": ["string", "number"]}
    if match := re.fullmatch(r"K8sIoApi(Apps|Autoscaling)V([12])(\w+)", kind):
        name = f"io.k8s.api.{match[1].lower()}.v{match[2]}.{match[3]}"
    else:
        name = GROUPS.get(kind, f"io.k8s.api.core.v1.{kind.removeprefix('V1')}")
    return {"$ref": f"https://kubernetes.io/api/_definitions.json#/$defs/{name}"}
