"""Gives out the pods' addresses: one file an address, its content the sandbox's id, so that a restart forgets none."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from podstead.node.runtime.base import RuntimeFailure

_LAST = "last"
"""The file that names the address given out last, so that rotation goes on after a restart."""


class AddressPool:
    """The addresses of `subnet` but its first three special ones: network, gateway (the first) and broadcast.

    For one process at a time and for the loop's thread; each call costs a few small file operations. Files need no
    fsync: namespaces do not outlive a power cut either.
    """

    def __init__(self, directory: Path, subnet: IPv4Network) -> None:
        self.subnet = subnet
        self.gateway = subnet.network_address + 1
        self._directory = directory
        self._by_sandbox: dict[str, IPv4Address] | None = None
        self._taken: set[IPv4Address] = set()
        self._last = self.gateway

    def allocate(self, sandbox_id: str) -> IPv4Address:
        """Return the sandbox's address, a new one if it has none; raises RuntimeFailure if all are in use."""
        given = self._load()
        if sandbox_id in given:
            return given[sandbox_id]
        candidate = self._last
        for _ in range(self.subnet.num_addresses):
            candidate = self._after(candidate)
            if candidate not in self._taken and self._claim(candidate, sandbox_id):
                given[sandbox_id] = self._last = candidate
                (self._directory / _LAST).write_text(str(candidate))
                return candidate
        raise RuntimeFailure(f"no pod address is left in {self.subnet}", reason="FailedCreatePodSandBox")

    def address_of(self, sandbox_id: str) -> IPv4Address | None:
        """Return the address that was given to a sandbox, or None."""
        return self._load().get(sandbox_id)

    def sandboxes(self) -> list[str]:
        """Return the ids of all sandboxes that hold an address."""
        return list(self._load())

    def release(self, sandbox_id: str) -> None:
        """Take the sandbox's address back; one that has none is not an error."""
        address = self._load().pop(sandbox_id, None)
        if address is not None:
            (self._directory / str(address)).unlink(missing_ok=True)
            self._taken.discard(address)

    def clear(self) -> None:
        """Take all addresses back and remove the records."""
        if self._directory.is_dir():
            for file in self._directory.iterdir():
                file.unlink(missing_ok=True)
            self._directory.rmdir()
        self._by_sandbox = None
        self._taken = set()
        self._last = self.gateway

    def _after(self, address: IPv4Address) -> IPv4Address:
        following = address + 1
        return following if following < self.subnet.broadcast_address else self.gateway + 1

    def _claim(self, address: IPv4Address, sandbox_id: str) -> bool:
        """Record the address; link(2) makes the whole file appear at once, and fails where one is there."""
        draft = self._directory / f".{sandbox_id}"
        draft.write_text(sandbox_id)
        try:
            os.link(draft, self._directory / str(address))
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
            self._taken.add(address)
        return True

    def _load(self) -> dict[str, IPv4Address]:
        """Read the records at first use. Those of another subnet (it was changed) or unreadable ones are removed."""
        if self._by_sandbox is not None:
            return self._by_sandbox
        self._directory.mkdir(parents=True, exist_ok=True)
        given: dict[str, IPv4Address] = {}
        for file in self._directory.iterdir():
            if file.name == _LAST:
                continue
            address, sandbox_id = _parse(file.name), file.read_text()
            if address is None or address not in self.subnet or not sandbox_id or sandbox_id in given:
                file.unlink(missing_ok=True)
            else:
                given[sandbox_id] = address
        last = self._directory / _LAST
        previous = _parse(last.read_text()) if last.exists() else None
        if previous is not None and previous in self.subnet:
            self._last = previous
        self._by_sandbox, self._taken = given, set(given.values())
        return given


def _parse(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None
