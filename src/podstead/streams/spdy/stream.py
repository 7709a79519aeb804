"""One stream of a SPDY connection: bytes both ways, each with its own end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from podstead.streams.spdy.frames import Reset

if TYPE_CHECKING:
    from podstead.streams.spdy.connection import Connection

FRAME_SIZE = 64 << 10
"""Bytes of the largest data frame that is sent."""

_PIECE_COST = 128
"""Bytes that a piece in the queue takes besides its own."""


class Refused(Exception):
    """A stream is not taken; its client gets REFUSED_STREAM."""


class Stream:
    """Made by Connection. `headers` have names in lower case."""

    def __init__(self, connection: Connection, number: int, headers: Mapping[str, str]) -> None:
        self._connection = connection
        self.number = number
        self.headers = headers
        self.arrived = asyncio.Event()
        """Set whenever there is something to `take`; several streams may be given one event."""
        self.widened = asyncio.Event()
        self.window = connection.initial_window
        self.unacknowledged = 0
        self.received_end = False
        self.sent_end = False
        self.is_lost = False
        """Reset by either end, or the connection has ended."""
        self._pieces: deque[bytes] = deque()

    # -- the connection's side

    def received(self, data: bytes, *, end: bool) -> int:
        """Take what arrived; returns what it costs to keep."""
        cost = 0
        if data:
            self._pieces.append(data)
            cost = len(data) + _PIECE_COST
        if end:
            self.received_end = True
            self._connection.settle(self)
        self.arrived.set()
        return cost

    def lost(self) -> None:
        """Nothing more can be sent or will come; what has come can still be taken."""
        self.is_lost = True
        self.arrived.set()
        self.widened.set()

    # -- for whoever uses it

    @property
    def at_end(self) -> bool:
        """The client's direction has ended, in good order, and everything was taken."""
        return self.received_end and not self._pieces

    def take(self) -> bytes:
        """Return a piece of what has arrived, b"" where there is none (any more)."""
        if not self._pieces:
            return b""
        piece = self._pieces.popleft()
        self._connection.consumed(self, len(piece), len(piece) + _PIECE_COST)
        return piece

    async def read(self) -> bytes:
        """Return the next piece, b"" at the end. Raises ConnectionResetError where the stream was reset or lost."""
        while not (piece := self.take()):
            if self.received_end:
                return b""
            if self.is_lost:
                raise ConnectionResetError("the stream was reset")
            self.arrived.clear()
            await self.arrived.wait()
        return piece

    async def write(self, data: bytes) -> None:
        """Send `data`; waits while the client does not read. Raises ConnectionError where the stream was reset."""
        rest = memoryview(data)
        while rest:
            self.widened.clear()
            sent = await self._connection.send_data(self, rest)
            if not sent:
                await self.widened.wait()
            rest = rest[sent:]

    async def end(self) -> None:
        """Say that nothing more will be sent; raises ConnectionError as `write`."""
        if not self.sent_end:
            await self._connection.send_end(self)

    def reset(self, status: Reset = Reset.CANCEL) -> None:
        """End both directions at once and forget what has arrived."""
        self._connection.reset(self, status)
        self.discard()

    def discard(self) -> None:
        """Forget what has arrived and was not taken."""
        size = sum(len(piece) for piece in self._pieces)
        self._connection.dropped(size, size + _PIECE_COST * len(self._pieces))
        self._pieces.clear()
