"""Validation of service CIDRs: one range, or one of each family, that do not change (KEP-1880)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError

Object = Mapping[str, Any]
_EXAMPLE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_ONE_EACH = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"


def validate(cidr: Object) -> Iterator[FieldError]:
    spec = cidr.get("spec") or {}
    ranges = list(spec.get("cidrs") or ())
    if not ranges:
        yield meta.required("spec.cidrs", "at least one CIDR required")
    elif len(ranges) > 2:
        yield meta.invalid("spec.cidrs", dict(spec), "may only hold up to 2 values")
    elif len(ranges) == 2 and {_version(text) for text in ranges} != {4, 6}:
        yield meta.invalid("spec.cidrs", dict(spec), _ONE_EACH)
    else:
        for index, text in enumerate(ranges):
            if not _version(text):
                yield meta.invalid(f"spec.cidrs[{index}]", text, _EXAMPLE)


def _version(text: str) -> int:
    """Return 4 or 6, 0 for what is no range of addresses."""
    try:
        return ipaddress.ip_network(text, strict=False).version if "/" in text else 0
    except ValueError:
        return 0


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    now, was = ((one.get("spec") or {}).get("cidrs") for one in (new, old))
    if now != was:
        yield meta.invalid("spec.cidrs", now, meta.IMMUTABLE)
