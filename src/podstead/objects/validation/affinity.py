"""Validation of where a pod may and should run: affinities, tolerations, topology spread."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import POSITIVE, choice, each, label_key
from podstead.objects.validation.node import TAINT_EFFECTS
from podstead.objects.validation.selectors import label_selector, node_selector, node_selector_term

Object = Mapping[str, Any]

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_ACTIONS = ("DoNotSchedule", "ScheduleAnyway")
_NODE_POLICIES = ("Honor", "Ignore")
_TOLERATION_OPERATORS = ("Equal", "Exists", "Lt", "Gt")
_NO_SELECTOR = "must not be specified when labelSelector is not set"
_IN_BOTH = "exists in both matchLabelKeys and labelSelector"
_decimal_re = re.compile(r"(0|-?[1-9][0-9]*)\Z")


def validate_affinity(affinity: Object, path: str) -> Iterator[FieldError]:
    nodes = affinity.get("nodeAffinity") or {}
    at = f"{path}.nodeAffinity"
    if nodes.get(_REQUIRED) is not None:
        yield from node_selector(nodes[_REQUIRED], f"{at}.{_REQUIRED}")
    for index, term in enumerate(nodes.get(_PREFERRED) or ()):
        yield from _weight(term, f"{at}.{_PREFERRED}[{index}]")
        where = f"{at}.{_PREFERRED}[{index}].preference"
        yield from node_selector_term(term.get("preference") or {}, where, any_value=True)
    for field in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(field) or {}
        for index, term in enumerate(pods.get(_REQUIRED) or ()):
            yield from _pod_term(term, f"{path}.{field}.{_REQUIRED}[{index}]")
        for index, weighted in enumerate(pods.get(_PREFERRED) or ()):
            where = f"{path}.{field}.{_PREFERRED}[{index}]"
            yield from _weight(weighted, where)
            yield from _pod_term(weighted.get("podAffinityTerm") or {}, f"{where}.podAffinityTerm")


def _weight(term: Object, path: str) -> Iterator[FieldError]:
    weight = term.get("weight") or 0
    if not 1 <= weight <= 100:
        yield meta.invalid(f"{path}.weight", weight, "must be in the range 1-100")


def _pod_term(term: Object, path: str) -> Iterator[FieldError]:
    selector = term.get("labelSelector")
    yield from label_selector(selector, f"{path}.labelSelector")
    yield from label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for name in term.get("namespaces") or ():
        yield from each(f"{path}.namespace", name, meta.dns_label_problems(name))
    yield from _label_keys(term, selector, path)
    topology = term.get("topologyKey") or ""
    if not topology:
        yield meta.required(f"{path}.topologyKey", "can not be empty")
    yield from label_key(topology, f"{path}.topologyKey")


def _label_keys(term: Object, selector: Object | None, path: str) -> Iterator[FieldError]:
    """matchLabelKeys and mismatchLabelKeys (KEP-3633)."""
    match: Sequence[str] = term.get("matchLabelKeys") or ()
    mismatch: Sequence[str] = term.get("mismatchLabelKeys") or ()
    for field, keys in (("matchLabelKeys", match), ("mismatchLabelKeys", mismatch)):
        if keys and selector is None:
            yield meta.forbidden(f"{path}.{field}", _NO_SELECTOR)
            continue
        for index, key in enumerate(keys):
            yield from label_key(key, f"{path}.{field}[{index}]")
    selected = _selected(selector)
    yield from (meta.invalid(f"{path}[{i}]", key, _IN_BOTH) for i, key in enumerate(match) if key in selected)
    for index, key in enumerate(match):
        if key in mismatch:
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            yield meta.invalid(f"{path}.matchLabelKeys[{index}]", key, detail)


def _selected(selector: Object | None) -> set[str]:
    """The keys that a label selector asks for."""
    if selector is None:
        return set()
    expressions = selector.get("matchExpressions") or ()
    return {*(selector.get("matchLabels") or {}), *(one.get("key") or "" for one in expressions)}


def validate_topology_spread(constraints: Sequence[Object], path: str) -> Iterator[FieldError]:
    kinds = [(one.get("topologyKey") or "", one.get("whenUnsatisfiable") or "") for one in constraints]
    for index, constraint in enumerate(constraints):
        at, (key, action) = f"{path}[{index}]", kinds[index]
        skew = constraint.get("maxSkew") or 0
        if skew <= 0:
            yield meta.invalid(f"{at}.maxSkew", skew, POSITIVE)
        if not key:
            yield meta.required(f"{at}.topologyKey", "can not be empty")
        if action not in _ACTIONS:
            yield meta.unsupported(f"{at}.whenUnsatisfiable", action, _ACTIONS)
        if kinds[index] in kinds[index + 1 :]:
            yield meta.duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}")
        yield from _min_domains(constraint, action, f"{at}.minDomains")
        yield from choice(constraint, "nodeAffinityPolicy", _NODE_POLICIES, at)
        yield from choice(constraint, "nodeTaintsPolicy", _NODE_POLICIES, at)
        yield from _spread_keys(constraint, f"{at}.matchLabelKeys")
        yield from label_selector(constraint.get("labelSelector"), f"{at}.labelSelector")


def _min_domains(constraint: Object, action: str, path: str) -> Iterator[FieldError]:
    domains = constraint.get("minDomains")
    if domains is None:
        return
    if domains <= 0:
        yield meta.invalid(path, domains, POSITIVE)
    if action != "DoNotSchedule":
        detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        yield meta.invalid(path, domains, detail)


def _spread_keys(constraint: Object, path: str) -> Iterator[FieldError]:
    keys, selector = constraint.get("matchLabelKeys") or (), constraint.get("labelSelector")
    if keys and selector is None:
        yield meta.forbidden(path, _NO_SELECTOR)
    selected = _selected(selector)
    for index, key in enumerate(keys):
        yield from label_key(key, f"{path}[{index}]")
        if key in selected:
            yield meta.invalid(f"{path}[{index}]", key, _IN_BOTH)


def validate_tolerations(tolerations: Sequence[Object], path: str) -> Iterator[FieldError]:
    for index, toleration in enumerate(tolerations):
        at = f"{path}[{index}]"
        key, operator, effect = (toleration.get(name) or "" for name in ("key", "operator", "effect"))
        if key:
            yield from label_key(key, f"{at}.key")
        elif operator != "Exists":
            detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield meta.invalid(f"{at}.operator", operator, detail)
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            yield meta.invalid(f"{at}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
        yield from _operator(toleration, operator, at)
        if effect and effect not in TAINT_EFFECTS:
            yield meta.unsupported(f"{at}.effect", effect, TAINT_EFFECTS)


def _operator(toleration: Object, operator: str, path: str) -> Iterator[FieldError]:
    value = toleration.get("value") or ""
    if operator in ("", "Equal"):
        problems = meta.label_value_problems(value)
        if problems:
            yield meta.invalid(f"{path}.operator", value, ";".join(problems))
    elif operator == "Exists":
        if value:
            yield meta.invalid(f"{path}.operator", value, "value must be empty when `operator` is 'Exists'")
    elif operator in ("Lt", "Gt"):
        # Numbers that are compared have one spelling each (KEP-5471).
        if not _decimal_re.match(value) or not -(2**63) <= int(value[:20]) < 2**63 or len(value) > 20:
            yield meta.invalid(f"{path}.value", value, "must be a valid decimal integer in canonical form")
    else:
        yield meta.unsupported(f"{path}.operator", operator, _TOLERATION_OPERATORS)
