"""exec over every WebSocket subprotocol, and over bytes that are none, through the node's server."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import World, descriptors

from podstead.streams import websocket

PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
    "",
    "v4.base64.channel.k8s.io",
    "base64.channel.k8s.io",
)


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
    await world.ended()
    assert descriptors() <= before + 3, "descriptors leak"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        yield world


def say(protocol: str, channel: int, payload: bytes) -> bytes | str:
    if "base64" in protocol:
        return f"{channel}{base64.b64encode(payload).decode()}"
    return bytes([channel]) + payload


def hear(protocol: str, message: bytes | str) -> tuple[int, bytes]:
    if isinstance(message, str):
        assert "base64" in protocol
        return int(message[0]), base64.b64decode(message[1:], validate=True)
    return message[0], message[1:]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_every_subprotocol_carries_input_outputs_and_failures(world: World, protocol: str) -> None:
    script = "read line; echo $line; echo $line >&2; exit 3"
    protocols = [protocol] if protocol else []
    socket = (await world.exec(["sh", "-c", script], "input output error", protocols=protocols)).socket
    assert socket.protocol == (protocol or None)
    message = say(protocol, 0, b"\xc3\xa4\n")
    await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
    outputs: dict[int, bytes] = {1: b"", 2: b"", 3: b""}
    async for received in socket:
        channel, payload = hear(protocol, received.data)
        outputs[channel] += payload
    assert (outputs[1], outputs[2]) == (b"\xc3\xa4\n", b"\xc3\xa4\n")
    if protocol[:2] in ("v4", "v5"):
        assert msgspec.json.decode(outputs[3])["details"]["causes"][0]["message"] == "3"
    else:
        assert outputs[3] == b"command terminated with non-zero exit code: 3"


@pytest.mark.parametrize("protocol", PROTOCOLS[1:5])
async def test_terminals_follow_resizes(world: World, protocol: str) -> None:
    """Kubernetes has resizes since version 3; where they come in older ones they are not in the way."""
    script = "trap 'stty size; exit' WINCH; echo go; while :; do sleep 0.02; done"
    client = await world.exec(["sh", "-c", script], "input output tty", protocols=[protocol])
    await client.until(b"go")
    await client.send(4, b'{"Width":91,"Height":21}')
    await client.until(b"21 91\r\n")
    while (await client.socket.receive()).type is aiohttp.WSMsgType.BINARY:
        pass


HOSTILE = st.lists(
    st.binary(max_size=60)
    | st.sampled_from(
        [
            b"\x82\x85mask",  # cut short
            b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff",  # 2^63 bytes to come
            b"\x82\x03abc",  # not masked
            b"\xc2\x80mask",  # a reserved bit
            b"\x83\x80mask",  # a reserved opcode
            b"\x80\x80mask",  # goes on with nothing
            b"\x02\x81mask\x00" * 3,  # begins anew in the middle
            b"\x89\xfe\x00\x80mask" + bytes(128),  # a ping that is too long
            b"\x88\x81mask\x00",  # a close with half a code
            b"\x81\x82mask\xff\xff",  # text that is none
            b"\x82\x81\0\0\0\0\x00",
        ]
    ),
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(PROTOCOLS[:2] + PROTOCOLS[-2:]), HOSTILE)
def test_no_bytes_behind_the_handshake_do_more_than_end_it(protocol: str, script: list[bytes]) -> None:
    async def run(directory: Path) -> None:
        async with opened(directory) as world:
            world.server._endings._grace = 0.05
            reader, writer = await asyncio.open_unix_connection(world.path)
            path = "/exec/default/p/c1?command=cat&input=1&output=1"
            head = f"GET {path} HTTP/1.1\r\nHost: n\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            writer.write(f"{head}{key}Sec-WebSocket-Protocol: {protocol}\r\n\r\n".encode() + b"".join(script))
            assert (await reader.readline()).split()[1] == b"101"
            writer.write_eof()
            while await reader.read(1 << 16):
                pass
            writer.close()

    with pytest.MonkeyPatch.context() as patched, tempfile.TemporaryDirectory() as directory:
        patched.setattr(websocket, "_CLOSE_TIMEOUT", 0.2)
        asyncio.run(run(Path(directory)))
