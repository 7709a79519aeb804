"""Two byte streams made one: a client's raw connection, taken from aiohttp, and the connection to a node."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

_CHUNK = 64 * 1024
_CLOSING = 5.0
"""Seconds that a peer has to take the last bytes before the connection is cut."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Both directions of a byte stream."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def close(self) -> None:
        """Send what is buffered, for at most _CLOSING seconds, and close."""
        transport = self.writer.transport
        try:
            async with asyncio.timeout(_CLOSING):
                self.writer.close()
                await self.writer.wait_closed()
        except (OSError, TimeoutError):
            pass
        finally:
            transport.abort()  # only has an effect where the time was up or this was cancelled


class Taken:
    """The client's connection, no longer HTTP. After `release` aiohttp has forgotten it; then return a TakenOver."""

    def __init__(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        self._http = request.protocol
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_CHUNK, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        # What the client sent behind the request's head, if the parser has kept it (it does after an Upgrade).
        tail: bytes = self._http._message_tail
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if tail:
            reader.feed_data(tail)
        try:
            transport.resume_reading()  # aiohttp may have paused it
        except RuntimeError:
            pass
        self.stream = Stream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def release(self) -> None:
        await self.stream.close()
        # The loop tells only the new protocol that the connection is gone; aiohttp's bookkeeping must hear it too,
        # but not before the handler has returned: it would cancel that.
        asyncio.get_running_loop().call_soon(self._http.connection_lost, None)


async def splice(client: Stream, node: Stream) -> None:
    """Copy both ways until the node has ended its side, or either connection breaks.

    Each direction waits for its receiver. The client's end of stream is passed on and the node may go on sending,
    where the client's transport can be half closed (TLS cannot).
    """
    async with asyncio.TaskGroup() as group:
        upward = group.create_task(_copy(client, node))
        downward = group.create_task(_copy(node, client))
        done, _ = await asyncio.wait({upward, downward}, return_when=asyncio.FIRST_COMPLETED)
        if downward not in done and upward.result():
            await downward
        for task in (upward, downward):
            task.cancel()


async def _copy(source: Stream, target: Stream) -> bool:
    """Copy until the end of `source`; return whether `target` can still answer."""
    try:
        while data := await source.reader.read(_CHUNK):
            target.writer.write(data)
            await target.writer.drain()
        if target.writer.can_write_eof():
            target.writer.write_eof()
    except OSError:
        return False
    return not source.writer.transport.is_closing()
