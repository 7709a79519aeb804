"""Ports of the host that lead to pods: which there are, one file a sandbox, and the nftables rules for them.

Two maps, one for what holds on every address of the host and one for a single address, are looked up for packets that
come in and for the host's own. The files let the next server make the same table at once, in one transaction.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network
from pathlib import Path

import msgspec

from podstead.node.network import firewall
from podstead.node.runtime.base import PortMapping, RuntimeFailure

_EVERY, _SINGLE = "hostports", "hostports-of-address"
_ANY = ("", "0.0.0.0")


class _Published(msgspec.Struct):
    address: str
    ports: list[PortMapping]


class HostPorts:
    """The ports of one instance, in nftables' table `table` (ip). Calls take turns."""

    def __init__(self, directory: Path, table: str) -> None:
        self._directory = directory
        self._table = table
        self._turn = asyncio.Lock()

    async def publish(self, sandbox_id: str, address: str, ports: Sequence[PortMapping]) -> None:
        """Have the host's ports lead to `address`; once more changes nothing. Raises RuntimeFailure."""
        wanted = _Published(address, [port for port in ports if _is_ours(port)])
        if not wanted.ports:
            return
        async with self._turn:
            if self._load(sandbox_id) == wanted:
                return
            self._directory.mkdir(parents=True, exist_ok=True)
            # First the intent: what a crash leaves is in the next table, or is withdrawn with the sandbox.
            (self._directory / sandbox_id).write_bytes(msgspec.json.encode(wanted))
            try:
                await firewall.apply(_commands("add", self._table, [wanted]))
            except RuntimeFailure:
                (self._directory / sandbox_id).unlink(missing_ok=True)
                raise

    async def withdraw(self, sandbox_id: str) -> None:
        """Take a sandbox's ports away; none is not an error. Raises RuntimeFailure."""
        async with self._turn:
            published = self._load(sandbox_id)
            if published is not None:
                # Adding what is there is no error, but deleting what is not is one.
                both = _commands("add", self._table, [published]) + _commands("delete", self._table, [published])
                await firewall.apply(both)
            (self._directory / sandbox_id).unlink(missing_ok=True)

    def sandboxes(self) -> list[str]:
        """Return the ids of those that have ports."""
        return [file.name for file in self._directory.iterdir()] if self._directory.is_dir() else []

    def clear(self) -> None:
        """Forget all; the table is somebody else's."""
        for sandbox_id in self.sandboxes():
            (self._directory / sandbox_id).unlink(missing_ok=True)
        if self._directory.is_dir():
            self._directory.rmdir()

    def rules(self, bridge: str, subnet: IPv4Network) -> str:
        """Return the maps, with what is published, and the chains for the table that holds them.

        Masquerading lets an answer come back by way of the host: from the sender's neighbour on the bridge, and to the
        host's own loopback address, which no other packet of a pod may reach (CVE-2020-8558).
        """
        known = [found for one in self.sandboxes() if (found := self._load(one)) is not None]
        return f"""\
  map {_EVERY} {{
    type inet_proto . inet_service : ipv4_addr . inet_service
    {_elements(_every(known))}
  }}
  map {_SINGLE} {{
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
    {_elements(_single(known))}
  }}
  chain hostports-in {{
    type nat hook prerouting priority dstnat; policy accept;
    {_LOOK_UP}
  }}
  chain hostports-own {{
    type nat hook output priority -100; policy accept;
    {_LOOK_UP}
  }}
  chain hostports-back {{
    type nat hook postrouting priority srcnat - 1; policy accept;
    ct status dnat ip saddr {{ 127.0.0.0/8, {subnet} }} oifname "{bridge}" masquerade
  }}
  chain loopback {{
    type filter hook prerouting priority raw; policy accept;
    iifname "{bridge}" ip daddr 127.0.0.0/8 drop
  }}
"""

    def _load(self, sandbox_id: str) -> _Published | None:
        try:
            return msgspec.json.decode((self._directory / sandbox_id).read_bytes(), type=_Published)
        except (FileNotFoundError, msgspec.DecodeError):
            return None


_LOOK_UP = (
    f"fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @{_SINGLE}\n"
    f"    fib daddr type local dnat ip to meta l4proto . th dport map @{_EVERY}"
)


def _is_ours(port: PortMapping) -> bool:
    """Whether it is a port of IPv4, which is all that pods have."""
    return port.host_ip in _ANY or ipaddress.ip_address(port.host_ip).version == 4


def _every(published: Iterable[_Published]) -> list[str]:
    return [
        f"{port.protocol.lower()} . {port.host_port} : {one.address} . {port.container_port}"
        for one in published
        for port in one.ports
        if port.host_ip in _ANY
    ]


def _single(published: Iterable[_Published]) -> list[str]:
    return [
        f"{port.host_ip} . {port.protocol.lower()} . {port.host_port} : {one.address} . {port.container_port}"
        for one in published
        for port in one.ports
        if port.host_ip not in _ANY
    ]


def _elements(found: list[str]) -> str:
    return f"elements = {{ {', '.join(found)} }}" if found else ""


def _commands(verb: str, table: str, published: list[_Published]) -> str:
    maps = ((_EVERY, _every(published)), (_SINGLE, _single(published)))
    return "".join(f"{verb} element ip {table} {name} {{ {', '.join(found)} }}\n" for name, found in maps if found)
