"""Validation of pod disruption budgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.kinds.workload import amount, at_most_all
from podstead.objects.validation.selectors import label_selector

Object = Mapping[str, Any]
_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


def validate(budget: Object) -> Iterator[FieldError]:
    spec = budget.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield meta.invalid("spec", dict(spec), "minAvailable and maxUnavailable cannot be both set")
    for field in ("minAvailable", "maxUnavailable"):
        yield from amount(spec.get(field), f"spec.{field}")
        yield from at_most_all(spec.get(field), f"spec.{field}")
    yield from label_selector(spec.get("selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in _POLICIES:
        yield meta.unsupported("spec.unhealthyPodEvictionPolicy", policy, _POLICIES)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)
