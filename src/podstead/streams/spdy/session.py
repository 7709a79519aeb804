"""Remotecommand over SPDY: a session whose channels are streams that the client opens, told apart by `streamType`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from podstead.streams.carrier import CLOSING, Carrier
from podstead.streams.remotecommand import (
    Channel,
    Input,
    InputEnd,
    Message,
    ResizeReader,
    StreamOptions,
    encode_status,
)
from podstead.streams.spdy import upgrade
from podstead.streams.spdy.connection import Connection
from podstead.streams.spdy.stream import Refused, Stream
from podstead.streams.upgrade import TakenOver, Takeover

VERSIONS = {"v4.channel.k8s.io": 4, "v3.channel.k8s.io": 3, "v2.channel.k8s.io": 2, "channel.k8s.io": 1}
"""What this server speaks in SPDY's streams."""

_CHANNELS = {
    "stdin": Channel.STDIN,
    "stdout": Channel.STDOUT,
    "stderr": Channel.STDERR,
    "error": Channel.ERROR,
    "resize": Channel.RESIZE,
}


def expected(options: StreamOptions, version: int) -> set[Channel]:
    """Return the streams that the client opens; resize comes with a terminal, since version 3."""
    asked = {
        Channel.STDIN: options.stdin,
        Channel.STDOUT: options.stdout,
        Channel.STDERR: options.stderr,
        Channel.RESIZE: options.tty and version >= 3,
    }
    return {Channel.ERROR, *(channel for channel, wanted in asked.items() if wanted)}


class SpdySession:
    """A remotecommand.Session over SPDY; made by `accept`."""

    def __init__(self, carrier: Carrier, version: int, options: StreamOptions) -> None:
        self._version = version
        self._missing = expected(options, version)
        self._complete = asyncio.Event()
        self._arrived = asyncio.Event()
        self._streams: dict[Channel, Stream] = {}
        self._sizes = ResizeReader()
        self._input_ended = False
        self._connection = Connection(carrier, self._opened)
        self._running: asyncio.Task[None] | None = None
        self._takeover: Takeover | None = None

    @classmethod
    async def accept(cls, request: web.BaseRequest, chosen: str, options: StreamOptions) -> SpdySession:
        """Answer the upgrade and wait for the client's streams.

        Raises ConnectionError where the client goes or does not open them within STREAM_TIMEOUT seconds; then the
        connection is closed.
        """
        carrier, takeover = await upgrade.switch(request, chosen)
        session = cls(carrier, VERSIONS[chosen], options)
        session._takeover = takeover
        session.start()
        try:
            async with asyncio.timeout(upgrade.STREAM_TIMEOUT):
                await session.ready()
        except BaseException as error:
            await session.close()
            if isinstance(error, TimeoutError):
                raise ConnectionAbortedError("the client did not open its streams in time") from error
            raise
        return session

    def start(self) -> None:
        """Begin to serve the connection; `close` ends that."""
        self._running = asyncio.create_task(self._run(), name="spdy")

    async def _run(self) -> None:
        try:
            await self._connection.run()
        finally:
            self._arrived.set()
            self._complete.set()

    async def ready(self) -> None:
        """Wait for all streams; raises ConnectionError where the client has gone."""
        await self._complete.wait()
        if self._missing:
            raise ConnectionResetError("the client has gone")

    def _opened(self, stream: Stream) -> None:
        channel = _CHANNELS.get(stream.headers.get("streamtype", ""))
        if channel not in self._missing:
            raise Refused
        self._missing.discard(channel)
        self._streams[channel] = stream
        stream.arrived = self._arrived
        if not self._missing:
            self._complete.set()

    @property
    def response(self) -> web.StreamResponse:
        """What the HTTP handler returns."""
        return TakenOver()

    async def receive(self) -> Message | None:
        while True:
            self._arrived.clear()
            if (message := self._next()) is not None:
                return message
            if self._gone():
                return None
            await self._arrived.wait()

    def _next(self) -> Message | None:
        if (resize := self._streams.get(Channel.RESIZE)) is not None:
            while piece := resize.take():
                self._sizes.feed(piece)
            if (size := self._sizes.next()) is not None:
                return size
        if (stdin := self._streams.get(Channel.STDIN)) is not None and not self._input_ended:
            if piece := stdin.take():
                return Input(piece)
            if stdin.received_end:
                self._input_ended = True
                return InputEnd()
        return None

    def _gone(self) -> bool:
        """Whether nobody listens any more: a client that gives up resets its streams before it closes."""
        listening = (Channel.STDOUT, Channel.STDERR, Channel.ERROR)
        lost = any(stream.is_lost for channel, stream in self._streams.items() if channel in listening)
        return lost or self._connection.ended.is_set()

    async def keep_alive(self) -> None:
        self._connection.ping()

    async def send(self, channel: Channel, data: bytes) -> None:
        await self._streams[channel].write(data)

    async def finish(self, status: Mapping[str, Any]) -> None:
        try:
            if text := encode_status(status, self._version):
                await self._streams[Channel.ERROR].write(text)
            for stream in self._streams.values():
                await stream.end()
            await self._connection.go_away()
            # Not closed at once: what the client has still sent must not cut off what it has still to read.
            async with asyncio.timeout(CLOSING):
                await self._connection.leaving.wait()
        except (ConnectionError, TimeoutError):
            pass

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait((self._running,))
            self._running = None
        if self._takeover is not None:
            self._takeover.release()
            self._takeover = None


class SpdyHandshake:
    """Remotecommand's upgrade to SPDY, once it is clear what to speak."""

    failures_inside = False

    def __init__(self, chosen: str) -> None:
        self._chosen = chosen

    async def accept(self, request: web.BaseRequest, options: StreamOptions) -> SpdySession:
        """As SpdySession.accept."""
        return await SpdySession.accept(request, self._chosen, options)
