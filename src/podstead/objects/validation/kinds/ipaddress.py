"""Validation of IP addresses, whose name is the address in its canonical form (KEP-1880)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError

Object = Mapping[str, Any]


def name_problems(value: str) -> list[str]:
    """What is wrong with the name of an IPAddress."""
    try:
        canonical = str(ipaddress.ip_address(value))
    except ValueError:
        return [f"ParseAddr({meta.quoted(value)}): unable to parse IP"]
    return [] if value == canonical else ["must be a canonical format IP address"]


def validate(address: Object) -> Iterator[FieldError]:
    reference = (address.get("spec") or {}).get("parentRef")
    if reference is None:
        yield meta.required("spec.parentRef")
        return
    for field in ("resource", "name"):
        if not reference.get(field):
            yield meta.required(f"spec.parentRef.{field}")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    yield from validate(new)
    now, was = ((one.get("spec") or {}).get("parentRef") for one in (new, old))
    if now != was:
        yield meta.invalid("spec.parentRef", now, meta.IMMUTABLE)
