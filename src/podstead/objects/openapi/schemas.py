"""Kubernetes' definitions as schemas of OpenAPI 3.0."""

from __future__ import annotations

from typing import Any

from podstead.objects.definitions import Definition, Field, definition, enum, plain_defaults
from podstead.objects.openapi.sources import HINT, Description, Descriptions

Schema = dict[str, Any]

_LEAVES: dict[str, Schema] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "float64": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
    "any": {},
    "object": {"type": "object"},
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "intorstring": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    "time": {"type": "string", "format": "date-time"},
    "microtime": {"type": "string", "format": "date-time"},
}
_NOT_INSTALLED, _WITHOUT = Description(HINT), Description()


def reference(name: str) -> Schema:
    return {"$ref": "#/components/schemas/" + name}


def schema_of(name: str, texts: Descriptions) -> Schema:
    """Return the schema of a definition. Raises KeyError."""
    target = definition(name)
    text = texts.get(name, _WITHOUT) if texts else _WITHOUT if target.leaf else _NOT_INSTALLED
    schema: Schema = {"description": text.description} if text.description else {}
    if target.leaf:
        return schema | _LEAVES[target.leaf]
    schema["type"] = "object"
    if target.fields:
        defaults = plain_defaults(name)
        schema["properties"] = {
            each.name: _property(target, each, defaults.get(each.name), text.field(each.name))
            for each in target.fields.values()
        }
    if required := [field.name for field in target.fields.values() if field.required]:
        schema["required"] = required
    if target.kinds:
        schema["x-kubernetes-group-version-kind"] = [
            {"group": group, "version": version, "kind": kind} for group, version, kind in target.kinds
        ]
    if target.map_type:
        schema["x-kubernetes-map-type"] = target.map_type
    return schema


def _property(owner: Definition, field: Field, default: Any, text: str) -> Schema:
    schema = _type(field.type)
    extras: Schema = {"description": text} if text else {}
    if default is not None and "$ref" not in schema:
        extras["default"] = default
    if values := enum(owner.name, field.name):
        extras["enum"] = list(values)
    if field.list_type:
        extras["x-kubernetes-list-type"] = field.list_type
    if field.list_map_keys:
        extras["x-kubernetes-list-map-keys"] = list(field.list_map_keys)
    if field.map_type:
        extras["x-kubernetes-map-type"] = field.map_type
    if field.patch_merge_key:
        extras["x-kubernetes-patch-merge-key"] = field.patch_merge_key
    if field.patch_strategy:
        extras["x-kubernetes-patch-strategy"] = ",".join(field.patch_strategy)
    # OpenAPI 3.0 allows nothing beside a $ref.
    return {"allOf": [schema], **extras} if extras and "$ref" in schema else schema | extras


def _type(type_: str) -> Schema:
    if type_.startswith("[]"):
        return {"type": "array", "items": _type(type_[2:])}
    if type_.startswith("map[string]"):
        return {"type": "object", "additionalProperties": _type(type_[11:])}
    return reference(type_[1:]) if type_[0] == "#" else dict(_LEAVES[type_])
