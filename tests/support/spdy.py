"""A SPDY client for tests: frames as bytes of a test's own choice, and streams that remember what came."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from podstead.streams.spdy import frames
from podstead.streams.spdy.frames import Kind
from podstead.streams.spdy.headers import Compressor


def syn_stream(compressor: Compressor, number: int, headers: dict[str, str], *, flags: int = 0) -> bytes:
    body = struct.pack(">IIBB", number, 0, 0, 0) + compressor.compress(headers)
    return frames.control(Kind.SYN_STREAM, body, flags)


def data(number: int, payload: bytes, *, fin: bool = False) -> bytes:
    return frames.data_head(number, len(payload), fin=fin) + payload


@dataclass
class Got:
    """What came on a stream."""

    data: bytearray = field(default_factory=bytearray)
    replied: bool = False
    ended: bool = False
    reset: int = 0


class SpdyClient:
    """The client's end of a connection; `windows` has it keep SPDY's flow control, which kubectl does not."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, windows: bool = False) -> None:
        self.reader, self.writer = reader, writer
        self.windows = windows
        self.compressor = Compressor()
        self.parser = frames.Parser()
        self.streams: dict[int, Got] = {}
        self.frames: list[frames.Frame] = []
        """Everything that came except data and replies."""
        self.answer = b""
        self.closed = False
        self.room = {0: 64 << 10}
        """What the server's windows still take, by stream; 0 is the connection's."""
        self._initial = 64 << 10
        self._widened = asyncio.Event()
        self._next = 1

    async def upgrade(
        self, path: str, *protocols: str, method: str = "POST", headers: Iterable[str] = ()
    ) -> dict[str, str]:
        """Ask for the upgrade and return the answer's headers; `answer` has its head. `headers` are whole lines."""
        offered = [f"X-Stream-Protocol-Version: {protocol}" for protocol in protocols]
        lines = [f"{method} {path} HTTP/1.1", "Host: node", "Connection: Upgrade", "Upgrade: SPDY/3.1"]
        self.writer.write("\r\n".join([*lines, *offered, *headers, "", ""]).encode())
        self.answer = await self.reader.readuntil(b"\r\n\r\n")
        pairs = [line.split(": ", 1) for line in self.answer.decode().split("\r\n")[1:] if line]
        return {name.lower(): value for name, value in pairs}

    @property
    def status(self) -> int:
        return int(self.answer.split(b" ", 2)[1])

    async def open(self, fin: bool = False, **headers: str) -> int:
        """Open a stream; returns its number. `fin`: nothing will be sent on it."""
        number, self._next = self._next, self._next + 2
        self.streams[number] = Got()
        self.room[number] = self._initial
        await self.send(syn_stream(self.compressor, number, headers, flags=1 if fin else 0))
        return number

    async def send(self, *parts: bytes) -> None:
        self.writer.writelines(parts)
        await self.writer.drain()

    async def send_within_windows(self, number: int, payload: bytes) -> None:
        """Send data as the server's windows allow; somebody else must `read` meanwhile."""
        while min(self.room[0], self.room[number]) < len(payload):
            self._widened.clear()
            await self._widened.wait()
        self.room[0] -= len(payload)
        self.room[number] -= len(payload)
        await self.send(data(number, payload))

    async def until(self, done: Callable[[], bool]) -> None:
        """Read until `done`; the end of the connection before that is an error."""
        while not done():
            assert await self.read(), f"closed; had {self.streams} {self.frames}"

    async def end(self) -> None:
        """Read to the end of the connection, or to the server's GOAWAY, which is answered as kubectl does."""
        while not any(isinstance(frame, frames.GoAway) for frame in self.frames) and await self.read():
            pass
        if not self.closed:
            await self.send(frames.goaway(0, frames.Gone.OK))
        self.writer.close()

    async def read(self) -> bool:
        """Take what arrived next; returns False at the end."""
        try:
            chunk = await self.reader.read(1 << 18)
        except ConnectionError:
            chunk = b""
        self.closed = not chunk
        for frame in self.parser.feed(chunk):
            await self._take(frame)
        return bool(chunk)

    async def _take(self, frame: frames.Frame) -> None:
        if isinstance(frame, frames.Data):
            got = self.streams[frame.stream_id]
            got.data += frame.data
            got.ended |= frame.fin
            if self.windows and frame.data:
                delta = len(frame.data)
                self.writer.write(frames.window_update(frame.stream_id, delta) + frames.window_update(0, delta))
        elif isinstance(frame, frames.HeadersFrame) and frame.reply:
            self.streams[frame.stream_id].replied = True
        else:
            if isinstance(frame, frames.RstStream) and frame.stream_id in self.streams:
                self.streams[frame.stream_id].reset = frame.status
            if isinstance(frame, frames.WindowUpdate):
                self.room[frame.stream_id] += frame.delta
            if isinstance(frame, frames.Settings):
                more = frame.values[frames.INITIAL_WINDOW_SIZE] - self._initial
                self._initial += more
                self.room |= {number: room + more for number, room in self.room.items() if number}
            self._widened.set()
            self.frames.append(frame)
