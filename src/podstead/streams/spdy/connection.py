"""A SPDY/3.1 connection as its server sees it: streams that the client opens, flow control, limits.

Flow control: what is consumed here is given back to the client in WINDOW_UPDATE frames, for each stream and for the
connection. The client's windows are kept to from the first sign that it has any (a WINDOW_UPDATE, or SETTINGS with
a window): kubectl and client-go never send either, whatever they receive, and would wait forever for what is held
back. With them the connection itself is the back-pressure: no more than RECEIVE_LIMIT bytes wait here to be consumed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from podstead.streams.carrier import CLOSING, Carrier
from podstead.streams.spdy import frames
from podstead.streams.spdy.frames import (
    Data,
    Frame,
    GoAway,
    Gone,
    HeadersFrame,
    Ping,
    ProtocolError,
    Reset,
    RstStream,
    Settings,
    SynStream,
    WindowUpdate,
)
from podstead.streams.spdy.headers import Compressor
from podstead.streams.spdy.stream import FRAME_SIZE, Refused, Stream

WINDOW = 64 << 10
"""Bytes of every window at the start, as the draft says."""

RECEIVE_WINDOW = 1 << 20
"""Bytes that the client's windows are enlarged to at once, so that there is not an update for each of its frames."""

RECEIVE_LIMIT = 4 << 20
"""Bytes that wait for their consumers, of all streams together, before the connection is not read any more."""

STREAM_LIMIT = 2000
"""Streams that may be open at once; more are refused."""

_CONTROL_BACKLOG = 64 << 10
_MAX_WINDOW = (1 << 31) - 1


class Connection:
    """Runs over `carrier`, which it closes. `on_stream` is called with each new stream, and may raise Refused."""

    def __init__(self, carrier: Carrier, on_stream: Callable[[Stream], None], limit: int = STREAM_LIMIT) -> None:
        self._carrier = carrier
        self._on_stream = on_stream
        self._limit = limit
        self._parser = frames.Parser()
        self._compressor = Compressor()
        self._streams: dict[int, Stream] = {}
        self._last_id = 0
        self._ping_id = 0
        self._controls: list[bytes] = []
        self._backlog = 0
        self._to_send = asyncio.Event()
        self._sent = asyncio.Event()
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._consumed = 0
        self._room = asyncio.Event()
        self._closing = False
        self.ended = asyncio.Event()
        """Nothing can be sent or will arrive any more."""
        self.leaving = asyncio.Event()
        """The client has said GOAWAY, or has ended."""
        self.windowed = False
        """Whether the client has windows that are kept to."""
        self.initial_window = WINDOW
        self.window = WINDOW
        self._window_kept = False

    # -- the life of the connection

    async def run(self) -> None:
        """Serve until the client has ended, misbehaves or is lost, or until cancelled; streams end with it."""
        self._control(frames.settings({frames.INITIAL_WINDOW_SIZE: RECEIVE_WINDOW}))
        self._control(frames.window_update(0, RECEIVE_WINDOW - WINDOW))
        try:
            async with asyncio.TaskGroup() as group:
                sender = group.create_task(self._send_controls())
                await self._receive()
                sender.cancel()
        finally:
            self._end()
            await self._carrier.close()

    async def _receive(self) -> None:
        try:
            while data := await self._carrier.receive():
                for frame in self._parser.feed(data):
                    self._handle(frame)
                while self._waiting > RECEIVE_LIMIT and not self.ended.is_set():
                    self._room.clear()
                    await self._room.wait()
                while self._backlog > _CONTROL_BACKLOG and not self.ended.is_set():
                    self._sent.clear()
                    await self._sent.wait()
        except ProtocolError:
            self._control(frames.goaway(self._last_id, Gone.PROTOCOL_ERROR))
            await self._flush()

    async def _send_controls(self) -> None:
        while True:
            await self._to_send.wait()
            try:
                if controls := self._take_controls():
                    await self._carrier.send(*controls)
            except ConnectionError:
                self._end()  # The receiver may be waiting for room, and would not see it.
                return

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(CLOSING):
                await self._carrier.send(*self._take_controls())
        except (ConnectionError, TimeoutError):
            pass

    def _control(self, frame: bytes) -> None:
        self._controls.append(frame)
        self._backlog += len(frame)
        self._to_send.set()

    def _take_controls(self) -> list[bytes]:
        taken, self._controls, self._backlog = self._controls, [], 0
        self._to_send.clear()
        self._sent.set()
        return taken

    def _end(self) -> None:
        for stream in list(self._streams.values()):
            stream.lost()
        self._streams.clear()
        self.leaving.set()
        self.ended.set()
        self._room.set()
        self._sent.set()

    async def go_away(self) -> None:
        """Say that this end is done, behind everything that was replied; what still arrives is dropped."""
        if not self._closing:
            self._closing = True
            for stream in self._streams.values():
                stream.discard()
            self._control(frames.goaway(self._last_id, Gone.OK))
            await self._flush()

    def ping(self) -> None:
        """Show the client that this end lives. Raises ConnectionResetError where the connection has ended."""
        if self.ended.is_set():
            raise ConnectionResetError("the connection has ended")
        self._ping_id = (self._ping_id + 2) % (1 << 31) or 2
        self._control(frames.ping(self._ping_id))

    # -- what arrives

    def _handle(self, frame: Frame) -> None:
        match frame:
            case Data():
                self._handle_data(frame)
            case SynStream():
                self._handle_syn(frame)
            case WindowUpdate():
                self._handle_window(frame)
            case RstStream():
                if (stream := self._streams.pop(frame.stream_id, None)) is not None:
                    stream.lost()
            case Ping():
                if frame.id % 2:  # a client's own; the others answer ours
                    self._control(frames.ping(frame.id))
            case Settings():
                self._handle_settings(frame)
            case HeadersFrame():
                self._handle_headers(frame)
            case GoAway():
                self.leaving.set()

    def _handle_syn(self, frame: SynStream) -> None:
        number = frame.stream_id
        if number % 2 == 0 or number <= self._last_id:
            self._forget(number)
            self._control(frames.rst_stream(number, Reset.PROTOCOL_ERROR))
            return
        self._last_id = number
        stream = Stream(self, number, frame.headers)
        if self._closing or len(self._streams) >= self._limit:
            self._control(frames.rst_stream(number, Reset.REFUSED_STREAM))
            return
        try:
            self._on_stream(stream)
        except Refused:
            self._control(frames.rst_stream(number, Reset.REFUSED_STREAM))
            return
        self._streams[number] = stream
        self._control(frames.syn_reply(number, self._compressor))
        if frame.unidirectional:
            stream.sent_end = True
        if frame.fin:
            stream.received(b"", end=True)

    def _handle_data(self, frame: Data) -> None:
        stream = self._streams.get(frame.stream_id)
        if stream is None:
            if frame.stream_id > self._last_id or frame.stream_id % 2 == 0:
                raise ProtocolError(f"data arrives for stream {frame.stream_id}, which was never opened")
            # Data of a stream that has just been closed may still be on its way: it is dropped.
            self._credit(len(frame.data))
        elif stream.received_end:
            self.reset(stream, Reset.STREAM_ALREADY_CLOSED)
        elif self._closing:
            self._credit(len(frame.data))
        else:
            self._waiting += stream.received(frame.data, end=frame.fin)

    def _handle_headers(self, frame: HeadersFrame) -> None:
        stream = self._streams.get(frame.stream_id)
        if frame.reply or stream is None:
            # No stream is opened from this side, so there is nothing to reply to.
            self._forget(frame.stream_id)
            self._control(frames.rst_stream(frame.stream_id, Reset.INVALID_STREAM))
        elif frame.fin and not stream.received_end:
            stream.received(b"", end=True)

    def _handle_window(self, frame: WindowUpdate) -> None:
        self.windowed = True
        if frame.stream_id == 0:
            self._window_kept = True
            self.window += frame.delta
            if not frame.delta or self.window > _MAX_WINDOW:
                raise ProtocolError("the connection's window cannot be so large, or grow by nothing")
        elif (stream := self._streams.get(frame.stream_id)) is not None:
            stream.window += frame.delta
            if not frame.delta or stream.window > _MAX_WINDOW:
                self.reset(stream, Reset.FLOW_CONTROL_ERROR)
        self._widened()

    def _handle_settings(self, frame: Settings) -> None:
        size = frame.values.get(frames.INITIAL_WINDOW_SIZE)
        if size is None:
            return
        if size > _MAX_WINDOW:
            raise ProtocolError(f"a window of {size} bytes is too large")
        self.windowed = True
        for stream in self._streams.values():
            stream.window += size - self.initial_window
        self.initial_window = size
        self._widened()

    def _widened(self) -> None:
        for stream in self._streams.values():
            stream.widened.set()

    # -- what streams ask

    async def send_data(self, stream: Stream, data: memoryview) -> int:
        """Send a frame with as much of `data` as the client takes now, which is returned; streams take turns.

        Raises ConnectionError where the stream or the connection has ended.
        """
        async with self._turn:
            self._check(stream)
            size = min(len(data), FRAME_SIZE, self._allowed(stream))
            if size:
                stream.window -= size
                self.window -= size
                head = frames.data_head(stream.number, size)
                await self._carrier.send(*self._take_controls(), head, data[:size])
            return size

    async def send_end(self, stream: Stream) -> None:
        """Send the end of this side's direction; raises ConnectionError as `send_data`."""
        async with self._turn:
            self._check(stream)
            stream.sent_end = True
            self.settle(stream)
            await self._carrier.send(*self._take_controls(), frames.data_head(stream.number, 0, fin=True))

    def _check(self, stream: Stream) -> None:
        if self.ended.is_set():
            raise ConnectionResetError("the connection has ended")
        if stream.is_lost or stream.sent_end:
            raise ConnectionResetError("the stream was reset")

    def _allowed(self, stream: Stream) -> int:
        """Return how many bytes the client takes on `stream` now."""
        if not self.windowed:
            return _MAX_WINDOW
        return max(min(stream.window, self.window) if self._window_kept else stream.window, 0)

    def consumed(self, stream: Stream, size: int, cost: int) -> None:
        """Take note that `size` bytes of `stream` were consumed, that were counted as `cost`."""
        self._waiting -= cost
        if self._waiting <= RECEIVE_LIMIT:
            self._room.set()
        stream.unacknowledged += size
        if stream.unacknowledged >= RECEIVE_WINDOW // 2 and not stream.received_end and not stream.is_lost:
            self._control(frames.window_update(stream.number, stream.unacknowledged))
            stream.unacknowledged = 0
        self._credit(size)

    def _credit(self, size: int) -> None:
        self._consumed += size
        if self._consumed >= RECEIVE_WINDOW // 2 and not self.ended.is_set():
            self._control(frames.window_update(0, self._consumed))
            self._consumed = 0

    def dropped(self, size: int, cost: int) -> None:
        """Take note that bytes will not be consumed by anybody."""
        self._waiting -= cost
        self._room.set()
        self._credit(size)

    def reset(self, stream: Stream, status: Reset) -> None:
        """End `stream` both ways at once."""
        if self._streams.pop(stream.number, None) is not None:
            stream.lost()
            self._control(frames.rst_stream(stream.number, status))

    def settle(self, stream: Stream) -> None:
        """Forget `stream` if both ends have ended it."""
        if stream.sent_end and stream.received_end:
            self._streams.pop(stream.number, None)

    def _forget(self, number: int) -> None:
        if (stream := self._streams.pop(number, None)) is not None:
            stream.lost()
