"""A SPDY connection on a socket pair: streams, flow control, limits, and clients that do not keep to the rules."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podstead.streams import carrier
from podstead.streams.carrier import RawCarrier
from podstead.streams.spdy import connection, frames
from podstead.streams.spdy.connection import RECEIVE_LIMIT, RECEIVE_WINDOW, WINDOW, Connection
from podstead.streams.spdy.frames import Kind, Reset
from podstead.streams.spdy.headers import Compressor
from podstead.streams.spdy.stream import Refused, Stream
from support.spdy import SpdyClient, data, syn_stream

DEADLINE = 20


@dataclass
class Ends:
    """Both ends: `streams` are those that the server took."""

    client: SpdyClient
    server: Connection
    running: asyncio.Task[None]
    streams: list[Stream] = field(default_factory=list)

    async def opened(self, count: int) -> Stream:
        """Wait until the server has `count` streams; returns the last."""
        await self.client.until(lambda: sum(got.replied for got in self.client.streams.values()) >= count)
        return self.streams[count - 1]


@asynccontextmanager
async def ends(
    accept: Callable[[Stream], None] = lambda _: None, *, windows: bool = False, limit: int = 100
) -> AsyncIterator[Ends]:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    _, raw = await loop.connect_accepted_socket(RawCarrier, theirs)
    client = SpdyClient(*await asyncio.open_unix_connection(sock=ours), windows=windows)
    streams: list[Stream] = []

    def on_stream(stream: Stream) -> None:
        accept(stream)
        streams.append(stream)

    server = Connection(raw, on_stream, limit)
    running = asyncio.create_task(server.run())
    try:
        async with asyncio.timeout(DEADLINE):
            yield Ends(client, server, running, streams)
    finally:
        client.writer.transport.abort()
        running.cancel()
        await asyncio.wait((running,))


async def test_a_stream_carries_bytes_both_ways_and_each_way_has_its_end() -> None:
    async with ends() as both:
        number = await both.client.open(streamType="data", port="80")
        stream = await both.opened(1)
        assert stream.headers == {"streamtype": "data", "port": "80"}
        await both.client.send(data(number, b"to the server"), data(number, b"", fin=True))
        assert await stream.read() == b"to the server"
        assert await stream.read() == b""
        await stream.write(b"to the client")
        await stream.end()
        got = both.client.streams[number]
        await both.client.until(lambda: got.ended)
        assert got.data == b"to the client"
        with pytest.raises(ConnectionResetError):
            await stream.write(b"after the end")


async def test_pings_are_answered_and_answers_to_ours_are_not() -> None:
    async with ends() as both:
        both.server.ping()
        await both.client.send(frames.ping(2), frames.ping(41))
        await both.client.until(lambda: frames.Ping(41) in both.client.frames)
        assert [frame for frame in both.client.frames if isinstance(frame, frames.Ping)] == [
            frames.Ping(2),
            frames.Ping(41),
        ]


async def test_a_client_without_windows_gets_everything() -> None:
    """kubectl: it never sends WINDOW_UPDATE."""
    async with ends() as both:
        number = await both.client.open()
        stream = await both.opened(1)
        sending = asyncio.create_task(stream.write(bytes(10 * WINDOW)))
        await both.client.until(lambda: len(both.client.streams[number].data) == 10 * WINDOW)
        await sending


async def test_the_windows_of_a_client_that_has_some_are_kept_to() -> None:
    async with ends() as both:
        number = await both.client.open()
        stream = await both.opened(1)
        await both.client.send(frames.settings({frames.INITIAL_WINDOW_SIZE: 1000}), frames.ping(1))
        await both.client.until(lambda: frames.Ping(1) in both.client.frames)
        sending = asyncio.create_task(stream.write(bytes(5000)))
        got = both.client.streams[number]
        await both.client.until(lambda: len(got.data) >= 1000)
        await both.client.send(frames.ping(3))
        await both.client.until(lambda: frames.Ping(3) in both.client.frames)
        assert (len(got.data), sending.done()) == (1000, False)
        await both.client.send(frames.window_update(number, 4000))
        await both.client.until(lambda: len(got.data) == 5000)
        await sending


async def test_the_connections_own_window_is_kept_to() -> None:
    async with ends() as both:
        await both.client.send(frames.window_update(0, 1), frames.ping(1))
        await both.client.until(lambda: frames.Ping(1) in both.client.frames)
        numbers = [await both.client.open() for _ in range(2)]
        await both.opened(2)
        await both.client.send(*(frames.window_update(number, 1 << 20) for number in numbers), frames.ping(3))
        await both.client.until(lambda: frames.Ping(3) in both.client.frames)
        sending = [asyncio.create_task(stream.write(bytes(WINDOW))) for stream in both.streams]

        def total() -> int:
            return sum(len(both.client.streams[number].data) for number in numbers)

        await both.client.until(lambda: total() == WINDOW + 1)
        await both.client.send(frames.window_update(0, WINDOW))
        await both.client.until(lambda: total() == 2 * WINDOW)
        await asyncio.gather(*sending)


async def test_what_is_consumed_is_given_back() -> None:
    async with ends() as both:
        number = await both.client.open()
        stream = await both.opened(1)

        async def consume() -> None:
            while await stream.read():
                pass

        consuming = asyncio.create_task(consume())
        for _ in range(20):
            await both.client.send(data(number, bytes(WINDOW)))
        wanted = frames.WindowUpdate(number, RECEIVE_WINDOW // 2)
        await both.client.until(lambda: both.client.frames.count(wanted) == 2)
        given = sum(f.delta for f in both.client.frames if isinstance(f, frames.WindowUpdate) and not f.stream_id)
        assert given == (RECEIVE_WINDOW - WINDOW) + RECEIVE_WINDOW
        consuming.cancel()


async def test_a_client_that_floods_a_stream_nobody_reads_is_held_up() -> None:
    async with ends() as both:
        number = await both.client.open()
        stream = await both.opened(1)
        tracemalloc.start()
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    while True:
                        await both.client.send(data(number, bytes(WINDOW)))
            assert tracemalloc.get_traced_memory()[1] < RECEIVE_LIMIT + (4 << 20)
        finally:
            tracemalloc.stop()
        while stream.take():
            pass  # what was held up comes now
        await both.client.send(frames.ping(9))
        await both.client.until(lambda: frames.Ping(9) in both.client.frames or bool(stream.take()))


async def test_many_tiny_frames_count_with_what_they_cost() -> None:
    async with ends() as both:
        number = await both.client.open()
        await both.opened(1)
        flood = data(number, b"x") * 2000
        tracemalloc.start()
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.5):
                    while True:
                        await both.client.send(flood)
            assert tracemalloc.get_traced_memory()[1] < 3 * RECEIVE_LIMIT
        finally:
            tracemalloc.stop()


async def test_a_client_that_does_not_read_its_pongs_is_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier, "CLOSING", 0.2)
    async with ends() as both:
        flood = frames.ping(1) * 5000
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                while True:
                    await both.client.send(flood)
        assert both.server._backlog < 4 * connection._CONTROL_BACKLOG


async def test_refused_and_superfluous_streams() -> None:
    def refuse(stream: Stream) -> None:
        if "no" in stream.headers:
            raise Refused

    async with ends(refuse, limit=3) as both:
        refused = await both.client.open(no="thanks")
        taken = [await both.client.open() for _ in range(3)]
        superfluous = await both.client.open()
        await both.client.until(lambda: both.client.streams[superfluous].reset != 0)
        resets = {number: both.client.streams[number].reset for number in (refused, *taken, superfluous)}
        assert resets == {refused: Reset.REFUSED_STREAM, superfluous: Reset.REFUSED_STREAM} | dict.fromkeys(taken, 0)
        await both.client.send(data(refused, b"still on its way"), frames.rst_stream(taken[0], Reset.CANCEL))
        again = await both.client.open()
        await both.client.until(lambda: both.client.streams[again].replied)


@pytest.mark.parametrize("number", [2, 1])
async def test_a_number_that_is_even_or_used_is_reset(number: int) -> None:
    async with ends() as both:
        await both.client.open()
        await both.client.send(syn_stream(both.client.compressor, number, {}))
        await both.client.until(lambda: frames.RstStream(number, Reset.PROTOCOL_ERROR) in both.client.frames)


async def test_data_after_the_end_resets_the_stream() -> None:
    async with ends() as both:
        number = await both.client.open(fin=True)
        await both.opened(1)
        await both.client.send(data(number, b"more"))
        await both.client.until(lambda: both.client.streams[number].reset == Reset.STREAM_ALREADY_CLOSED)


@pytest.mark.parametrize(
    "wire",
    [
        data(99, b"never opened"),
        data(4, b"even"),
        frames.window_update(0, 0),
        frames.window_update(0, (1 << 31) - 1),
        frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 31}),
        frames.control(Kind.PING, b""),
        b"\x80\x03\x00\x01\xff\xff\xff\xff",
    ],
)
async def test_what_is_not_spdy_ends_the_connection_with_goaway(wire: bytes) -> None:
    async with ends() as both:
        number = await both.client.open()
        stream = await both.opened(1)
        await both.client.send(wire)
        while await both.client.read():
            pass
        assert frames.GoAway(number, frames.Gone.PROTOCOL_ERROR) in both.client.frames
        with pytest.raises(ConnectionResetError):
            await stream.read()
        await both.running


async def test_a_lost_client_ends_every_stream_also_while_its_data_waits() -> None:
    async with ends() as both:
        number = await both.client.open()
        stream = await both.opened(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    await both.client.send(data(number, bytes(WINDOW)))
        both.client.writer.transport.abort()
        # As a session's keep_alive does while a command does not read its input.
        with pytest.raises(ConnectionError):
            while True:
                both.server.ping()
                await asyncio.wait((both.running,), timeout=0.05)
        assert stream.is_lost


async def test_go_away_drops_what_still_comes() -> None:
    async with ends() as both:
        number = await both.client.open()
        await both.opened(1)
        await both.server.go_away()
        for _ in range(2 * RECEIVE_LIMIT // WINDOW):
            await both.client.send(data(number, bytes(WINDOW)))
        late = await both.client.open()
        await both.client.until(lambda: both.client.streams[late].reset == Reset.REFUSED_STREAM)
        assert frames.GoAway(number, frames.Gone.OK) in both.client.frames


COMPRESSOR = Compressor()
OPENING = b"".join(syn_stream(COMPRESSOR, number, {"streamtype": "data"}) for number in (1, 3, 5))
SENSIBLE = st.one_of(
    st.builds(data, st.integers(1, 9), st.binary(max_size=50), fin=st.booleans()),
    st.builds(frames.window_update, st.integers(0, 9), st.integers(0, (1 << 31) - 1)),
    st.builds(frames.rst_stream, st.integers(1, 9), st.sampled_from(Reset)),
    st.builds(frames.ping, st.integers(0, 9)),
    st.builds(frames.goaway, st.integers(0, 9), st.sampled_from(frames.Gone)),
    st.builds(lambda size: frames.settings({frames.INITIAL_WINDOW_SIZE: size}), st.integers(0, (1 << 32) - 1)),
    st.binary(max_size=30),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(SENSIBLE, max_size=25))
def test_no_client_can_do_more_than_end_its_own_connection(script: list[bytes]) -> None:
    async def run() -> None:
        async with ends() as both:
            writing = [asyncio.create_task(_echo(both.streams, index)) for index in range(3)]
            both.client.writer.write(OPENING + b"".join(script))
            both.client.writer.write_eof()
            await both.client.reader.read()
            await both.running
            for task in writing:
                task.cancel()
            await asyncio.wait(writing)
            assert not both.server._streams
            assert both.server.ended.is_set()

    asyncio.run(run())


async def _echo(streams: list[Stream], index: int) -> None:
    while len(streams) <= index:
        await asyncio.sleep(0)
    try:
        while piece := await streams[index].read():
            await streams[index].write(piece)
        await streams[index].end()
    except ConnectionError:
        pass
