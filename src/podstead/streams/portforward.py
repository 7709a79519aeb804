"""What port-forward asks of a session, whatever carries it, and the ports that a client names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aiohttp import web

SPDY_PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
"""The WebSocket subprotocol whose binary messages carry SPDY's bytes."""

RECEIVE_SIZE = 64 << 10
"""Bytes of a pod's output that go into one frame."""


class Forward(Protocol):
    """One connection to a port of the pod, as the client that asked for it sees it. `port` is from 1 to 65,535."""

    port: int

    async def receive(self) -> bytes:
        """Return what the client sends, b"" once it sends no more. Raises ConnectionError where it gives up."""
        ...

    async def send(self, data: bytes) -> None:
        """Waits while the client does not read; raises ConnectionError where it gives up."""
        ...

    async def end(self) -> None:
        """Say that the pod sends no more; raises ConnectionError."""
        ...

    async def finish(self, failure: str = "") -> None:
        """Say what went wrong, if anything, and end both directions; a client that has gone is not an error."""
        ...


class ForwardSession(Protocol):
    """All that one client forwards over one connection."""

    @property
    def response(self) -> web.StreamResponse:
        """What the HTTP handler returns."""
        ...

    async def accept(self) -> Forward | None:
        """Return the next connection that the client asks for; None once it has gone or can ask for no more."""
        ...

    async def close(self) -> None:
        """Release the client's connection."""
        ...


def parse_port(text: str) -> int:
    """Raises ValueError where `text` is not a port number."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16):
        raise ValueError(f'unable to parse "{text:.20}" as a port: it must be a number from 1 to 65535')
    return int(text)


def parse_ports(values: Sequence[str]) -> list[int]:
    """Return the ports of a query's values, each of which may be a list with commas. Raises ValueError."""
    if not values:
        raise ValueError('query parameter "port" is required')
    return [parse_port(part) for value in values for part in value.split(",")]
