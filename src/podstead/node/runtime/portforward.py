"""Connections to localhost inside a pod's network namespace."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from podstead.linux import namespaces
from podstead.node.runtime.base import RuntimeFailure

CONNECT_TIMEOUT = 30.0
_LOCALHOST = ((socket.AF_INET, "127.0.0.1", "IPv4"), (socket.AF_INET6, "::1", "IPv6"))


async def connect(netns: Path, port: int) -> socket.socket:
    """Return a connected, non-blocking socket; IPv4's localhost is tried first. Raises RuntimeFailure."""
    reasons = []
    for family, address, name in _LOCALHOST:
        try:
            return await _connect(netns, family, address, port)
        except (OSError, TimeoutError) as error:
            text = os.strerror(error.errno).lower() if error.errno else "connection timed out"
            reasons.append(f"{name}: dial tcp {address}: connect: {text}")
    raise RuntimeFailure(f"failed to connect to localhost:{port} inside namespace {netns}, {', '.join(reasons)}")


async def _connect(netns: Path, family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    # Only where it is made decides which network a socket belongs to: the loop can do the rest.
    made = await namespaces.in_network(netns, lambda: socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
    try:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await asyncio.get_running_loop().sock_connect(made, (address, port))
    except BaseException:
        made.close()
        raise
    return made
