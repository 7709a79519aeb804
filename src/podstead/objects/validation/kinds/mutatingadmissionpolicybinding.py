"""Validation of bindings of mutating admission policies: where one holds, and with which parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects.errors import FieldError
from podstead.objects.validation.kinds import validatingadmissionpolicy

Object = Mapping[str, Any]


def validate(binding: Object) -> Iterator[FieldError]:
    return validatingadmissionpolicy.binding(binding.get("spec") or {})


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)
