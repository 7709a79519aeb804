"""Validation of runtime classes: the handler stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import required_name

Object = Mapping[str, Any]


def validate(runtime: Object) -> Iterator[FieldError]:
    return required_name(runtime.get("handler") or "", "handler")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    if new.get("handler") != old.get("handler"):
        yield meta.invalid("handler", new.get("handler"), meta.IMMUTABLE)
