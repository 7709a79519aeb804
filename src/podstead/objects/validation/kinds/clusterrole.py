"""Validation of cluster roles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.kinds.role import validate_cluster
from podstead.objects.validation.selectors import label_selector

Object = Mapping[str, Any]


def validate(role: Object) -> Iterator[FieldError]:
    yield from validate_cluster(role)
    rule = role.get("aggregationRule")
    if rule is None:
        return
    if not rule.get("clusterRoleSelectors"):
        detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        yield meta.required("aggregationRule.clusterRoleSelectors", detail)
    for selector in rule.get("clusterRoleSelectors") or ():
        yield from label_selector(selector, "aggregationRule.clusterRoleSelectors")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)
