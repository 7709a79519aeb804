"""Validation of CSI nodes: which drivers a node has, and what they call it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import each, label_key, non_negative

Object = Mapping[str, Any]
_ID_LENGTH = 192
_NAME_LENGTH = 63


def validate(node: Object) -> Iterator[FieldError]:
    known: set[str] = set()
    for index, driver in enumerate((node.get("spec") or {}).get("drivers") or ()):
        path, name = f"spec.drivers[{index}]", driver.get("name") or ""
        yield from _driver(driver, path)
        if name in known:
            yield meta.duplicate(f"{path}.name", name)
        known.add(name)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    yield from validate(new)
    before = {driver.get("name"): driver for driver in (old.get("spec") or {}).get("drivers") or ()}
    for driver in (new.get("spec") or {}).get("drivers") or ():
        known = before.get(driver.get("name"))
        if known is not None and _identity(known) != _identity(driver):
            yield meta.invalid("spec.drivers", _identity(driver), meta.IMMUTABLE)


def driver_name(name: str, path: str) -> Iterator[FieldError]:
    """The name of a CSI driver, which has to be there."""
    if not name:
        yield meta.required(path)
        return
    if len(name.encode()) > _NAME_LENGTH:
        yield meta.longer_than(path, _NAME_LENGTH)
    yield from each(path, name, meta.dns_subdomain_problems(name.lower()))


def _identity(driver: Object) -> Object:
    """All but how many volumes it takes, which it may learn anew (KEP-4876)."""
    return {field: value for field, value in driver.items() if field != "allocatable"}


def _driver(driver: Object, path: str) -> Iterator[FieldError]:
    yield from driver_name(driver.get("name") or "", f"{path}.name")
    node_id = driver.get("nodeID") or ""
    if not node_id:
        yield meta.required(f"{path}.nodeID")
    if len(node_id.encode()) > _ID_LENGTH:
        yield meta.invalid(f"{path}.nodeID", node_id, f"must be {_ID_LENGTH} characters or less")
    yield from non_negative(driver.get("allocatable") or {}, ("count",), f"{path}.allocatable")
    keys: set[str] = set()
    for key in driver.get("topologyKeys") or ():
        if not key:
            yield meta.required(path)
        if key in keys:
            yield meta.duplicate(path, key)
        keys.add(key)
        yield from label_key(key, path)
