"""What workloads share: a selector that matches the template's labels, numbers, and how pods are replaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.selectors import label_selector_from_object
from podstead.objects.validation.common import each, non_negative
from podstead.objects.validation.pod import validate_template
from podstead.objects.validation.selectors import label_selector

Object = Mapping[str, Any]
_PERCENT = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)


def spec_of(obj: Object) -> Object:
    spec: Object = obj.get("spec") or {}
    return spec


def selector_and_template(spec: Object, kind: str, policies: tuple[str, ...] = ("Always",)) -> Iterator[FieldError]:
    """A metav1.LabelSelector, the template that it has to match, and what such a template may not say."""
    selector, template = spec.get("selector"), spec.get("template") or {}
    if selector is None:
        yield meta.required("spec.selector")
    else:
        yield from label_selector(selector, "spec.selector")
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            yield meta.invalid("spec.selector", dict(selector), f"empty selector is invalid for {kind.lower()}")
        else:
            yield from matching(selector, template)
    yield from replicated_template(template, kind, policies)


def matching(selector: Object, template: Object) -> Iterator[FieldError]:
    labels = (template.get("metadata") or {}).get("labels") or {}
    try:
        matches = label_selector_from_object(selector).matches(labels)
    except ValueError:
        return
    if not matches:
        yield meta.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")


def replicated_template(template: Object, kind: str, policies: tuple[str, ...]) -> Iterator[FieldError]:
    yield from validate_template(template, "spec.template")
    pod = template.get("spec") or {}
    policy = pod.get("restartPolicy") or ""
    if policies and policy not in policies:
        yield meta.unsupported("spec.template.spec.restartPolicy", policy, policies)
    if pod.get("activeDeadlineSeconds") is not None:
        detail = f"activeDeadlineSeconds in {kind} is not Supported"
        yield meta.forbidden("spec.template.spec.activeDeadlineSeconds", detail)


def numbers(spec: Object, *fields: str) -> Iterator[FieldError]:
    return non_negative(spec, fields, "spec")


def immutable(new: Object, old: Object, *fields: str, path: str = "spec") -> Iterator[FieldError]:
    """Fields that stay what they are."""
    for field in fields:
        if new.get(field) != old.get(field):
            yield meta.invalid(f"{path}.{field}" if path else field, new.get(field), meta.IMMUTABLE)


def amount(value: Any, path: str) -> Iterator[FieldError]:
    """A number of pods, or a percentage of them."""
    if isinstance(value, str):
        if not is_percent(value):
            yield from each(path, value, [_PERCENT])
    elif value is not None and value < 0:
        yield meta.invalid(path, value, "must be greater than or equal to 0")


def is_percent(value: Any) -> bool:
    return isinstance(value, str) and value.endswith("%") and value[:-1].isascii() and value[:-1].isdigit()


def at_most_all(value: Any, path: str) -> Iterator[FieldError]:
    if is_percent(value) and int(value[:-1]) > 100:
        yield meta.invalid(path, value, "must not be greater than 100%")


def is_zero(value: Any) -> bool:
    return value in (None, 0) or (is_percent(value) and int(value[:-1]) == 0)
