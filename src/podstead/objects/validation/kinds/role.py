"""Validation of roles and cluster roles: each rule has verbs, and says what they are allowed on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError

Object = Mapping[str, Any]


def validate(role: Object) -> Iterator[FieldError]:
    """A role's rules are about resources alone."""
    return _rules(role, namespaced=True)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return _rules(new, namespaced=True)


def validate_cluster(role: Object) -> Iterator[FieldError]:
    return _rules(role, namespaced=False)


def _rules(role: Object, namespaced: bool) -> Iterator[FieldError]:
    for index, rule in enumerate(role.get("rules") or ()):
        path = f"rules[{index}]"
        if not rule.get("verbs"):
            yield meta.required(f"{path}.verbs", "verbs must contain at least one value")
        if rule.get("nonResourceURLs"):
            if namespaced:
                detail = "namespaced rules cannot apply to non-resource URLs"
                yield meta.invalid(f"{path}.nonResourceURLs", rule["nonResourceURLs"], detail)
            if any(rule.get(field) for field in ("apiGroups", "resources", "resourceNames")):
                detail = "rules cannot apply to both regular resources and non-resource URLs"
                yield meta.invalid(f"{path}.nonResourceURLs", rule["nonResourceURLs"], detail)
            continue
        if not rule.get("apiGroups"):
            yield meta.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            yield meta.required(f"{path}.resources", "resource rules must supply at least one resource")
