"""The OpenAPI 2.0 document of what is served, made of the 3.0 ones: the only form that kubectl before 1.25 reads."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from podstead import KUBERNETES_VERSION
from podstead.objects.kinds import ResourceInfo
from podstead.objects.openapi.schemas import Schema
from podstead.objects.openapi.sources import Descriptions
from podstead.objects.openapi.v3 import v3_discovery_document, v3_document

_REFERENCE = "#/components/schemas/"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


def v2_document(infos: Iterable[ResourceInfo], texts: Descriptions | None = None) -> Schema:
    """Return one document for all of `infos`."""
    groups: dict[tuple[str, str], list[ResourceInfo]] = {}
    for info in infos:
        groups.setdefault((info.group, info.version), []).append(info)
    paths: Schema = {}
    definitions: Schema = {}
    documents = (v3_document(*group_version, members, texts) for group_version, members in groups.items())
    roots = (
        "version",
        "api",
        "apis",
        *(f"apis/{group}" for group in dict.fromkeys(group for group, _ in groups) if group),
    )
    for document in chain(documents, (v3_discovery_document(root, texts) for root in roots)):
        paths |= {path: _path_item(item) for path, item in document["paths"].items()}
        definitions |= {name: _schema(schema) for name, schema in document["components"]["schemas"].items()}
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": KUBERNETES_VERSION},
        "paths": dict(sorted(paths.items())),
        "definitions": dict(sorted(definitions.items())),
    }


def _path_item(item: Schema) -> Schema:
    old = {method: _operation(item[method]) for method in METHODS if method in item}
    return old | {"parameters": [_parameter(each) for each in item.get("parameters", ())]}


def _operation(operation: Schema) -> Schema:
    """An operation of 3.0 as one of 2.0: the body is a parameter, media types are lists."""
    old = {key: value for key, value in operation.items() if key not in ("requestBody", "responses", "parameters")}
    parameters = [_parameter(each) for each in operation.get("parameters", ())]
    if body := operation.get("requestBody"):
        old["consumes"] = list(body["content"])
        content = next(iter(body["content"].values()))
        required = {"required": True} if body.get("required") else {}
        parameters.insert(0, {"name": "body", "in": "body", "schema": _schema(content["schema"]), **required})
    produces: dict[str, None] = {}
    responses = {}
    for code, response in operation["responses"].items():
        old_response = {"description": response["description"]}
        for media_type, content in response.get("content", {}).items():
            produces[media_type] = None
            old_response["schema"] = _schema(content["schema"])
        responses[code] = old_response
    return old | {"produces": list(produces), "parameters": parameters, "responses": responses}


def _parameter(parameter: Schema) -> Schema:
    return {key: value for key, value in parameter.items() if key != "schema"} | _schema(parameter["schema"])


def _schema(schema: Schema) -> Schema:
    """A schema of 3.0 as one of 2.0, which has no oneOf and allows fields beside a reference."""
    old: Schema = {}
    for key, value in schema.items():
        if key == "$ref":
            old[key] = "#/definitions/" + value.removeprefix(_REFERENCE)
        elif key == "properties":
            old[key] = {name: _schema(each) for name, each in value.items()}
        elif key in ("items", "additionalProperties"):
            old[key] = _schema(value)
        elif key == "allOf":
            old |= _schema(value[0])
        elif key == "oneOf":
            old["type"] = "string"  # as Kubernetes: clients let a quantity and an int-or-string be a number too
        else:
            old[key] = value
    return old
