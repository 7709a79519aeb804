"""Validation of volume attributes classes, of which nothing but metadata may change (KEP-3751)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.kinds.storageclass import parameters, provisioner

Object = Mapping[str, Any]


def validate(volume_class: Object) -> Iterator[FieldError]:
    yield from provisioner(volume_class.get("driverName") or "", "driverName")
    values = volume_class.get("parameters") or {}
    if values:
        yield from parameters(values)
    else:
        yield meta.required("parameters", "must contain at least one key/value pair")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    for field in ("driverName", "parameters"):
        if (new.get(field) or None) != (old.get(field) or None):
            yield meta.forbidden(field, f"updates to {field} are forbidden.")
    yield from validate(new)
