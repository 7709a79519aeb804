"""How the API server reaches a node's server: a protocol that cluster.py fills in."""

from __future__ import annotations

import asyncio
from typing import Protocol


class NodeUnreachable(ConnectionError):
    """The node is unknown, gone or does not answer; the message names it."""


class NodeDialer(Protocol):
    """Connects to the server of a node. In one process the two ends are a socketpair, across machines TLS."""

    async def dial(self, node: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a fresh byte stream that speaks HTTP/1.1 to node `node`'s server; raises NodeUnreachable."""
        ...
