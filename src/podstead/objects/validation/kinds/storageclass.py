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
    provisioner = storage.get("provisioner") or ""
    if provisioner:
        yield from each("provisioner", provisioner, meta.label_key_problems(provisioner.lower()))
    else:
        yield meta.required("provisioner")
    parameters = storage.get("parameters") or {}
    if len(parameters) > _MAX_PARAMETERS:
        text = f"Too long: may not be more than {_MAX_PARAMETERS} bytes"
        yield FieldError("parameters", "FieldValueTooLong", text)
    if sum(len(key.encode()) + len(value.encode()) for key, value in parameters.items()) > _MAX_SIZE:
        yield meta.longer_than("parameters", _MAX_SIZE)
    if "" in parameters:
        yield meta.invalid("parameters", "", "field must not be empty.")
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
