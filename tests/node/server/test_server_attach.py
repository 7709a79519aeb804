"""attach through the node's server: a stand-in for the runtime's end, a real WebSocket client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from serving import World

from podstead.node.runtime.base import NotFound, RuntimeFailure


class Attached:
    """A container's main process as a test wants it."""

    def __init__(self) -> None:
        self.packets: asyncio.Queue[tuple[int, bytes] | Exception | None] = asyncio.Queue()
        self.calls: asyncio.Queue[Any] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        while (packet := await self.packets.get()) is not None:
            if isinstance(packet, Exception):
                raise packet
            yield packet

    async def write(self, data: bytes) -> None:
        await self.calls.put(data)

    async def close_stdin(self) -> None:
        await self.calls.put("end")

    async def resize(self, width: int, height: int) -> None:
        await self.calls.put((width, height))

    async def close(self) -> None:
        self.closed.set()


@pytest.fixture
async def attached() -> Attached:
    return Attached()


@pytest.fixture
async def world(tmp_path: Path, attached: Attached) -> AsyncIterator[World]:
    world = World()
    await world.http.close()
    await world.open(tmp_path)

    async def attach(container_id: str) -> Attached:
        if world.lookup.missing:
            raise NotFound("gone")
        return attached

    world.runtime.attach = attach  # type: ignore[attr-defined]
    try:
        async with asyncio.timeout(30):
            yield world
    finally:
        await world.close()


async def test_both_ways_until_the_container_ends(world: World, attached: Attached) -> None:
    client = await world.exec([], "input output error", verb="attach")
    await client.send(0, b"typed")
    await client.send(4, b'{"Width":80,"Height":24}')
    await client.socket.send_bytes(b"\xff\x00")
    assert [await attached.calls.get() for _ in range(3)] == [b"typed", (80, 24), "end"]
    for packet in ((1, b"out"), (2, b"err"), None):
        attached.packets.put_nowait(packet)
    assert (await client.end())["status"] == "Success"
    assert (client.outputs[1], client.outputs[2]) == (b"out", b"err")
    assert attached.closed.is_set()


async def test_input_is_dropped_unless_asked_for(world: World, attached: Attached) -> None:
    client = await world.exec([], "output", verb="attach")
    await client.send(0, b"typed")
    await client.send(4, b'{"Width":80,"Height":24}')
    assert await attached.calls.get() == (80, 24)
    attached.packets.put_nowait((2, b"not asked for"))
    attached.packets.put_nowait(None)
    await client.end()
    assert client.outputs[2] == b""


async def test_a_client_that_goes_leaves_the_container_alone(world: World, attached: Attached) -> None:
    client = await world.exec([], "output", verb="attach")
    world.vanish(client)
    await attached.closed.wait()
    assert attached.calls.empty()


async def test_a_client_that_was_too_slow_is_told(world: World, attached: Attached) -> None:
    client = await world.exec([], "output", verb="attach")
    attached.packets.put_nowait(RuntimeFailure("the attached client does not read fast enough"))
    assert "does not read fast enough" in (await client.end())["message"]


async def test_a_container_that_has_just_gone_is_not_found(world: World) -> None:
    world.lookup.missing = True
    client = await world.exec([], "output", verb="attach")
    assert 'container not found ("c1")' in (await client.end())["message"]
