"""exec over SPDY through the node's server: real processes of the host, streams as kubectl before 1.30 opens them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import struct
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from serving import DEADLINE, World, descriptors

from podstead.node import pipes
from podstead.streams import carrier
from podstead.streams.spdy import frames, session, upgrade
from podstead.streams.spdy.frames import CONTROL_LIMIT, Kind
from podstead.streams.spdy.headers import DICTIONARY
from support.spdy import SpdyClient, data

V4 = "v4.channel.k8s.io"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    before = descriptors()
    world = World()
    await world.http.close()
    await world.open(tmp_path)
    try:
        async with asyncio.timeout(60):
            yield world
    finally:
        await world.close()
    await world.ended()
    assert descriptors() <= before + 3, "descriptors leak"


def path(argv: list[str], streams: str, container: str = "c1", pod: str = "p") -> str:
    query = [("command", word) for word in argv] + [(name, "1") for name in streams.split()]
    return f"/exec/default/{pod}/{container}?{urlencode(query)}"


@dataclass
class Run:
    """An exec whose streams are open."""

    client: SpdyClient
    numbers: dict[str, int]

    def got(self, name: str) -> bytes:
        return bytes(self.client.streams[self.numbers[name]].data)

    async def send(self, name: str, payload: bytes, *, fin: bool = False) -> None:
        await self.client.send(data(self.numbers[name], payload, fin=fin))

    async def until(self, text: bytes, name: str = "stdout") -> None:
        await self.client.until(lambda: text in self.got(name))

    async def end(self) -> dict[str, Any]:
        """Read to the end and return the Status."""
        await self.client.end()
        outputs = [number for name, number in self.numbers.items() if name in ("stdout", "stderr", "error")]
        assert all(self.client.streams[number].ended for number in outputs)
        return msgspec.json.decode(self.got("error"))  # type: ignore[no-any-return]


async def start(
    world: World, argv: list[str], streams: str = "output error", *, protocol: str = V4, windows: bool = False
) -> Run:
    client = await world.spdy(path(argv, streams), protocol, windows=windows)
    assert client.status == 101, client.answer
    names = {"input": "stdin", "output": "stdout", "error": "stderr", "tty": "resize"}
    wanted = ["error", *(names[word] for word in streams.split() if not ("tty" in streams and word == "error"))]
    if protocol in ("v2.channel.k8s.io", "channel.k8s.io"):
        wanted = [name for name in wanted if name != "resize"]
    run = Run(client, {name: await client.open(streamType=name) for name in wanted})
    await client.until(lambda: all(got.replied for got in client.streams.values()))
    return run


async def test_output_errors_and_status_come_on_their_streams(world: World) -> None:
    run = await start(world, ["sh", "-c", "echo out; echo err >&2; exit 3"])
    status = await run.end()
    assert (run.got("stdout"), run.got("stderr")) == (b"out\n", b"err\n")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


@pytest.mark.parametrize("protocol", ["v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"])
async def test_older_protocols_tell_failures_in_words(world: World, protocol: str) -> None:
    run = await start(world, ["false"], protocol=protocol)
    await run.client.end()
    assert run.got("error") == b"command terminated with non-zero exit code: 1"
    well = await start(world, ["true"], protocol=protocol)
    await well.client.end()
    assert well.got("error") == b""


async def test_the_end_of_stdin_is_the_streams_end(world: World) -> None:
    run = await start(world, ["sh", "-c", "cat; echo done"], "input output")
    await run.send("stdin", b"text\n")
    await run.until(b"text\n")
    await run.send("stdin", b"", fin=True)
    assert (await run.end())["status"] == "Success"
    assert run.got("stdout") == b"text\ndone\n"


@pytest.mark.parametrize("protocol", [V4, "v3.channel.k8s.io"])
async def test_a_terminal_follows_the_resize_stream(world: World, protocol: str) -> None:
    script = "trap 'stty size' WINCH; echo go; while :; do sleep 0.02; done"
    run = await start(world, ["sh", "-c", script], "input output tty", protocol=protocol)
    await run.until(b"go")
    sizes = b'{"Width":90,"Height":20}\n{"Width":9'
    await run.send("resize", sizes)
    await run.until(b"20 90\r\n")
    await run.send("resize", b'1,"Height":21}\n')
    await run.until(b"21 91\r\n")
    await run.send("stdin", b"\x03")
    await run.client.end()


async def test_a_version_without_resize_has_its_terminal_too(world: World) -> None:
    run = await start(world, ["tty"], "input output tty", protocol="v2.channel.k8s.io")
    await run.client.end()
    assert run.got("stdout").startswith(b"/dev/")


async def test_what_is_refused_is_a_status_before_the_upgrade(world: World) -> None:
    client = await world.spdy(path(["true"], "output", container="c2"), V4)
    assert client.status == 500
    assert b'container not found (\\"c2\\")' in await client.reader.read(2000)
    client.writer.close()


async def test_no_protocol_in_common_says_what_there_is(world: World) -> None:
    client = SpdyClient(*await asyncio.open_unix_connection(world.path))
    headers = await client.upgrade(path(["true"], "output"), "v9.channel.k8s.io")
    assert client.status == 403
    accepted = headers["x-accepted-stream-protocol-versions"]
    assert accepted == "v4.channel.k8s.io, v3.channel.k8s.io, v2.channel.k8s.io, channel.k8s.io"
    client.writer.close()


async def test_no_protocol_at_all_is_a_bad_request(world: World) -> None:
    client = await world.spdy(path(["true"], "output"))
    assert client.status == 400
    assert b"X-Stream-Protocol-Version is required" in await client.reader.read(2000)
    client.writer.close()


async def test_the_clients_first_choice_is_taken_also_with_get(world: World) -> None:
    client = SpdyClient(*await asyncio.open_unix_connection(world.path))
    headers = await client.upgrade(path(["true"], "output"), "v2.channel.k8s.io, v4.channel.k8s.io", method="GET")
    assert (client.status, headers["x-stream-protocol-version"]) == (101, "v2.channel.k8s.io")
    client.writer.close()


@pytest.mark.parametrize(("windows", "blocks"), [(False, 2048), (True, 512)], ids=["as kubectl", "with flow control"])
async def test_sixty_four_megabytes_pass_unharmed_in_bounded_memory(world: World, windows: bool, blocks: int) -> None:
    run = await start(world, ["cat"], "input output", windows=windows)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sent, got, block = hashlib.sha256(), hashlib.sha256(), os.urandom(32 << 10)
    stdout = run.client.streams[run.numbers["stdout"]]

    async def feed() -> None:
        for _ in range(blocks):
            sent.update(block)
            if windows:
                await run.client.send_within_windows(run.numbers["stdin"], block)
            else:
                await run.send("stdin", block)
        await run.send("stdin", b"", fin=True)

    feeding = asyncio.create_task(feed())
    while not stdout.ended:
        assert await run.client.read()
        got.update(stdout.data)
        stdout.data.clear()
    await feeding
    assert got.digest() == sent.digest()
    await run.client.end()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 32 << 10, f"grew by {grown} KiB"


async def test_a_client_that_does_not_read_holds_up_the_command_not_the_memory(world: World) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run = await start(world, ["sh", "-c", "head -c 50000000 /dev/zero; echo finished >&2"])
    other = await start(world, ["echo", "other"])
    assert (await other.end())["status"] == "Success"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await world.runtime.started[0].child.wait()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 24 << 10
    assert (await run.end())["status"] == "Success"
    assert len(run.got("stdout")) == 50_000_000


async def test_what_the_client_still_sends_does_not_cut_off_what_it_reads(world: World) -> None:
    """`yes | kubectl exec -i ... head -1`."""
    run = await start(world, ["sh", "-c", "head -c 3; exec sh -c 'exec <&-; seq 200000'"], "input output")
    flooding = asyncio.create_task(_flood(run))
    status = await run.end()
    flooding.cancel()
    await asyncio.wait((flooding,))
    assert status["status"] == "Success"
    assert run.got("stdout").endswith(b"200000\n")


async def _flood(run: Run) -> None:
    try:
        while True:
            await run.send("stdin", b"y\n" * 8192)
    except ConnectionError:
        pass


@pytest.mark.parametrize("streams", ["output", "input output", "input output tty"])
async def test_a_client_that_vanishes_takes_its_command_with_it(world: World, streams: str) -> None:
    run = await start(world, ["sh", "-c", "trap '' HUP; echo up; while :; do sleep 1000; done"], streams)
    await run.until(b"up")
    world.server._endings._grace = 0.05
    run.client.writer.transport.abort()
    async with asyncio.timeout(DEADLINE):
        await world.ended()
    assert world.runtime.started[0].killed


async def test_a_vanished_client_is_noticed_while_its_input_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes, "STALL", 0.05)
    run = await start(world, ["sh", "-c", "echo up; exec sleep 1000"], "input output")
    await run.until(b"up")
    flooding = asyncio.create_task(_flood(run))
    await asyncio.wait((flooding,), timeout=0.4)
    world.server._endings._grace = 0.05
    flooding.cancel()
    run.client.writer.transport.abort()
    async with asyncio.timeout(DEADLINE):
        await world.ended()


async def test_a_client_that_resets_an_output_has_given_up(world: World) -> None:
    run = await start(world, ["sh", "-c", "while :; do echo on and on; done"], "output")
    await run.until(b"on and on")
    world.server._endings._grace = 0.05
    await run.client.send(frames.rst_stream(run.numbers["stdout"], frames.Reset.CANCEL))
    async with asyncio.timeout(DEADLINE):
        await world.ended()
    run.client.writer.transport.abort()


async def test_upgrades_without_streams_time_out_and_free_their_descriptors(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "STREAM_TIMEOUT", 0.5)
    before = descriptors()
    clients = [await world.spdy(path(["true"], "output"), V4)]
    await clients[0].open(streamType="error")  # one of two is not enough
    clients += [await world.spdy(path(["true"], "output"), V4) for _ in range(99)]
    for client in clients:
        while await client.read():
            pass
        client.writer.close()
    assert world.runtime.started == []
    async with asyncio.timeout(DEADLINE):
        while world.server._handlers or descriptors() > before:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "names", [["error", "stdout", "stdin"], ["error", "error"], ["error", "nonsense"], ["error", ""]]
)
async def test_streams_that_were_not_asked_for_are_refused(world: World, names: list[str]) -> None:
    client = await world.spdy(path(["cat"], "output"), V4)
    numbers = [await client.open(streamType=name) for name in names]
    await client.until(lambda: client.streams[numbers[-1]].reset == frames.Reset.REFUSED_STREAM)
    client.writer.transport.abort()


def bomb() -> bytes:
    compressor = zlib.compressobj(9, zdict=DICTIONARY)
    block = compressor.compress(bytes(64 << 20)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return frames.control(Kind.SYN_STREAM, struct.pack(">IIBB", 1, 0, 0, 0) + block[: CONTROL_LIMIT - 10])


@pytest.mark.parametrize(
    "wire",
    [b"", b"\x80", b"GET / HTTP/1.1\r\n\r\n" * 10, b"\xff" * 100, bomb(), bytes(1000), data(1, b"x" * 100_000)],
    ids=["nothing", "cut", "http", "ones", "bomb", "zeros", "data for no stream"],
)
@pytest.mark.parametrize("early", [True, False], ids=["before the streams", "during the command"])
async def test_hostile_bytes_end_the_session_and_leave_nothing(
    world: World, wire: bytes, early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "CLOSING", 1.0)
    monkeypatch.setattr(session, "CLOSING", 1.0)
    world.server._endings._grace = 0.05
    if early:
        client = await world.spdy(path(["cat"], "input output"), V4)
    else:
        client = (await start(world, ["cat"], "input output")).client
    client.writer.write(wire)
    client.writer.write_eof()
    while await client.reader.read(1 << 16):
        pass
    client.writer.close()
    async with asyncio.timeout(DEADLINE):
        await world.ended()
