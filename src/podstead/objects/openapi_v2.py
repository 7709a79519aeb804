"""The OpenAPI 2.0 document of what is served, made of the 3.0 ones: the only form that kubectl before 1.25 reads.

kubectl asks for it as protobuf: gnostic's openapi.v2.Document, the numbers of whose fields are below.
https://github.com/google/gnostic/blob/main/openapiv2/OpenAPIv2.proto
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from podstead import KUBERNETES_VERSION
from podstead.objects.kinds import ResourceInfo
from podstead.objects.openapi import v3_document
from podstead.objects.wire import encode_field

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/"
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


def v2_document(infos: Iterable[ResourceInfo]) -> Schema:
    """Return one document for all of `infos`."""
    groups: dict[tuple[str, str], list[ResourceInfo]] = {}
    for info in infos:
        groups.setdefault((info.group, info.version), []).append(info)
    paths: Schema = {}
    definitions: Schema = {}
    for (group, version), members in groups.items():
        document = v3_document(group, version, members)
        paths |= {path: _path_item(item) for path, item in document["paths"].items()}
        definitions |= {name: _schema(schema) for name, schema in document["components"]["schemas"].items()}
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": KUBERNETES_VERSION},
        "paths": dict(sorted(paths.items())),
        "definitions": dict(sorted(definitions.items())),
    }


def _path_item(item: Schema) -> Schema:
    old = {method: _operation(item[method]) for method in _METHODS if method in item}
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


# -- protobuf

_Fields = Mapping[str, tuple[int, str]]

# By message: JSON name -> (number, how it is written): "scalar", "strings" (a list of them), "any" and "anys" (YAML
# text), or one of _WRAPPERS, with [] each of a list, with {N} a message that holds named ones as its field N. "x-":
# where extensions go.
_MESSAGES: dict[str, _Fields] = {
    "Document": {
        "swagger": (1, "scalar"),
        "info": (2, "Info"),
        "paths": (8, "Path{2}"),
        "definitions": (9, "Schema{1}"),
    },
    "Info": {"title": (1, "scalar"), "version": (2, "scalar")},
    "Path": {
        **{name: (number, "Operation") for number, name in enumerate(_METHODS, start=2)},
        "parameters": (9, "Parameter[]"),
    },
    "Operation": {
        "tags": (1, "strings"),
        "operationId": (5, "scalar"),
        "produces": (6, "strings"),
        "consumes": (7, "strings"),
        "parameters": (8, "Parameter[]"),
        "responses": (9, "Response{1}"),
        "x-": (13, ""),
    },
    "Body": {"name": (2, "scalar"), "in": (3, "scalar"), "required": (4, "scalar"), "schema": (5, "Schema")},
    "Query": {
        "in": (2, "scalar"),
        "name": (4, "scalar"),
        "type": (6, "scalar"),
        "uniqueItems": (20, "scalar"),
    },
    "PathParameter": {
        "required": (1, "scalar"),
        "in": (2, "scalar"),
        "name": (4, "scalar"),
        "type": (5, "scalar"),
        "uniqueItems": (19, "scalar"),
    },
    "ResponseBody": {"description": (1, "scalar"), "schema": (2, "SchemaItem")},
    "Schema": {
        "$ref": (1, "scalar"),
        "format": (2, "scalar"),
        "default": (5, "any"),
        "required": (19, "strings"),
        "enum": (20, "anys"),
        "additionalProperties": (21, "SchemaItem"),
        "type": (22, "Type"),
        "items": (23, "SchemaItem"),
        "properties": (25, "Schema{1}"),
        "x-": (31, ""),
    },
}


def encode_document(document: Schema) -> bytes:
    """Return a document of `v2_document` as openapi.v2.Document. Raises KeyError for what has no number here."""
    return _message("Document", document)


def _message(name: str, obj: Schema) -> bytes:
    fields = _MESSAGES[name]
    parts = []
    for key, value in obj.items():
        if key.startswith("x-"):
            parts.append(encode_field(fields["x-"][0], _named(key, _any(value))))
        else:
            number, form = fields[key]
            parts.extend(encode_field(number, content) for content in _contents(form, value))
    return b"".join(parts)


def _contents(form: str, value: Any) -> Iterable[bytes | str | bool | int]:
    """What a field's occurrences hold: several for a list."""
    if form == "scalar":
        return (value,)
    if form == "strings":
        return tuple(value)
    if form in ("any", "anys"):
        return tuple(map(_any, value if form == "anys" else (value,)))
    if form.endswith("[]"):
        return tuple(_WRAPPERS[form[:-2]](each) for each in value)
    if form.endswith("}"):
        name, number = form[:-1].split("{")
        items = ((key, _WRAPPERS[name](each)) for key, each in value.items())
        return (b"".join(encode_field(int(number), _named(key, item)) for key, item in items),)
    return (_WRAPPERS[form](value),)


def _named(name: str, value: bytes) -> bytes:
    return encode_field(1, name) + encode_field(2, value)


def _any(value: Any) -> bytes:
    """Any, as YAML text; JSON is YAML."""
    return encode_field(2, json.dumps(value))


def _parameter_item(parameter: Schema) -> bytes:
    """ParametersItem, Parameter, and NonBodyParameter where it is not the body: each wraps the next."""
    if parameter["in"] == "body":
        return encode_field(1, encode_field(1, _message("Body", parameter)))
    number, name = (4, "PathParameter") if parameter["in"] == "path" else (3, "Query")
    return encode_field(1, encode_field(2, encode_field(number, _message(name, parameter))))


_WRAPPERS: dict[str, Any] = {
    "Info": lambda value: _message("Info", value),
    "Path": lambda value: _message("Path", value),
    "Operation": lambda value: _message("Operation", value),
    "Parameter": _parameter_item,
    "Response": lambda value: encode_field(1, _message("ResponseBody", value)),
    "Schema": lambda value: _message("Schema", value),
    "SchemaItem": lambda value: encode_field(1, _message("Schema", value)),
    "Type": lambda value: encode_field(1, value),
}
