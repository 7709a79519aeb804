"""The ports of a node that pods take, and whether two of them are in each other's way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from podstead.objects.pod import Pod, running_containers

_ANY = ("", "0.0.0.0", "::")


class HostPort(NamedTuple):
    """`address` empty: all of the node's."""

    address: str
    protocol: str
    port: int


def taken(pod: Pod) -> frozenset[HostPort]:
    """Return the ports of its node that a pod takes."""
    return frozenset(
        HostPort("" if port.host_ip in _ANY else port.host_ip, port.protocol, port.host_port)
        for container in running_containers(pod)
        for port in container.ports
        if port.host_port
    )


def conflict(wanted: Iterable[HostPort], used: Iterable[HostPort]) -> bool:
    """Tell whether one of `wanted` is in use: the same port and protocol, on the same address or on all."""
    asked: dict[tuple[str, int], set[str]] = {}
    for one in wanted:
        asked.setdefault((one.protocol, one.port), set()).add(one.address)
    if not asked:
        return False
    for other in used:
        addresses = asked.get((other.protocol, other.port))
        if addresses and (not other.address or addresses & {"", other.address}):
            return True
    return False
