"""Validation of pod templates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects.errors import FieldError
from podstead.objects.validation.pod import validate_template

Object = Mapping[str, Any]


def validate(template: Object) -> Iterator[FieldError]:
    yield from validate_template(template.get("template") or {}, "template")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)
