"""Validation of deployments (https://kubernetes.io/docs/concepts/workloads/controllers/deployment/)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.kinds.workload import (
    amount,
    at_most_all,
    immutable,
    is_zero,
    numbers,
    selector_and_template,
    spec_of,
)

Object = Mapping[str, Any]
_TYPES = ("Recreate", "RollingUpdate")


def validate(deployment: Object) -> Iterator[FieldError]:
    spec = spec_of(deployment)
    yield from numbers(spec, "replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
    yield from selector_and_template(spec, "Deployment")
    yield from _strategy(spec.get("strategy") or {})
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
        yield meta.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    yield from validate(new)
    yield from immutable(spec_of(new), spec_of(old), "selector")


def validate_status_update(new: Object, old: Object) -> Iterator[FieldError]:
    return status_numbers(new, "replicas", "updatedReplicas", "readyReplicas", "availableReplicas")


def status_numbers(obj: Object, *fields: str) -> Iterator[FieldError]:
    """Counts of pods: none is negative, none above the number of replicas."""
    status = obj.get("status") or {}
    total = status.get("replicas") or 0
    for field in fields:
        count = status.get(field) or 0
        if count < 0:
            yield meta.invalid(f"status.{field}", count, "must be greater than or equal to 0")
        elif count > total:
            yield meta.invalid(f"status.{field}", count, "cannot be greater than status.replicas")


def _strategy(strategy: Object) -> Iterator[FieldError]:
    path, kind, rolling = "spec.strategy", strategy.get("type") or "", strategy.get("rollingUpdate")
    if kind not in _TYPES:
        yield meta.unsupported(f"{path}.type", kind, _TYPES)
    elif kind == "Recreate":
        if rolling is not None:
            detail = "may not be specified when strategy `type` is 'Recreate'"
            yield meta.forbidden(f"{path}.rollingUpdate", detail)
    elif rolling is None:
        yield meta.required(f"{path}.rollingUpdate", "this should be defaulted and never be nil")
    else:
        unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
        yield from amount(unavailable, f"{path}.rollingUpdate.maxUnavailable")
        yield from amount(surge, f"{path}.rollingUpdate.maxSurge")
        if is_zero(unavailable) and is_zero(surge):
            detail = "may not be 0 when `maxSurge` is 0"
            yield meta.invalid(f"{path}.rollingUpdate.maxUnavailable", unavailable, detail)
        yield from at_most_all(unavailable, f"{path}.rollingUpdate.maxUnavailable")
