"""Validation of daemon sets."""

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
_TYPES = ("RollingUpdate", "OnDelete")


def validate(daemons: Object) -> Iterator[FieldError]:
    spec = spec_of(daemons)
    yield from selector_and_template(spec, "DaemonSet")
    yield from numbers(spec, "minReadySeconds", "revisionHistoryLimit")
    yield from _update_strategy(spec.get("updateStrategy") or {})


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    yield from validate(new)
    yield from immutable(spec_of(new), spec_of(old), "selector")


def _update_strategy(strategy: Object) -> Iterator[FieldError]:
    path, kind = "spec.updateStrategy", strategy.get("type") or ""
    if kind not in _TYPES:
        yield meta.unsupported(f"{path}.type", kind, _TYPES)
        return
    rolling = strategy.get("rollingUpdate")
    if kind == "OnDelete":
        return
    if rolling is None:
        yield meta.required(f"{path}.rollingUpdate")
        return
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    for field, value in (("maxUnavailable", unavailable), ("maxSurge", surge)):
        yield from amount(value, f"{path}.rollingUpdate.{field}")
        yield from at_most_all(value, f"{path}.rollingUpdate.{field}")
    if not is_zero(unavailable) and not is_zero(surge):
        detail = "may not be set when maxUnavailable is non-zero"
        yield meta.invalid(f"{path}.rollingUpdate.maxSurge", surge, detail)
    elif is_zero(unavailable) and is_zero(surge):
        detail = "cannot be 0 when maxSurge is 0"
        yield meta.required(f"{path}.rollingUpdate.maxUnavailable", detail)
