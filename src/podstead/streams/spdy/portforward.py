"""Port-forward over SPDY: a pair of streams for each connection, `error` and `data`, that name its port."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aiohttp import web

from podstead.streams.carrier import Carrier
from podstead.streams.portforward import Forward, parse_port
from podstead.streams.spdy import upgrade
from podstead.streams.spdy.connection import Connection
from podstead.streams.spdy.stream import Refused, Stream
from podstead.streams.upgrade import TakenOver, Takeover


class SpdyForward:
    """A Forward over a pair of streams."""

    def __init__(self, port: int, data: Stream, error: Stream) -> None:
        self.port = port
        self._data = data
        self._error = error

    async def receive(self) -> bytes:
        return await self._data.read()

    async def send(self, data: bytes) -> None:
        await self._data.write(data)

    async def end(self) -> None:
        await self._data.end()
        # kubectl waits for this before it lets its own side go: nothing that fails later could be told.
        await self._error.end()

    async def finish(self, failure: str = "") -> None:
        for stream, text in ((self._error, failure), (self._data, "")):
            try:
                await stream.write(text.encode())
                await stream.end()
            except ConnectionError:
                pass
            stream.reset()


@dataclass(slots=True)
class _Half:
    """A pair that is not complete yet."""

    port: int
    timer: asyncio.TimerHandle
    streams: dict[str, Stream] = field(default_factory=dict)


class SpdyForwardSession:
    """A ForwardSession over SPDY. `response` is what the handler returns; a takeover is released with the session."""

    def __init__(
        self, carrier: Carrier, takeover: Takeover | None = None, response: web.StreamResponse | None = None
    ) -> None:
        self._takeover = takeover
        self._response = response or TakenOver()
        self._halves: dict[str, _Half] = {}
        self._ready: asyncio.Queue[Forward | None] = asyncio.Queue()
        self._connection = Connection(carrier, self._opened)
        self._running: asyncio.Task[None] | None = asyncio.create_task(self._run(), name="spdy port-forward")

    async def _run(self) -> None:
        try:
            await self._connection.run()
        finally:
            self._ready.put_nowait(None)

    def _opened(self, stream: Stream) -> None:
        kind = stream.headers.get("streamtype", "")
        try:
            port = parse_port(stream.headers.get("port", ""))
        except ValueError as error:
            raise Refused from error
        if kind not in ("error", "data"):
            raise Refused
        # Clients older than requestID open the error stream first and the data stream directly after it.
        name = stream.headers.get("requestid") or f"stream {stream.number - (2 if kind == 'data' else 0)}"
        half = self._halves.get(name)
        if half is None:
            timer = asyncio.get_running_loop().call_later(upgrade.STREAM_TIMEOUT, self._expire, name)
            half = self._halves[name] = _Half(port, timer)
        if kind in half.streams or half.port != port:
            raise Refused
        half.streams[kind] = stream
        if len(half.streams) == 2:
            half.timer.cancel()
            del self._halves[name]
            self._ready.put_nowait(SpdyForward(port, half.streams["data"], half.streams["error"]))

    def _expire(self, name: str) -> None:
        """The other stream of a pair did not come."""
        for stream in self._halves.pop(name).streams.values():
            stream.reset()

    @property
    def response(self) -> web.StreamResponse:
        return self._response

    async def accept(self) -> Forward | None:
        return await self._ready.get()

    async def close(self) -> None:
        for half in self._halves.values():
            half.timer.cancel()
        self._halves.clear()
        if self._running is not None:
            await self._connection.go_away()
            self._running.cancel()
            await asyncio.wait((self._running,))
            self._running = None
        if self._takeover is not None:
            self._takeover.release()
            self._takeover = None
