"""Ordered bytes both ways with back-pressure: what SPDY runs over, a raw connection or a WebSocket tunnel."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol, cast

CLOSING = 5.0
"""Seconds that a peer has to take the last bytes before the connection is cut."""

_RECEIVE_HIGH, _RECEIVE_LOW = 512 << 10, 128 << 10
_SEND_HIGH = 256 << 10


class Carrier(Protocol):
    """One task receives; any may send."""

    async def receive(self) -> bytes:
        """Return what arrived next, b"" at the end of the peer's side or where the connection broke."""
        ...

    async def send(self, *parts: bytes | memoryview) -> None:
        """Send `parts` in one piece, in the order of the calls; then wait while the peer is far behind.

        Raises ConnectionError where the connection is gone.
        """
        ...

    async def close(self) -> None:
        """Give the peer a few seconds to take what was sent, and close; may be called twice."""
        ...


class RawCarrier(asyncio.Protocol):
    """A Carrier that is the protocol of a transport (TCP, a Unix socket)."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._reading = True
        self._ended = False
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = asyncio.Event()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_SEND_HIGH)

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size > _RECEIVE_HIGH and self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        self._arrived.set()

    def eof_received(self) -> bool:
        self._ended = True
        self._arrived.set()
        return True  # the other direction stays open until `close`

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._lost.set()
        self._arrived.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # -- Carrier

    async def receive(self) -> bytes:
        while not self._chunks:
            if self._ended:
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        data = self._chunks.popleft()
        self._size -= len(data)
        if not self._reading and self._size < _RECEIVE_LOW and not self._lost.is_set() and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()
        return data

    async def send(self, *parts: bytes | memoryview) -> None:
        if self._transport is None or self._lost.is_set() or self._transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self._transport.writelines(parts)
        if not self._writable.is_set():
            await self._writable.wait()
            if self._lost.is_set():
                raise ConnectionResetError("the connection is closed")

    async def close(self) -> None:
        if self._transport is None or self._lost.is_set():
            return
        try:
            async with asyncio.timeout(CLOSING):
                self._transport.close()
                await self._lost.wait()
        except TimeoutError:
            pass
        finally:
            self._transport.abort()
