"""OpenAPI documents as protobuf: gnostic's openapi.v2.Document and openapi.v3.Document, the numbers of their fields.

https://github.com/google/gnostic/blob/main/openapiv2/OpenAPIv2.proto and openapiv3/OpenAPIv3.proto
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from podstead.objects.openapi.schemas import Schema
from podstead.objects.openapi.v2 import METHODS
from podstead.objects.wire import encode_double, encode_field

_Fields = Mapping[str, tuple[int, str]]
_Message = Callable[[str, Schema], bytes]

# By message: JSON name -> (number, how it is written): "scalar", "strings" (a list of them), "any" and "anys" (YAML
# text), or one of the wrappers, with [] each of a list, with {N} a message that holds named ones as its field N. "x-":
# where extensions go.
_V2: dict[str, _Fields] = {
    "Document": {
        "swagger": (1, "scalar"),
        "info": (2, "Info"),
        "paths": (8, "Path{2}"),
        "definitions": (9, "Schema{1}"),
    },
    "Info": {"title": (1, "scalar"), "version": (2, "scalar")},
    "Path": {
        **{name: (number, "Operation") for number, name in enumerate(METHODS, start=2)},
        "parameters": (9, "Parameter[]"),
    },
    "Operation": {
        "tags": (1, "strings"),
        "description": (3, "scalar"),
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
        "description": (3, "scalar"),
        "name": (4, "scalar"),
        "type": (5, "scalar"),
        "uniqueItems": (19, "scalar"),
    },
    "ResponseBody": {"description": (1, "scalar"), "schema": (2, "SchemaItem")},
    "Schema": {
        "$ref": (1, "scalar"),
        "format": (2, "scalar"),
        "description": (4, "scalar"),
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
_V3: dict[str, _Fields] = {
    "Document": {
        "openapi": (1, "scalar"),
        "info": (2, "Info"),
        "paths": (4, "Path{1}"),
        "components": (5, "Components"),
    },
    "Info": {"title": (1, "scalar"), "version": (6, "scalar")},
    "Components": {"schemas": (1, "Schema{1}"), "securitySchemes": (7, "SecurityScheme{1}")},
    "SecurityScheme": {
        "type": (1, "scalar"),
        "description": (2, "scalar"),
        "name": (3, "scalar"),
        "in": (4, "scalar"),
    },
    "Path": {
        **{name: (number, "Operation") for number, name in enumerate(METHODS, start=4)},
        "parameters": (13, "Parameter[]"),
    },
    "Operation": {
        "tags": (1, "strings"),
        "description": (3, "scalar"),
        "operationId": (5, "scalar"),
        "parameters": (6, "Parameter[]"),
        "requestBody": (7, "Body"),
        "responses": (8, "Response{2}"),
        "x-": (13, ""),
    },
    "Parameter": {
        "name": (1, "scalar"),
        "in": (2, "scalar"),
        "description": (3, "scalar"),
        "required": (4, "scalar"),
        "schema": (10, "Schema"),
    },
    "Body": {"content": (2, "MediaType{1}"), "required": (3, "scalar")},
    "Response": {"description": (1, "scalar"), "content": (3, "MediaType{1}")},
    "MediaType": {"schema": (1, "Schema")},
    "Schema": {
        "uniqueItems": (20, "scalar"),
        "required": (23, "strings"),
        "enum": (24, "anys"),
        "type": (25, "scalar"),
        "allOf": (26, "Schema[]"),
        "oneOf": (27, "Schema[]"),
        "items": (30, "Items"),
        "properties": (31, "Schema{1}"),
        "additionalProperties": (32, "Items"),
        "default": (33, "default"),
        "description": (34, "scalar"),
        "format": (35, "scalar"),
        "x-": (36, ""),
    },
}


def encode_v2(document: Schema) -> bytes:
    """Return a document of `v2_document` as openapi.v2.Document. Raises KeyError for what has no number here."""
    return _Encoder(_V2, _V2_WRAPPERS).message("Document", document)


def encode_v3(document: Schema) -> bytes:
    """Return a document of `v3_document` as openapi.v3.Document. Raises KeyError for what has no number here.

    A default that is a list or a map is left out: the message has no place for it.
    """
    return _Encoder(_V3, _V3_WRAPPERS).message("Document", document)


class _Encoder:
    """Writes messages by a table of their fields; `wrappers` are those that lie in others of no further content."""

    def __init__(
        self, messages: Mapping[str, _Fields], wrappers: Mapping[str, Callable[[_Message, Any], bytes]]
    ) -> None:
        self._messages = messages
        self._wrappers = wrappers

    def message(self, name: str, obj: Schema) -> bytes:
        fields = self._messages[name]
        parts = []
        for key, value in obj.items():
            if key.startswith("x-"):
                parts.append(encode_field(fields["x-"][0], _named(key, _any(value))))
            else:
                number, form = fields[key]
                parts.extend(encode_field(number, content) for content in self._contents(form, value))
        return b"".join(parts)

    def _contents(self, form: str, value: Any) -> Iterable[bytes | str | bool | int]:
        """What a field's occurrences hold: several for a list."""
        if form == "scalar":
            return (value,)
        if form == "strings":
            return tuple(value)
        if form in ("any", "anys"):
            return tuple(map(_any, value if form == "anys" else (value,)))
        if form == "default":
            return _default(value)
        if form.endswith("[]"):
            return tuple(self._wrapped(form[:-2], each) for each in value)
        if form.endswith("}"):
            name, number = form[:-1].split("{")
            items = ((key, self._wrapped(name, each)) for key, each in value.items())
            return (b"".join(encode_field(int(number), _named(key, item)) for key, item in items),)
        return (self._wrapped(form, value),)

    def _wrapped(self, name: str, value: Any) -> bytes:
        wrapper = self._wrappers.get(name)
        return wrapper(self.message, value) if wrapper else self.message(name, value)


def _named(name: str, value: bytes) -> bytes:
    return encode_field(1, name) + encode_field(2, value)


def _any(value: Any) -> bytes:
    """Any, as YAML text; JSON is YAML."""
    return encode_field(2, json.dumps(value))


def _default(value: Any) -> tuple[bytes, ...]:
    """DefaultType: a number (a double), a truth value or text."""
    if isinstance(value, bool | str):
        return (encode_field(2 if isinstance(value, bool) else 3, value),)
    return (encode_double(1, value),) if isinstance(value, int | float) else ()


def _v2_parameter(message: _Message, parameter: Schema) -> bytes:
    """ParametersItem, Parameter, and NonBodyParameter where it is not the body: each wraps the next."""
    if parameter["in"] == "body":
        return encode_field(1, encode_field(1, message("Body", parameter)))
    number, name = (4, "PathParameter") if parameter["in"] == "path" else (3, "Query")
    return encode_field(1, encode_field(2, encode_field(number, message(name, parameter))))


def _v3_schema(message: _Message, schema: Schema) -> bytes:
    """SchemaOrReference."""
    if "$ref" in schema:
        return encode_field(2, encode_field(1, schema["$ref"]))
    return encode_field(1, message("Schema", schema))


_V2_WRAPPERS: dict[str, Callable[[_Message, Any], bytes]] = {
    "Parameter": _v2_parameter,
    "Response": lambda message, value: encode_field(1, message("ResponseBody", value)),
    "SchemaItem": lambda message, value: encode_field(1, message("Schema", value)),
    "Type": lambda message, value: encode_field(1, value),
}
_V3_WRAPPERS: dict[str, Callable[[_Message, Any], bytes]] = {
    "Parameter": lambda message, value: encode_field(1, message("Parameter", value)),
    "Body": lambda message, value: encode_field(1, message("Body", value)),
    "Response": lambda message, value: encode_field(1, message("Response", value)),
    "SecurityScheme": lambda message, value: encode_field(1, message("SecurityScheme", value)),
    "Schema": _v3_schema,
    # ItemsItem and AdditionalPropertiesItem: both hold a SchemaOrReference.
    "Items": lambda message, value: encode_field(1, _v3_schema(message, value)),
}
