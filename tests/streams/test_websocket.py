"""The choice of a WebSocket subprotocol and how messages are framed, seen from a real WebSocket client."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from podstead.streams.remotecommand import (
    Channel,
    Input,
    InputEnd,
    OptionsError,
    Resize,
    StreamOptions,
    exit_status,
    parse_resize,
    success,
)
from podstead.streams.websocket import MESSAGE_LIMIT, WebSocketSession, choose, negotiate

ALL = StreamOptions(stdin=True, stdout=True, stderr=True, tty=False)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["v5.channel.k8s.io"], "v5.channel.k8s.io"),
        (["channel.k8s.io", "v4.channel.k8s.io"], "v4.channel.k8s.io"),
        (["base64.channel.k8s.io", "v4.base64.channel.k8s.io"], "v4.base64.channel.k8s.io"),
        (["nonsense", "v2.channel.k8s.io"], "v2.channel.k8s.io"),
        ([], ""),
    ],
)
def test_the_server_takes_the_best_it_knows(offered: Sequence[str], chosen: str) -> None:
    protocol = negotiate(offered)
    assert protocol is not None
    assert protocol.name == chosen


def test_nothing_in_common_is_no_protocol() -> None:
    assert negotiate(["v9.channel.k8s.io"]) is None


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ({"input": "1", "output": "1", "tty": "1", "error": "1"}, StreamOptions(True, True, False, True)),
        ({"output": "true", "error": "0"}, StreamOptions(False, True, False, False)),
    ],
)
def test_a_query_says_which_streams(query: dict[str, str], options: StreamOptions) -> None:
    assert StreamOptions.from_query(query) == options


def test_a_query_without_streams_is_refused() -> None:
    with pytest.raises(OptionsError, match="at least 1 of stdin, stdout, stderr"):
        StreamOptions.from_query({"tty": "1"})


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"Width":0,"Height":4}', b'{"Width":70000,"Height":4}', b"{}"])
def test_a_resize_that_makes_no_sense_is_none(data: bytes) -> None:
    assert parse_resize(data) is None


@asynccontextmanager
async def talk(
    tmp_path: Path,
    protocol: str,
    serve: Callable[[WebSocketSession], Awaitable[None]],
    options: StreamOptions = ALL,
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        session = await WebSocketSession.accept(request, choose(request), options)
        await serve(session)
        return session.response

    server = web.Server(handle)
    door = await asyncio.get_running_loop().create_unix_server(server, str(tmp_path / "door"))
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "door"))) as http,
    ):
        yield await http.ws_connect("http://x/", protocols=[protocol] if protocol else [])
    door.close()
    await server.shutdown()


async def collect(socket: aiohttp.ClientWebSocketResponse) -> list[Any]:
    return [message.data async for message in socket]


async def test_the_client_is_greeted_on_the_lowest_channel_asked_for(tmp_path: Path) -> None:
    async def serve(session: WebSocketSession) -> None:
        await session.finish(success())

    only_errors = StreamOptions(stdin=True, stdout=False, stderr=True, tty=False)
    async with talk(tmp_path, "v4.channel.k8s.io", serve, only_errors) as socket:
        assert socket.protocol == "v4.channel.k8s.io"
        greeting, status = await collect(socket)
        assert greeting == b"\x02"
        assert status[:1] == b"\x03"
        assert msgspec.json.decode(status[1:]) == success()


@pytest.mark.parametrize("protocol", ["channel.k8s.io", "v3.channel.k8s.io", ""])
async def test_old_protocols_have_a_plain_text_and_nothing_for_success(tmp_path: Path, protocol: str) -> None:
    async def serve(session: WebSocketSession) -> None:
        message = await session.receive()
        await session.finish(success() if message == Input(b"well") else exit_status(3))

    for word, told in ((b"well", []), (b"badly", [b"\x03command terminated with non-zero exit code: 3"])):
        path = tmp_path / word.decode()
        path.mkdir()
        async with talk(path, protocol, serve) as socket:
            assert socket.protocol == (protocol or None)
            await socket.send_bytes(b"\x00" + word)
            assert await collect(socket) == [b"\x01", *told]


async def test_messages_mean_what_the_protocol_says(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def serve(session: WebSocketSession) -> None:
        while (message := await session.receive()) is not None:
            seen.append(message)

    async with talk(tmp_path, "v5.channel.k8s.io", serve) as socket:
        for message in (b"\x00bytes", b"", b"\x00", b"\x09what?", b"\x01not yours", b'\x04{"Width":80,"Height":24}'):
            await socket.send_bytes(message)
        await socket.send_str("\x00text")  # as the Python client sends what it was given as str
        await socket.send_bytes(b"\xff\x01")
        await socket.send_bytes(b"\xff\x00")
        await socket.close()
    assert seen == [Input(b"bytes"), Resize(80, 24), Input(b"text"), InputEnd()]


async def test_half_close_is_version_five_only(tmp_path: Path) -> None:
    async def serve(session: WebSocketSession) -> None:
        assert await session.receive() == Input(b"after")
        await session.finish(success())

    async with talk(tmp_path, "v4.channel.k8s.io", serve) as socket:
        await socket.send_bytes(b"\xff\x00")
        await socket.send_bytes(b"\x00after")
        assert len(await collect(socket)) == 2


async def test_base64_is_text_with_a_digit(tmp_path: Path) -> None:
    async def serve(session: WebSocketSession) -> None:
        message = await session.receive()
        assert message == Input(b"\xfe\xff")
        await session.send(Channel.STDERR, b"\xfd")
        await session.finish(success())

    async with talk(tmp_path, "v4.base64.channel.k8s.io", serve) as socket:
        await socket.send_str("0not base64!")
        await socket.send_str("0" + base64.b64encode(b"\xfe\xff").decode())
        greeting, output, status = await collect(socket)
        assert (greeting, output) == ("1", "2" + base64.b64encode(b"\xfd").decode())
        assert msgspec.json.decode(base64.b64decode(status[1:])) == success()


async def test_a_message_beyond_the_limit_ends_the_session(tmp_path: Path) -> None:
    gone = asyncio.Event()

    async def serve(session: WebSocketSession) -> None:
        assert await session.receive() is None
        gone.set()

    async with talk(tmp_path, "v5.channel.k8s.io", serve) as socket:
        try:
            await socket.send_bytes(bytes(MESSAGE_LIMIT + 1))
        except ConnectionError:
            pass
        await gone.wait()
