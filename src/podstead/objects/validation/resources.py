"""Validation of quantities by resource name: a container's requests and limits, a node's capacity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.quantity import Quantity

NON_NEGATIVE = "must be greater than or equal to 0"
_CONTAINER_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_HUGE_PAGES = "hugepages-"
_NATIVE_DOMAIN = "kubernetes.io/"
_INTEGER_RESOURCES = ("pods",)


def quantity_errors(path: str, text: Any) -> tuple[Quantity | None, list[FieldError]]:
    """Parse a quantity that must not be negative; what is wrong with it otherwise."""
    try:
        quantity = Quantity.parse(text)
    except ValueError as error:
        return None, [meta.invalid(path, text, str(error))]
    if quantity.nanos < 0:
        return quantity, [meta.invalid(path, quantity.canonical(), NON_NEGATIVE)]
    return quantity, []


def validate_requirements(requirements: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    """A container's `resources`: names, amounts, and no request above its limit."""
    limits: dict[str, Quantity] = {}
    for name, text in (requirements.get("limits") or {}).items():
        quantity, errors = _amount(name, text, f"{path}.limits[{name}]")
        yield from errors
        if quantity is not None:
            limits[name] = quantity
    requested = requirements.get("requests") or {}
    for name, text in requested.items():
        quantity, errors = _amount(name, text, f"{path}.requests[{name}]")
        yield from errors
        limit = limits.get(name)
        if quantity is None:
            continue
        if limit is None:
            if not _overcommits(name):
                yield meta.required(f"{path}.limits", f"Limit must be set for non overcommitable resources: {name}")
        elif quantity != limit and not _overcommits(name):
            detail = f"must be equal to {name} limit of {limit.canonical()}"
            yield meta.invalid(f"{path}.requests", quantity.canonical(), detail)
        elif quantity > limit:
            detail = f"must be less than or equal to {name} limit of {limit.canonical()}"
            yield meta.invalid(f"{path}.requests", quantity.canonical(), detail)


def validate_node_resources(amounts: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    """A node's capacity or allocatable."""
    for name, text in amounts.items():
        quantity, errors = quantity_errors(f"{path}.{name}", text)
        yield from errors
        if quantity is not None:
            yield from _integral(name, quantity, f"{path}.{name}")


def is_extended(name: str) -> bool:
    """A resource outside of Kubernetes' own domain, like `nvidia.com/gpu`."""
    return "/" in name and _NATIVE_DOMAIN not in name and not name.startswith("requests.")


def _overcommits(name: str) -> bool:
    return "/" not in name and not name.startswith(_HUGE_PAGES)


def _amount(name: str, text: Any, path: str) -> tuple[Quantity | None, list[FieldError]]:
    errors = [meta.invalid(path, name, problem) for problem in meta.label_key_problems(name)]
    if "/" not in name:
        if name not in _CONTAINER_RESOURCES and not name.startswith(_HUGE_PAGES):
            errors.append(meta.invalid(path, name, "must be a standard resource for containers"))
    elif _NATIVE_DOMAIN not in name and not is_extended(name):
        errors.append(meta.invalid(path, name, "doesn't follow extended resource name standard"))
    quantity, wrong = quantity_errors(path, text)
    if quantity is not None:
        wrong += _integral(name, quantity, path)
    return quantity, [*errors, *wrong]


def _integral(name: str, quantity: Quantity, path: str) -> list[FieldError]:
    if (is_extended(name) or name in _INTEGER_RESOURCES) and quantity.milli() % 1000:
        return [meta.invalid(path, quantity.canonical(), "must be an integer")]
    return []
