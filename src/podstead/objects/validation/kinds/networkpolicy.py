"""Validation of network policies (https://kubernetes.io/docs/concepts/services-networking/network-policies/)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import one_of, port
from podstead.objects.validation.selectors import label_selector

Object = Mapping[str, Any]
_TYPES = ("Ingress", "Egress")
_PROTOCOLS = ("TCP", "UDP", "SCTP")


def validate(policy: Object) -> Iterator[FieldError]:
    spec = policy.get("spec") or {}
    yield from label_selector(spec.get("podSelector"), "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{index}]"
            for position, one in enumerate(rule.get("ports") or ()):
                yield from _port(one, f"{path}.ports[{position}]")
            for position, peer in enumerate(rule.get(peers) or ()):
                yield from _peer(peer, f"{path}.{peers}[{position}]")
    types = spec.get("policyTypes") or ()
    if len(types) > len(_TYPES):
        yield meta.invalid("spec.policyTypes", list(types), "may not specify more than two policyTypes")
    for index, kind in enumerate(types):
        if kind not in _TYPES:
            yield meta.unsupported(f"spec.policyTypes[{index}]", kind, _TYPES)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)


def _port(one: Object, path: str) -> Iterator[FieldError]:
    yield from one_of(one.get("protocol"), _PROTOCOLS, f"{path}.protocol")
    first, last = one.get("port"), one.get("endPort")
    if first is None:
        if last is not None:
            yield meta.required(f"{path}.port", "must be specified when `endPort` is specified")
        return
    yield from port(first, f"{path}.port")
    if last is not None:
        if isinstance(first, str):
            detail = "may not be specified when `port` is non-numeric"
            yield meta.invalid(f"{path}.endPort", last, detail)
        elif last < first:
            yield meta.invalid(f"{path}.endPort", last, "must be greater than or equal to `port`")


def _peer(peer: Object, path: str) -> Iterator[FieldError]:
    given = [field for field in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(field) is not None]
    for field in given:
        if field != "ipBlock":
            yield from label_selector(peer[field], f"{path}.{field}")
    if not given:
        yield meta.required(path, "must specify a peer")
    elif "ipBlock" in given:
        if len(given) > 1:
            yield meta.forbidden(path, "may not specify both ipBlock and another peer")
        yield from _block(peer["ipBlock"], f"{path}.ipBlock")


def _block(block: Object, path: str) -> Iterator[FieldError]:
    network = _network(block.get("cidr") or "")
    if not block.get("cidr"):
        yield meta.required(f"{path}.cidr")
    elif network is None:
        yield meta.invalid(f"{path}.cidr", block["cidr"], _CIDR)
    for index, text in enumerate(block.get("except") or ()):
        excepted = _network(text)
        if excepted is None:
            yield meta.invalid(f"{path}.except[{index}]", text, _CIDR)
        elif network is not None and not _within(excepted, network):
            detail = "must be a strict subset of `cidr`"
            yield meta.invalid(f"{path}.except[{index}]", text, detail)


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def _network(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def _within(inner: _Network, outer: _Network) -> bool:
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner.prefixlen > outer.prefixlen and inner.subnet_of(outer)
    if isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network):
        return inner.prefixlen > outer.prefixlen and inner.subnet_of(outer)
    return False
