"""Two byte streams made one: a client's raw connection, taken from aiohttp, and the connection to a node.

What arrives on one transport is written to the other in the same callback: no task and no copy lies between. A
transport that falls behind pauses the other's reading.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

from aiohttp import web

from podstead.streams.carrier import CLOSING
from podstead.streams.upgrade import Takeover

_BACKLOG = 256 * 1024
"""Bytes that wait for a receiver before its sender is not read any more."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Both directions of a byte stream."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def close(self) -> None:
        """Send what is buffered, for at most CLOSING seconds, and close."""
        transport = self.writer.transport
        try:
            async with asyncio.timeout(CLOSING):
                self.writer.close()
                await self.writer.wait_closed()
        except (OSError, TimeoutError):
            pass
        finally:
            transport.abort()  # only has an effect where the time was up or this was cancelled


class _End(asyncio.Protocol):
    """One of the two transports; `other` is where its bytes go."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None
        self.ended = asyncio.Event()
        """Nothing more will come from it."""
        self.lost = asyncio.Event()
        self._full = False
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_BACKLOG)

    def join(self, other: _End) -> None:
        """Pass on to `other` from now on, and first what has arrived already."""
        self.other = other
        for data in self._early:
            self._pass_on(data)
        self._early.clear()
        if self.ended.is_set():
            self._pass_end()
        if other._full:
            other._source_reads(False)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        target = self.other.transport if self.other is not None else None
        if target is not None and not target.is_closing():
            target.write(data)

    def _pass_end(self) -> None:
        target = self.other.transport if self.other is not None else None
        if target is not None and not target.is_closing() and target.can_write_eof():
            target.write_eof()

    def eof_received(self) -> bool:
        self.ended.set()
        self._pass_end()
        # What goes the other way still can, where the transport knows half-closed connections: TLS does not.
        return self.transport is not None and self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        self.lost.set()

    def pause_writing(self) -> None:
        self._full = True
        self._source_reads(False)

    def resume_writing(self) -> None:
        self._full = False
        self._source_reads(True)

    def _source_reads(self, on: bool) -> None:
        """This end's backlog is full, or is not any more: who sends to it is read accordingly."""
        source = self.other.transport if self.other is not None else None
        if source is None or source.is_closing():
            return
        try:
            if on:
                source.resume_reading()
            else:
                source.pause_reading()
        except RuntimeError:
            pass  # It has just been closed.

    async def close(self) -> None:
        """Send what is buffered, for at most CLOSING seconds, and close."""
        if self.transport is None:
            return
        try:
            async with asyncio.timeout(CLOSING):
                self.transport.close()
                await self.lost.wait()
        except TimeoutError:
            pass
        finally:
            self.transport.abort()  # only has an effect where the time was up or this was cancelled


async def splice(request: web.BaseRequest, head: bytes, node: Stream) -> None:
    """Answer `request` with `head`, then copy both ways until the node has ended its side, or either connection breaks.

    The client's end of stream is passed on and the node may go on sending, where the client's transport can be half
    closed (TLS cannot). Closes both connections. Raises ConnectionResetError where the client has gone.
    """
    client, peer = _End(), _End()
    try:
        takeover = Takeover(request, client)
    except ConnectionError:
        node.writer.transport.abort()
        raise
    try:
        takeover.transport.write(head)
        node.writer.transport.set_protocol(peer)
        peer.connection_made(node.writer.transport)
        node.reader.feed_eof()  # so that it gives what came behind the head, and waits for nothing more
        early = await node.reader.read()
        if early:
            takeover.transport.write(early)
        try:
            node.writer.transport.resume_reading()  # type: ignore[attr-defined]
        except RuntimeError:
            pass  # It is being read, or has just been closed.
        peer.join(client)
        client.join(peer)
        await _over(client, peer)
    finally:
        try:
            await asyncio.gather(client.close(), peer.close())
        finally:
            takeover.release()


async def _over(client: _End, peer: _End) -> None:
    """Wait for the node's end, or for the loss of either connection."""
    waits = [asyncio.create_task(event.wait()) for event in (peer.ended, client.lost, client.ended)]
    try:
        await asyncio.wait(waits[:2] if _half_closes(client) else waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _half_closes(end: _End) -> bool:
    return end.transport is not None and end.transport.can_write_eof()
