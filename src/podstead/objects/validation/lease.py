"""Validation of leases (coordination.k8s.io)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import NON_NEGATIVE, label_key

Object = Mapping[str, Any]

_STRATEGY = "OldestEmulationVersion"


def validate(lease: Object) -> list[FieldError]:
    return [*meta.validate_object_meta(lease.get("metadata") or {}, namespaced=True), *_spec(lease.get("spec") or {})]


def validate_update(new: Object, old: Object) -> list[FieldError]:
    errors = meta.validate_object_meta_update(new.get("metadata") or {}, old.get("metadata") or {})
    return [*errors, *_spec(new.get("spec") or {})]


def _spec(spec: Object) -> Iterator[FieldError]:
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        yield meta.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    if transitions is not None and transitions < 0:
        yield meta.invalid("spec.leaseTransitions", transitions, NON_NEGATIVE)
    strategy = spec.get("strategy") or ""
    if strategy and "/" in strategy:
        yield from label_key(strategy, "spec.strategy")
    elif strategy and strategy != _STRATEGY:
        yield meta.unsupported("spec.strategy", strategy, (_STRATEGY,))
    if spec.get("preferredHolder") and not strategy:
        yield meta.forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined")
