"""Validation of config maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation import objectmeta

Object = Mapping[str, Any]
MAX_SIZE = 1024 * 1024
IMMUTABLE_SET = "field is immutable when `immutable` is set"


def validate(configmap: Object) -> list[FieldError]:
    return [*objectmeta.validate(configmap, namespaced=True), *_data(configmap)]


def validate_update(new: Object, old: Object) -> list[FieldError]:
    errors = objectmeta.validate_update(new, old)
    if old.get("immutable"):
        errors += immutable_data_errors(new, old, ("data", "binaryData"))
    return [*errors, *validate(new)]


def immutable_data_errors(new: Object, old: Object, fields: tuple[str, ...]) -> Iterator[FieldError]:
    """What has changed although `immutable` was set, that field itself included."""
    if not new.get("immutable"):
        yield meta.forbidden("immutable", IMMUTABLE_SET)
    for name in fields:
        if (new.get(name) or {}) != (old.get(name) or {}):
            yield meta.forbidden(name, IMMUTABLE_SET)


def decoded_size(encoded: str) -> int:
    """The number of bytes that base64 text stands for."""
    return len(encoded.rstrip("=")) * 3 // 4


def _data(configmap: Object) -> Iterator[FieldError]:
    text, binary = configmap.get("data") or {}, configmap.get("binaryData") or {}
    for key in text:
        yield from (meta.invalid(f"data[{key}]", key, problem) for problem in meta.data_key_problems(key))
        if key in binary:
            yield meta.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    for key in binary:
        yield from (meta.invalid(f"binaryData[{key}]", key, problem) for problem in meta.data_key_problems(key))
    size = sum(len(value.encode()) for value in text.values()) + sum(map(decoded_size, binary.values()))
    if size > MAX_SIZE:
        # The empty path means the whole object; it is printed so.
        yield meta.longer_than("[]", MAX_SIZE)
