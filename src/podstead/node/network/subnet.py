"""Chooses an IPv4 subnet for an instance's pods that nothing on the host uses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from ipaddress import IPv4Network

from podstead.linux.netlink import Netlink
from podstead.node.runtime.base import RuntimeFailure

PREFIX_LENGTH = 24
"""253 pods, more than twice the 110 that Kubernetes supports on a node."""

RANGES = tuple(
    IPv4Network(text) for text in ("10.112.0.0/12", "10.88.0.0/13", "172.24.0.0/13", "192.168.0.0/16", "100.96.0.0/11")
)
"""Looked through in this order. The first is clear of the usual defaults: Docker's 172.17-31, podman's 10.88 and 10.89,
Kubernetes' services 10.96-111, k3s 10.42 and 10.43, flannel 10.244."""

_WIDEST = 8
"""Routes wider than this are default routes in disguise (a VPN's 0.0.0.0/1 and 128.0.0.0/1)."""


def host_networks() -> list[IPv4Network]:
    """Return the destinations of the IPv4 routes of all tables, and the networks of all addresses. Blocks 1 ms."""
    with Netlink() as netlink:
        found = {IPv4Network((route.destination, route.prefix_length), strict=False) for route in netlink.routes()}
        found |= {IPv4Network((one.local, one.prefix_length), strict=False) for one in netlink.addresses()}
    return [network for network in found if network.prefixlen >= _WIDEST]


def choose_subnet(taken: Iterable[IPv4Network], *, seed: str = "") -> IPv4Network:
    """Return a /24 that overlaps neither `taken` (other instances' subnets, also of those that are down) nor a route or
    address of the host.

    `seed` (the instance's name) says where in a range to begin, so that two instances that choose at the same time
    hardly choose the same. Raises RuntimeFailure if nothing is free. Blocking, a few milliseconds.
    """
    used = [*taken, *host_networks()]
    for span in RANGES:
        spans = sorted((int(one.network_address), int(one.broadcast_address)) for one in used if one.overlaps(span))
        size = 1 << (32 - PREFIX_LENGTH)
        count = span.num_addresses // size
        start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4]) % count if seed else 0
        for step in range(count):
            first = int(span.network_address) + (start + step) % count * size
            if not any(low <= first + size - 1 and first <= high for low, high in spans):
                return IPv4Network((first, PREFIX_LENGTH))
    raise RuntimeFailure("no free IPv4 subnet for pods: the host routes all private ranges", reason="NetworkNotReady")
