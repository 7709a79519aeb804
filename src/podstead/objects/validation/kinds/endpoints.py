"""Validation of Endpoints, which EndpointSlices have replaced (KEP-4974)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import each, is_ip, one_of, port_number

Object = Mapping[str, Any]
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_NOBODY = (
    ("is_unspecified", "may not be unspecified (0.0.0.0 or ::)"),
    ("is_loopback", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
    ("is_link_local", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
)
_LINK_LOCAL_MULTICAST = (ipaddress.ip_network("224.0.0.0/24"), ipaddress.ip_network("ff02::/16"))


def validate(endpoints: Object) -> Iterator[FieldError]:
    for index, subset in enumerate(endpoints.get("subsets") or ()):
        path, ports = f"subsets[{index}]", subset.get("ports") or ()
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            yield meta.required(path, "must specify `addresses` or `notReadyAddresses`")
        for kind in ("addresses", "notReadyAddresses"):
            for place, address in enumerate(subset.get(kind) or ()):
                yield from _address(address, f"{path}.{kind}[{place}]")
        for place, port in enumerate(ports):
            yield from _port(port, f"{path}.ports[{place}]", needs_name=len(ports) > 1)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    if (new.get("subsets") or None) != (old.get("subsets") or None):
        yield from validate(new)


def _address(address: Object, path: str) -> Iterator[FieldError]:
    value = address.get("ip") or ""
    if is_ip(value):
        ip = ipaddress.ip_address(value)
        yield from each(f"{path}.ip", value, [text for kind, text in _NOBODY if getattr(ip, kind)])
        if any(ip in network for network in _LINK_LOCAL_MULTICAST):
            yield meta.invalid(
                f"{path}.ip", value, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
            )
    else:
        yield meta.invalid(f"{path}.ip", value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
    if hostname := address.get("hostname"):
        yield from each(f"{path}.hostname", hostname, meta.dns_label_problems(hostname))
    if node := address.get("nodeName"):
        yield from each(f"{path}.nodeName", node, meta.dns_subdomain_problems(node))


def _port(port: Object, path: str, *, needs_name: bool) -> Iterator[FieldError]:
    name = port.get("name") or ""
    if name:
        yield from each(f"{path}.name", name, meta.dns_label_problems(name))
    elif needs_name:
        yield meta.required(f"{path}.name")
    yield from port_number(port.get("port") or 0, f"{path}.port")
    yield from one_of(port.get("protocol"), _PROTOCOLS, f"{path}.protocol")
    if protocol := port.get("appProtocol"):
        yield from each(f"{path}.appProtocol", protocol, meta.label_key_problems(protocol))
