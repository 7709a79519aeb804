"""Validation of endpoint slices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import each, ip_errors, one_of, port_name_problems, port_number

Object = Mapping[str, Any]
_TYPES = ("FQDN", "IPv4", "IPv6")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MAX_ENDPOINTS = 1000
_MAX_PORTS = 20_000


def validate(endpoints: Object) -> Iterator[FieldError]:
    kind, ports = endpoints.get("addressType") or "", endpoints.get("ports") or ()
    entries = endpoints.get("endpoints") or ()
    yield from one_of(kind, _TYPES, "addressType")
    for what, limit, items in (("endpoints", _MAX_ENDPOINTS, entries), ("ports", _MAX_PORTS, ports)):
        if len(items) > limit:
            text = f"Too many: {len(items)}: must have at most {limit} items"
            yield FieldError(what, "FieldValueTooMany", text)
            return
    for index, entry in enumerate(entries):
        addresses = entry.get("addresses") or ()
        if not addresses:
            yield meta.required(f"endpoints[{index}].addresses", "must contain at least 1 address")
        for position, address in enumerate(addresses):
            path = f"endpoints[{index}].addresses[{position}]"
            if kind == "FQDN":
                yield from each(path, address, meta.dns_subdomain_problems(address))
            else:
                yield from ip_errors(path, address)
    names: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"ports[{index}]", port.get("name") or ""
        yield from each(f"{path}.name", name, name and port_name_problems(name))
        if name in names:
            yield meta.duplicate(f"{path}.name", name)
        names.add(name)
        yield from one_of(port.get("protocol"), _PROTOCOLS, f"{path}.protocol")
        if port.get("port") is not None:
            yield from port_number(port["port"], f"{path}.port")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    yield from validate(new)
    if new.get("addressType") != old.get("addressType"):
        yield meta.invalid("addressType", new.get("addressType"), meta.IMMUTABLE)
