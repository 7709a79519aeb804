"""Connects to the servers of nodes in this very process, over socketpairs: the same bytes as across machines."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

from podstead.node.server import NodeServer
from podstead.streams.dialer import NodeUnreachable


class LocalDialer:
    """A streams.dialer.NodeDialer for nodes by name. `nodes` is read at each dial and may change."""

    def __init__(self, nodes: Mapping[str, NodeServer]) -> None:
        self._nodes = nodes

    async def dial(self, node: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a fresh byte stream to `node`'s server; raises NodeUnreachable."""
        server = self._nodes.get(node)
        if server is None:
            raise NodeUnreachable(f'node "{node}" is not known here')
        ours, theirs = socket.socketpair()
        try:
            await server.serve(theirs)
            return await asyncio.open_unix_connection(sock=ours)
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError):
                raise NodeUnreachable(f'node "{node}": {error}') from error
            raise
