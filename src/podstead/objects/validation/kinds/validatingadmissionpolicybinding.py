"""Validation of bindings of validating admission policies: where one holds, and what its refusal does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.kinds import validatingadmissionpolicy

Object = Mapping[str, Any]
_ACTIONS = ("Audit", "Deny", "Warn")
_TWICE = (
    "must not contain both Deny and Warn (repeating the same validation failure information in the API response and "
    "headers serves no purpose)"
)


def validate(binding: Object) -> Iterator[FieldError]:
    spec, path = binding.get("spec") or {}, "spec.validationActions"
    yield from validatingadmissionpolicy.binding(spec)
    actions = spec.get("validationActions") or ()
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            yield meta.unsupported(f"{path}[{index}]", action, _ACTIONS)
        if action in actions[:index]:
            yield meta.duplicate(f"{path}[{index}]", action)
    if "Deny" in actions and "Warn" in actions:
        yield meta.invalid(path, list(actions), _TWICE)
    if not actions:
        yield meta.required(path, "at least one validation action is required")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)
