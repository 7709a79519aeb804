"""Validation of limit ranges: amounts that do not contradict each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.quantity import Quantity
from podstead.objects.validation.resources import quantity_errors

Object = Mapping[str, Any]
_FIELDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
# What must not be above what; the words are the server's.
_ORDER = (
    ("min", "max", "min"),
    ("min", "defaultRequest", "min"),
    ("min", "default", "min"),
    ("defaultRequest", "max", "defaultRequest"),
    ("defaultRequest", "default", "defaultRequest"),
    ("default", "max", "default"),
)
_WORDS = {"min": "min", "max": "max", "default": "default", "defaultRequest": "default request"}


def validate(limits: Object) -> Iterator[FieldError]:
    kinds: set[str] = set()
    for index, item in enumerate((limits.get("spec") or {}).get("limits") or ()):
        path, kind = f"spec.limits[{index}]", item.get("type") or ""
        if not kind:
            yield meta.required(f"{path}.type")
        if kind in kinds:
            yield meta.duplicate(f"{path}.type", kind)
        kinds.add(kind)
        if kind == "Pod":
            for field in ("default", "defaultRequest"):
                if item.get(field):
                    yield meta.forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'")
        yield from _amounts(item, path)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)


def _amounts(item: Object, path: str) -> Iterator[FieldError]:
    parsed: dict[tuple[str, str], Quantity] = {}
    for field in _FIELDS:
        for name, text in (item.get(field) or {}).items():
            quantity, errors = quantity_errors(f"{path}.{field}[{name}]", text)
            yield from errors
            if quantity is not None:
                parsed[field, name] = quantity
    for low, high, blamed in _ORDER:
        for (field, name), quantity in parsed.items():
            above = parsed.get((high, name))
            if field == low and above is not None and quantity > above:
                first, second = quantity.canonical(), above.canonical()
                detail = f"{_WORDS[low]} value {first} is greater than {_WORDS[high]} value {second}"
                yield meta.invalid(f"{path}.{blamed}[{name}]", first, detail)
