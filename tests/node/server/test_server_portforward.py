"""Port-forward through the node's server: SPDY, SPDY in WebSocket, and WebSocket's channels, to servers on loopback."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import resource
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import DEADLINE, World, descriptors

from podstead.streams import carrier, tunnel
from podstead.streams.spdy import frames, upgrade
from support.spdy import Got, SpdyClient, data

PATH = "/portForward/default/p"
PROTOCOL = "portforward.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[World]:
    before = descriptors()
    world = World()
    await world.http.close()
    await world.open(directory)
    try:
        async with asyncio.timeout(60):
            yield world
    finally:
        await world.close()
    async with asyncio.timeout(DEADLINE):
        while descriptors() > before + 3:
            await asyncio.sleep(0.01)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        yield world


@asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[int]:
    """A server on loopback that talks so with everybody; gives its port."""
    talks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            await talk(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()
            talks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in talks:
            task.cancel()
        if talks:
            await asyncio.wait(talks)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)
        await writer.drain()


async def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Pair:
    """The two streams of one forwarded connection."""

    def __init__(self, client: SpdyClient, error: int, number: int) -> None:
        self.client, self.number = client, number
        self.error: Got = client.streams[error]
        self.data: Got = client.streams[number]

    @classmethod
    async def open(cls, client: SpdyClient, port: int | str, request: str = "0") -> Pair:
        headers = {"port": str(port), "requestID": request} if request else {"port": str(port)}
        error = await client.open(fin=True, streamType="error", **headers)
        return cls(client, error, await client.open(streamType="data", **headers))

    async def send(self, payload: bytes, *, fin: bool = False) -> None:
        await self.client.send(data(self.number, payload, fin=fin))

    async def until(self, done: Callable[[], bool]) -> None:
        await self.client.until(done)

    async def ended(self) -> None:
        await self.client.until(lambda: self.data.ended and self.error.ended)


class TunnelPipe:
    """A WebSocket as the reader and writer that a SpdyClient has."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.pending: list[bytes] = []

    async def read(self, _: int) -> bytes:
        message = await self.socket.receive()
        return message.data if message.type is aiohttp.WSMsgType.BINARY else b""

    def write(self, chunk: bytes) -> None:
        self.pending.append(chunk)

    def writelines(self, chunks: list[bytes]) -> None:
        self.pending += chunks

    async def drain(self) -> None:
        pending, self.pending = self.pending, []
        for chunk in pending:
            await self.socket.send_bytes(chunk)

    def close(self) -> None:
        connection = self.socket._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()


async def connect(world: World, form: str) -> SpdyClient:
    if form == "spdy":
        client = await world.spdy(PATH, PROTOCOL)
        assert client.status == 101, client.answer
        return client
    opened = await world.http.ws_connect(f"http://node{PATH}", protocols=[TUNNEL], max_msg_size=1 << 24)
    assert opened.protocol == TUNNEL
    pipe: Any = TunnelPipe(opened)
    return SpdyClient(pipe, pipe)


@pytest.fixture(params=["spdy", "tunnel"])
async def client(request: pytest.FixtureRequest, world: World) -> AsyncIterator[SpdyClient]:
    client = await connect(world, request.param)
    yield client
    client.writer.close()


async def test_each_side_may_end_its_direction_first(client: SpdyClient) -> None:
    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.read()
        writer.write(b"you said " + asked)

    async with listening(answer_at_the_end) as port:
        pair = await Pair.open(client, port)
        await pair.send(b"something")
        await pair.send(b"", fin=True)
        await pair.ended()
        assert (pair.data.data, pair.error.data) == (b"you said something", b"")


async def test_a_pod_that_ends_first_ends_both_streams(client: SpdyClient) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")

    async with listening(greet) as port:
        pair = await Pair.open(client, port)
        await pair.ended()
        assert pair.data.data == b"bye"


async def test_many_connections_at_once_do_not_mix(client: SpdyClient) -> None:
    async with listening(echo) as port:
        pairs = [await Pair.open(client, port, str(number)) for number in range(200)]
        for number, pair in enumerate(pairs):
            await pair.send(f"connection {number}".encode(), fin=True)
        await client.until(lambda: all(pair.data.ended for pair in pairs))
    assert [bytes(pair.data.data) for pair in pairs] == [f"connection {number}".encode() for number in range(200)]


async def test_a_port_that_nobody_listens_on_is_told(client: SpdyClient) -> None:
    port = await unused_port()
    pair = await Pair.open(client, port)
    await pair.ended()
    start = f"error forwarding port {port} to pod p, uid u-i-d: failed to connect to localhost:{port}".encode()
    assert pair.error.data.startswith(start)
    async with listening(echo) as other:  # the connection still serves
        again = await Pair.open(client, other, "1")
        await again.send(b"x", fin=True)
        await again.ended()


async def test_a_connection_that_does_not_read_does_not_hold_up_others(client: SpdyClient) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(DEADLINE)

    async with listening(deaf) as silent, listening(echo) as port:
        stuck = await Pair.open(client, silent)
        for _ in range(100):
            await stuck.send(bytes(32 << 10))
        pair = await Pair.open(client, port, "1")
        await pair.send(b"through", fin=True)
        await pair.ended()
        assert pair.data.data == b"through"


async def test_a_client_that_resets_the_data_lets_the_pod_go(client: SpdyClient) -> None:
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(100):
                pass
        finally:
            gone.set()

    async with listening(talk) as port:
        pair = await Pair.open(client, port)
        await pair.send(b"hello")
        await client.until(lambda: pair.data.replied)
        await client.send(frames.rst_stream(pair.number, frames.Reset.CANCEL))
        await client.until(lambda: pair.error.ended)
        await gone.wait()


async def test_a_client_that_vanishes_lets_all_its_connections_go(world: World, client: SpdyClient) -> None:
    gone: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        try:
            await reader.read()
        finally:
            gone.append(1)

    async with listening(talk) as port:
        pairs = [await Pair.open(client, port, str(number)) for number in range(20)]
        await client.until(lambda: all(pair.data.data for pair in pairs))
        client.writer.close()
        async with asyncio.timeout(DEADLINE):
            while len(gone) < 20 or world.server._handlers:
                await asyncio.sleep(0.01)


async def test_a_server_that_closes_ends_forwards(world: World, client: SpdyClient) -> None:
    async with listening(echo) as port:
        pair = await Pair.open(client, port)
        await pair.send(b"x")
        await client.until(lambda: pair.data.data == b"x")
        closing = asyncio.create_task(world.server.close())
        while await client.read():
            pass
        await closing
        await world.server.start()


async def test_sixty_four_megabytes_come_back_unharmed_in_bounded_memory(client: SpdyClient) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sent, got, block = hashlib.sha256(), hashlib.sha256(), os.urandom(32 << 10)
    count = 0
    async with listening(echo) as port:
        pair = await Pair.open(client, port)

        async def feed() -> None:
            for _ in range(2048):
                sent.update(block)
                await pair.send(block)
            await pair.send(b"", fin=True)

        feeding = asyncio.create_task(feed())
        while not pair.data.ended:
            assert await client.read()
            got.update(pair.data.data)
            count += len(pair.data.data)
            pair.data.data.clear()
        await feeding
    assert count == 2048 * len(block)
    assert got.digest() == sent.digest()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 32 << 10, f"grew by {grown} KiB"


async def test_clients_without_request_ids_are_understood(client: SpdyClient) -> None:
    async with listening(echo) as port:
        pairs = [await Pair.open(client, port, "") for _ in range(2)]
        for pair in pairs:
            await pair.send(b"x", fin=True)
        await client.until(lambda: all(pair.data.ended for pair in pairs))


@pytest.mark.parametrize(
    "headers",
    [
        {"streamType": "data"},
        {"streamType": "data", "port": "0"},
        {"streamType": "data", "port": "65536"},
        {"streamType": "data", "port": "8o"},
        {"streamType": "nonsense", "port": "80"},
        {"port": "80"},
    ],
)
async def test_streams_that_make_no_sense_are_refused(client: SpdyClient, headers: dict[str, str]) -> None:
    number = await client.open(**headers)
    await client.until(lambda: client.streams[number].reset == frames.Reset.REFUSED_STREAM)


async def test_the_same_stream_twice_is_refused(client: SpdyClient) -> None:
    first = await client.open(streamType="data", port="80", requestID="7")
    second = await client.open(streamType="data", port="80", requestID="7")
    await client.until(lambda: client.streams[second].reset == frames.Reset.REFUSED_STREAM)
    assert not client.streams[first].reset


async def test_half_a_pair_times_out(client: SpdyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "STREAM_TIMEOUT", 0.2)
    halves = [await client.open(streamType="error", port="80", requestID=str(number)) for number in range(50)]
    await client.until(lambda: all(client.streams[half].reset for half in halves))


# -- numbered channels


async def channels(world: World, *ports: int, protocol: str = "v4.channel.k8s.io") -> aiohttp.ClientWebSocketResponse:
    query = [("port", str(port)) for port in ports]
    protocols = [protocol] if protocol else []
    return await world.http.ws_connect(f"http://node{PATH}", params=query, protocols=protocols)


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", ""])
async def test_channels_say_their_ports_and_carry_data(world: World, protocol: str) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())

    async with listening(echo) as first, listening(shout) as second:
        opened = await channels(world, first, second, protocol=protocol)
        for number, port in enumerate((first, first, second, second)):
            assert await opened.receive_bytes() == bytes([number]) + struct.pack("<H", port)
        await opened.send_bytes(b"\x00one")
        assert await opened.receive_bytes() == b"\x00one"
        await opened.send_bytes(b"\x02two\n")
        assert await opened.receive_bytes() == b"\x02TWO\n"
        await opened.send_bytes(b"\x02nobody there any more")
        await opened.send_bytes(b"\x00still here")
        assert await opened.receive_bytes() == b"\x00still here"
        await opened.close()


async def test_channels_in_base64(world: World) -> None:
    async with listening(echo) as port:
        opened = await channels(world, port, protocol="v4.base64.channel.k8s.io")
        for number in "01":
            assert await opened.receive_str() == number + base64.b64encode(struct.pack("<H", port)).decode()
        await opened.send_str("0not base64!")
        await opened.send_str("0" + base64.b64encode(b"\xff\x00").decode())
        assert await opened.receive_str() == "0" + base64.b64encode(b"\xff\x00").decode()
        await opened.close()


async def test_a_failure_comes_on_its_channel_and_the_last_end_closes(world: World) -> None:
    port = await unused_port()
    opened = await channels(world, port)
    messages = [message.data async for message in opened]
    assert messages[2].startswith(b"\x01error forwarding port %d to pod p" % port)
    assert opened.close_code == 1000


async def test_channels_hold_up_a_client_whose_pod_does_not_read(world: World) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(DEADLINE)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with listening(deaf) as port:
        opened = await channels(world, port)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    await opened.send_bytes(b"\x00" + bytes(32 << 10))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 24 << 10
        TunnelPipe(opened).close()


@pytest.mark.parametrize(
    ("query", "protocols", "code", "message"),
    [
        ("", ["v4.channel.k8s.io"], 400, 'query parameter "port" is required'),
        ("?port=0", ["v4.channel.k8s.io"], 400, "a number from 1 to 65535"),
        ("?port=80,x", [], 400, 'unable to parse "x" as a port'),
        ("?" + "port=80,80&" * 64, [], 400, "128 ports are too many"),
        ("?port=80", ["v5.channel.k8s.io"], 403, "SPDY/3.1+portforward.k8s.io"),
    ],
)
async def test_what_cannot_be_forwarded_is_a_status(
    world: World, query: str, protocols: list[str], code: int, message: str
) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    }
    if protocols:
        headers["Sec-WebSocket-Protocol"] = ", ".join(protocols)
    async with world.http.get(f"http://node{PATH}{query}", headers=headers) as answer:
        status = await answer.json()
        assert (answer.status, status["kind"]) == (code, "Status")
        assert message in status["message"]


async def test_no_pod_and_no_upgrade_are_a_status(world: World) -> None:
    async with world.http.post("http://node/portForward/default/p") as answer:
        assert (answer.status, (await answer.json())["message"]) == (400, "Upgrade request required")
    client = await world.spdy("/portForward/default/nosuch", PROTOCOL)
    assert client.status == 404
    client.writer.close()
    client = await world.spdy(PATH, "v4.channel.k8s.io")
    assert client.status == 403
    client.writer.close()


# -- hostile clients


HOSTILE = st.lists(
    st.binary(max_size=60)
    | st.sampled_from([b"\x82\x85mask", b"\x82\xff" + bytes(8), b"\x81\x80mask", b"\x88\x80mask"]),
    max_size=6,
)
PROTOCOLS = st.sampled_from([TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"])


@settings(max_examples=25, deadline=None)
@given(PROTOCOLS, HOSTILE)
def test_no_bytes_behind_a_handshake_do_more_than_end_it(protocol: str, script: list[bytes]) -> None:
    async def run(directory: Path) -> None:
        async with opened(directory) as world, listening(echo) as port:
            reader, writer = await asyncio.open_unix_connection(world.path)
            head = f"GET {PATH}?port={port} HTTP/1.1\r\nHost: n\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            writer.write(f"{head}{key}Sec-WebSocket-Protocol: {protocol}\r\n\r\n".encode() + b"".join(script))
            assert (await reader.readline()).split()[1] == b"101"
            writer.write_eof()
            while await reader.read(1 << 16):
                pass
            writer.close()

    with pytest.MonkeyPatch.context() as patched, tempfile.TemporaryDirectory() as directory:
        patched.setattr(carrier, "CLOSING", 0.2)
        patched.setattr(tunnel, "_CLOSE_TIMEOUT", 0.2)
        asyncio.run(run(Path(directory)))
