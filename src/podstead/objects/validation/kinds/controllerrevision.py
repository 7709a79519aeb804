"""Validation of controller revisions, whose data never changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError

Object = Mapping[str, Any]


def validate(revision: Object) -> Iterator[FieldError]:
    if (revision.get("revision") or 0) < 0:
        yield meta.invalid("revision", revision["revision"], "must be greater than or equal to 0")
    if revision.get("data") is None:
        yield meta.required("data", "data is mandatory")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    yield from validate(new)
    if new.get("data") != old.get("data"):
        yield meta.invalid("data", new.get("data"), meta.IMMUTABLE)
