"""Validation of priority classes (https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError

Object = Mapping[str, Any]
_HIGHEST = 1_000_000_000
_PREFIX = "system-"
_KNOWN = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
_POLICIES = ("Never", "PreemptLowerPriority")


def validate(priority: Object) -> Iterator[FieldError]:
    name, value = (priority.get("metadata") or {}).get("name") or "", priority.get("value") or 0
    if name.startswith(_PREFIX):
        if _KNOWN.get(name) != value:
            known = _KNOWN.get(name)
            why = f"value of {name} PriorityClass must be {known}" if known else f"{name} is not a known system class"
            detail = f"priority class names with '{_PREFIX}' prefix are reserved for system use only. error: {why}"
            yield meta.forbidden("metadata.name", detail)
    elif value > _HIGHEST:
        detail = f"maximum allowed value of a user defined priority is {_HIGHEST}"
        yield meta.forbidden("value", detail)
    policy = priority.get("preemptionPolicy")
    if policy is not None and policy not in _POLICIES:
        yield meta.unsupported("preemptionPolicy", policy, _POLICIES)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    if (new.get("value") or 0) != (old.get("value") or 0):
        yield meta.forbidden("value", "may not be changed in an update.")
    if new.get("preemptionPolicy") != old.get("preemptionPolicy"):
        yield meta.invalid("preemptionPolicy", new.get("preemptionPolicy"), meta.IMMUTABLE)
