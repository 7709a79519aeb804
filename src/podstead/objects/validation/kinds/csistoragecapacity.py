"""Validation of storage capacities: how much a CSI driver has left for a class, where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.quantity import Quantity
from podstead.objects.validation.common import NON_NEGATIVE, each
from podstead.objects.validation.selectors import label_selector

Object = Mapping[str, Any]


def validate(capacity: Object) -> Iterator[FieldError]:
    if capacity.get("nodeTopology") is not None:
        yield from label_selector(capacity["nodeTopology"], "nodeTopology")
    name = capacity.get("storageClassName") or ""
    yield from each("storageClassName", name, meta.dns_subdomain_problems(name))
    amount = capacity.get("capacity")
    if amount is not None and Quantity.parse(amount).milli() < 0:
        yield meta.invalid("capacity", amount, NON_NEGATIVE)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    for field in ("nodeTopology", "storageClassName"):
        if new.get(field) != old.get(field):
            yield meta.invalid(field, new.get(field), meta.IMMUTABLE)
