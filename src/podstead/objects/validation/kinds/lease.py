"""Validation of leases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError

Object = Mapping[str, Any]


def validate(lease: Object) -> Iterator[FieldError]:
    spec = lease.get("spec") or {}
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if duration is not None and duration <= 0:
        yield meta.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0")
    if transitions is not None and transitions < 0:
        yield meta.invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0")
    if spec.get("preferredHolder") and not spec.get("strategy"):
        yield meta.forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)
