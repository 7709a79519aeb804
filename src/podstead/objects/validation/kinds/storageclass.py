"""Validation of storage classes, of which little may change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import each, one_of

Object = Mapping[str, Any]
_BINDING = ("Immediate", "WaitForFirstConsumer")
_POLICIES = ("Delete", "Retain")
_MAX_PARAMETERS = 512
_MAX_SIZE = 256 * 1024


def validate(storage: Object) -> Iterator[FieldError]:
    yield from provisioner(storage.get("provisioner") or "", "provisioner")
    yield from parameters(storage.get("parameters") or {})
    policy = storage.get("reclaimPolicy")
    if policy and policy not in _POLICIES:
        yield meta.unsupported("reclaimPolicy", policy, _POLICIES)
    yield from one_of(storage.get("volumeBindingMode"), _BINDING, "volumeBindingMode")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    for field in ("parameters", "provisioner", "reclaimPolicy"):
        if (new.get(field) or None) != (old.get(field) or None):
            yield meta.forbidden(field, f"updates to {field} are forbidden.")
    if new.get("volumeBindingMode") != old.get("volumeBindingMode"):
        yield meta.invalid("volumeBindingMode", new.get("volumeBindingMode"), meta.IMMUTABLE)


def provisioner(name: str, path: str) -> Iterator[FieldError]:
    """A driver or provisioner, which has to be named; a prefix may be part of its name."""
    if name:
        yield from each(path, name, meta.label_key_problems(name.lower()))
    else:
        yield meta.required(path)


def parameters(values: Mapping[str, str]) -> Iterator[FieldError]:
    """What a driver is told, which only it understands: so many, so long at most."""
    if len(values) > _MAX_PARAMETERS:
        text = f"Too long: may not be more than {_MAX_PARAMETERS} bytes"
        yield FieldError("parameters", "FieldValueTooLong", text)
    if sum(len(key.encode()) + len(value.encode()) for key, value in values.items()) > _MAX_SIZE:
        yield meta.longer_than("parameters", _MAX_SIZE)
    if "" in values:
        yield meta.invalid("parameters", "", "field must not be empty.")
