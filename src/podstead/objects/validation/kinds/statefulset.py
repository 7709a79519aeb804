"""Validation of stateful sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.kinds.deployment import status_numbers
from podstead.objects.validation.kinds.workload import numbers, selector_and_template, spec_of

Object = Mapping[str, Any]
_POLICIES = ("OrderedReady", "Parallel")
_TYPES = ("RollingUpdate", "OnDelete")
_RETENTION = ("Retain", "Delete")
_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_FIXED = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def validate(stateful: Object) -> Iterator[FieldError]:
    spec = spec_of(stateful)
    policy = spec.get("podManagementPolicy") or ""
    if policy not in _POLICIES:
        detail = f"must be '{_POLICIES[0]}' or '{_POLICIES[1]}'"
        path = "spec.podManagementPolicy"
        yield meta.invalid(path, policy, detail) if policy else meta.required(path)
    yield from _update_strategy(spec.get("updateStrategy") or {})
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for field in ("whenDeleted", "whenScaled"):
        if retention.get(field) not in _RETENTION:
            path = f"spec.persistentVolumeClaimRetentionPolicy.{field}"
            yield meta.unsupported(path, retention.get(field) or "", _RETENTION)
    yield from numbers(spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
    start = (spec.get("ordinals") or {}).get("start") or 0
    if start < 0:
        yield meta.invalid("spec.ordinals.start", start, "must be greater than or equal to 0")
    yield from selector_and_template(spec, "StatefulSet")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    fixed, before = (
        {name: value for name, value in spec_of(obj).items() if name not in _MUTABLE} for obj in (new, old)
    )
    yield from validate(new)
    if fixed != before:
        yield meta.forbidden("spec", _FIXED)


def validate_status_update(new: Object, old: Object) -> Iterator[FieldError]:
    return status_numbers(new, "replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")


def _update_strategy(strategy: Object) -> Iterator[FieldError]:
    path, kind, rolling = "spec.updateStrategy", strategy.get("type") or "", strategy.get("rollingUpdate")
    if not kind:
        yield meta.required(f"{path}.type")
    elif kind not in _TYPES:
        yield meta.invalid(f"{path}.type", kind, "must be 'RollingUpdate' or 'OnDelete'")
    elif kind == "OnDelete" and rolling is not None:
        detail = "only allowed for updateStrategy 'RollingUpdate'"
        yield meta.invalid(f"{path}.rollingUpdate", dict(rolling), detail)
    elif rolling is not None and (rolling.get("partition") or 0) < 0:
        problem = "must be greater than or equal to 0"
        yield meta.invalid(f"{path}.rollingUpdate.partition", rolling["partition"], problem)
