"""Validation of label selectors and of node selectors."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import BAD_OPERATOR, each, label_key

Object = Mapping[str, Any]


def label_selector(selector: Object | None, path: str) -> Iterator[FieldError]:
    """A metav1.LabelSelector."""
    if selector is None:
        return
    yield from meta.validate_labels(selector.get("matchLabels") or {}, f"{path}.matchLabels")
    for index, requirement in enumerate(selector.get("matchExpressions") or ()):
        at = f"{path}.matchExpressions[{index}]"
        if not (yield from _set_operator(requirement, at)):
            yield meta.invalid(f"{at}.operator", requirement.get("operator") or "", BAD_OPERATOR)
        yield from label_key(requirement.get("key") or "", f"{at}.key")
        yield from _values(requirement, at)


def node_selector(selector: Object, path: str) -> Iterator[FieldError]:
    """What nodes a pod must be on, or a volume is reached from."""
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        yield meta.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(terms):
        yield from node_selector_term(term, f"{path}.nodeSelectorTerms[{index}]", any_value=False)


def node_selector_term(term: Object, path: str, any_value: bool) -> Iterator[FieldError]:
    """`any_value`: a preference may ask for values that no label can have."""
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        yield from _node_label(requirement, f"{path}.matchExpressions[{index}]", any_value)
    for index, requirement in enumerate(term.get("matchFields") or ()):
        yield from _node_field(requirement, f"{path}.matchFields[{index}]")


def _set_operator(requirement: Object, path: str) -> Generator[FieldError, None, bool]:
    """Yield what is wrong with the number of values; return whether the operator is one of those for sets."""
    operator, values = requirement.get("operator") or "", requirement.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            yield meta.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            yield meta.forbidden(f"{path}.values", detail)
    else:
        return False
    return True


def _values(requirement: Object, path: str) -> Iterator[FieldError]:
    for index, value in enumerate(requirement.get("values") or ()):
        yield from each(f"{path}.values[{index}]", value, meta.label_value_problems(value))


def _node_label(requirement: Object, path: str, any_value: bool) -> Iterator[FieldError]:
    operator = requirement.get("operator") or ""
    if operator in ("Gt", "Lt"):
        if len(requirement.get("values") or ()) != 1:
            detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            yield meta.required(f"{path}.values", detail)
    elif not (yield from _set_operator(requirement, path)):
        yield meta.invalid(f"{path}.operator", operator, BAD_OPERATOR)
    yield from label_key(requirement.get("key") or "", f"{path}.key")
    if not any_value:
        yield from _values(requirement, path)


def _node_field(requirement: Object, path: str) -> Iterator[FieldError]:
    operator, key, values = (requirement.get(name) or "" for name in ("operator", "key", "values"))
    if operator not in ("In", "NotIn"):
        yield meta.invalid(f"{path}.operator", operator, BAD_OPERATOR)
    elif len(values) != 1:
        detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        yield meta.required(f"{path}.values", detail)
    if key != "metadata.name":
        yield meta.invalid(f"{path}.key", key, "not a valid field selector key")
        return
    for index, value in enumerate(values):
        yield from each(f"{path}.values[{index}]", value, meta.dns_subdomain_problems(value))
