"""exec through the node's server: real processes of the host, a real WebSocket client, a socketpair between them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from serving import DEADLINE, Client, HostRuntime, Lookup, World, descriptors

from podstead.node import pipes
from podstead.node.dialer import LocalDialer
from podstead.node.runtime.base import ContainerState
from podstead.node.server import NodeServer
from podstead.streams.dialer import NodeUnreachable


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


async def test_output_and_errors_come_on_their_channels(world: World) -> None:
    client = await world.exec(["sh", "-c", "echo out; echo err >&2"])
    assert (await client.end())["status"] == "Success"
    assert client.outputs[1] == b"out\n"
    assert client.outputs[2] == b"err\n"


@pytest.mark.parametrize(("script", "code"), [("exit 3", "3"), ("kill -9 $$", "137"), ("exit 127", "127")])
async def test_the_exit_code_is_told(world: World, script: str, code: str) -> None:
    status = await (await world.exec(["sh", "-c", script])).end()
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": code}]


async def test_a_command_that_does_not_exist_is_named(world: World) -> None:
    status = await (await world.exec(["nosuch"])).end()
    assert status["reason"] == "InternalError"
    assert 'exec: "nosuch": executable file not found in $PATH' in status["message"]


async def test_half_close_ends_the_input_and_the_output_still_comes(world: World) -> None:
    client = await world.exec(["sh", "-c", "cat; echo done"], "input output")
    await client.send(0, b"text\n")
    await client.until(b"text\n")
    await client.socket.send_bytes(bytes([255, 0]))
    assert (await client.end())["status"] == "Success"
    assert client.outputs[1] == b"text\ndone\n"


async def test_a_terminal_has_its_size_from_the_start_and_follows_the_client(world: World) -> None:
    world.runtime.hold = asyncio.Event()
    script = "stty size; trap 'stty size' WINCH; echo go; while :; do sleep 0.02; done"
    client = await world.exec(["sh", "-c", script], "input output tty", autoping=False)
    await client.send(4, b'{"Width":101,"Height":33}')
    await client.socket.ping()
    while (await client.socket.receive()).type is not aiohttp.WSMsgType.PONG:
        pass  # The answer to a ping says that what was sent before it has been read.
    world.runtime.hold.set()
    await client.until(b"33 101\r\ngo\r\n")
    await client.send(4, b'{"Width":90,"Height":20}')
    await client.until(b"20 90\r\n")
    await client.send(0, b"\x03")
    status = await client.end()
    assert status["details"]["causes"][0]["message"] == "130"


async def test_the_end_of_input_is_typed_into_a_terminal(world: World) -> None:
    client = await world.exec(["sh", "-c", "echo up; cat"], "input output tty")
    await client.until(b"up")
    await client.send(0, b"unfinished")
    await client.until(b"unfinished")
    await client.socket.send_bytes(bytes([255, 0]))
    assert (await client.end())["status"] == "Success"


async def test_a_hundred_megabytes_pass_unharmed_in_bounded_memory(world: World) -> None:
    client = await world.exec(["sha256sum"], "input output")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    digest, block = hashlib.sha256(), os.urandom(32 << 10)
    cat = await world.exec(["cat"], "input output")

    async def feed() -> None:
        for _ in range(3200):
            digest.update(block)
            await cat.send(0, block)
            await client.send(0, block)
        await cat.socket.send_bytes(bytes([255, 0]))
        await client.socket.send_bytes(bytes([255, 0]))

    async def drain() -> tuple[int, str]:
        count, got = 0, hashlib.sha256()
        while (message := await cat.socket.receive()).type is aiohttp.WSMsgType.BINARY:
            if message.data[0] == 1:
                got.update(message.data[1:])
                count += len(message.data) - 1
        return count, got.hexdigest()

    async with asyncio.TaskGroup() as group:
        group.create_task(feed())
        drained = group.create_task(drain())
    assert drained.result() == (3200 * len(block), digest.hexdigest())
    await client.end()
    assert client.outputs[1].startswith(digest.hexdigest().encode())
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 24 << 10, f"grew by {grown} KiB"


async def test_a_client_that_does_not_read_holds_up_the_command_not_the_memory(world: World) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    client = await world.exec(["sh", "-c", "head -c 50000000 /dev/zero; echo finished >&2"])
    other = await world.exec(["echo", "other"])
    assert (await other.end())["status"] == "Success"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await world.runtime.started[0].child.wait()
    assert (await client.end())["status"] == "Success"
    assert len(client.outputs[1]) == 50_000_000
    del client
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 140 << 10  # the client's own copy is 50 MB


@pytest.mark.parametrize("streams", ["output", "input output", "input output tty"])
async def test_a_client_that_vanishes_takes_its_command_with_it(world: World, streams: str) -> None:
    client = await world.exec(["sh", "-c", "trap '' HUP; echo up; while :; do sleep 1000; done"], streams)
    await client.until(b"up")
    world.server._endings._grace = 0.05
    world.vanish(client)
    async with asyncio.timeout(DEADLINE):
        await world.ended()
    assert world.runtime.started[0].killed


async def test_a_reader_of_input_ends_by_itself_when_the_client_vanishes(world: World) -> None:
    client = await world.exec(["sh", "-c", "echo up; cat; echo saw the end"], "input output")
    await client.until(b"up")
    world.vanish(client)
    async with asyncio.timeout(DEADLINE):
        await world.ended()
    assert not world.runtime.started[0].killed


async def test_a_client_that_vanishes_before_the_start_leaves_nothing(world: World) -> None:
    world.runtime.hold = asyncio.Event()
    client = await world.exec(["sleep", "1000"])
    await world.runtime.starting.wait()
    world.vanish(client)
    world.server._endings._grace = 0.05
    world.runtime.hold.set()
    async with asyncio.timeout(DEADLINE):
        await world.runtime.running.wait()
        await world.ended()


async def test_a_vanished_client_is_noticed_while_its_input_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes, "STALL", 0.05)
    world.server._endings._grace = 0.05
    client = await world.exec(["sleep", "1000"], "input output", autoping=False)
    sending = asyncio.create_task(_flood(client))
    while (message := await client.socket.receive()).type is not aiohttp.WSMsgType.PONG:
        assert message.type is aiohttp.WSMsgType.BINARY
    world.vanish(client)
    sending.cancel()
    async with asyncio.timeout(DEADLINE):
        await world.ended()


async def _flood(client: Client) -> None:
    while True:
        await client.send(0, bytes(32 << 10))


async def test_pings_are_answered(world: World) -> None:
    client = await world.exec(["cat"], "input output", autoping=False)
    await client.socket.ping(b"you there?")
    while (message := await client.socket.receive()).type is aiohttp.WSMsgType.BINARY:
        pass
    assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"you there?")
    await client.socket.close()


async def test_input_that_nobody_reads_does_not_end_the_command(world: World) -> None:
    client = await world.exec(["sh", "-c", "exec <&-; echo closed; read x <&0; sleep 0.1; echo end"], "input output")
    await client.until(b"closed")
    for _ in range(20):
        await client.send(0, bytes(32 << 10))
    assert (await client.end())["status"] == "Success"
    assert client.outputs[1].endswith(b"end\n")


async def test_a_child_left_behind_does_not_hold_the_session(world: World) -> None:
    client = await world.exec(["sh", "-c", "echo before; sleep 1000 & echo $! >&2"])
    assert (await client.end())["status"] == "Success"
    assert client.outputs[1] == b"before\n"
    os.kill(int(client.outputs[2]), signal.SIGKILL)


async def test_the_servers_end_is_the_commands_end(world: World) -> None:
    client = await world.exec(["sh", "-c", "trap '' HUP; echo up; sleep 1000"])
    await client.until(b"up")
    await world.server.close()
    assert world.runtime.started[0].child.returncode is not None


async def test_a_container_that_does_not_run_is_told_in_the_session(world: World) -> None:
    world.lookup.state = ContainerState.EXITED
    status = await (await world.exec(["true"])).end()
    assert (status["code"], status["reason"]) == (500, "InternalError")
    assert status["message"] == 'Internal error occurred: unable to upgrade connection: container not found ("c1")'
    status = await (await world.exec(["true"], container="c9")).end()
    assert 'container not found ("c9")' in status["message"]


async def test_older_clients_get_the_failure_before_the_upgrade(world: World) -> None:
    world.lookup.state = ContainerState.EXITED
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await world.exec(["true"], protocols=["v4.channel.k8s.io"])
    assert refused.value.status == 500
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await world.exec(["true"], pod="q", protocols=["v4.channel.k8s.io"])
    assert refused.value.status == 404


@pytest.mark.parametrize(
    ("path", "headers", "code", "message"),
    [
        ("exec/default/p/c1?output=1", {}, 400, "you must specify a command"),
        ("exec/default/p/c1?command=true", {}, 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("exec/default/p/c1?command=true&output=1", {}, 400, "Upgrade request required"),
        ("exec/default/p/c1?command=true&output=1", {"Connection": "Upgrade", "Upgrade": "h2c"}, 400, "WebSocket"),
        ("nosuch", {}, 404, "could not find"),
    ],
)
async def test_bad_requests_get_a_status(
    world: World, path: str, headers: dict[str, str], code: int, message: str
) -> None:
    async with world.http.post(f"http://node/{path}", headers=headers) as answer:
        status = await answer.json()
        assert (answer.status, status["kind"], status["code"]) == (code, "Status", code)
        assert message in status["message"]


async def test_unknown_subprotocols_are_refused(world: World) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await world.exec(["true"], protocols=["nonsense.k8s.io"])
    assert refused.value.status == 403


async def test_an_unknown_node_is_named() -> None:
    with pytest.raises(NodeUnreachable, match="elsewhere"):
        await LocalDialer({}).dial("elsewhere")


async def test_a_closed_server_is_unreachable() -> None:
    server = NodeServer(Lookup(), HostRuntime())  # type: ignore[arg-type]
    with pytest.raises(NodeUnreachable):
        await LocalDialer({"node": server}).dial("node")
