"""A node's server with the host's processes for containers, and clients that reach it as the API server does."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import termios
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from podstead.linux import process
from podstead.node.dialer import LocalDialer
from podstead.node.runtime.base import (
    ContainerState,
    ContainerStatus,
    CreateFailed,
    ExecConfig,
    RuntimeFailure,
    SandboxStatus,
)
from podstead.node.server import NodeServer
from podstead.objects.errors import bad_request, not_found
from support.spdy import SpdyClient

DEADLINE = 20.0


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def cook(terminal: int) -> None:
    """Make a raw terminal one that edits lines, as a container's own pty does behind it."""
    master, slave = os.openpty()
    termios.tcsetattr(terminal, termios.TCSANOW, termios.tcgetattr(slave))
    os.close(master)
    os.close(slave)


class HostProcess:
    """An ExecProcess that is a process of the host in a session of its own."""

    def __init__(self, child: process.Process) -> None:
        self.child = child
        self.killed = False

    async def wait(self) -> int:
        code = await self.child.wait()
        return code if code >= 0 else 128 - code

    def resized(self) -> None:
        pass

    def kill(self) -> None:
        self.killed = True
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class HostRuntime:
    """Runs exec's commands on the host; what else a runtime does is not asked of it."""

    def __init__(self) -> None:
        self.started: list[HostProcess] = []
        self.starting, self.running = asyncio.Event(), asyncio.Event()
        self.hold: asyncio.Event | None = None

    async def exec(self, container_id: str, config: ExecConfig) -> HostProcess:
        self.starting.set()
        if self.hold is not None:
            await self.hold.wait()
        if config.tty:
            cook(config.stdin)
        stdin, stdout, stderr = (
            (config.stdin,) * 3
            if config.tty
            else tuple(fd if fd >= 0 else subprocess.DEVNULL for fd in (config.stdin, config.stdout, config.stderr))
        )
        argv = ["setsid", "-c", "-w", *config.argv] if config.tty else list(config.argv)
        try:
            child = process.spawn(
                argv, stdin=stdin, stdout=stdout, stderr=stderr, env=dict(os.environ), new_session=not config.tty
            )
        except FileNotFoundError as error:
            text = f'OCI runtime exec failed: exec: "{config.argv[0]}": executable file not found in $PATH'
            raise CreateFailed(text, exit_code=127) from error
        self.started.append(HostProcess(child))
        self.running.set()
        return self.started[-1]

    async def port_forward(self, sandbox_id: str, port: int) -> socket.socket:
        made = socket.socket()
        made.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
        except BaseException as error:
            made.close()
            if not isinstance(error, OSError):
                raise
            raise RuntimeFailure(f"failed to connect to localhost:{port}: {os.strerror(error.errno or 0)}") from error
        return made


class Lookup:
    def __init__(self) -> None:
        self.state = ContainerState.RUNNING
        self.missing = False

    async def find_container(
        self, namespace: str, pod: str, container: str, *, previous: bool = False
    ) -> ContainerStatus:
        if pod != "p":
            raise not_found("pods", pod)
        if container != "c1":
            raise bad_request(f'container "{container}" in pod "{pod}" is waiting to start: ContainerCreating')
        return ContainerStatus("id", "s", "u", "c1", 0, self.state, "i", "i", Path("/nowhere"), datetime.now(UTC))

    async def find_sandbox(self, namespace: str, pod: str) -> SandboxStatus:
        if pod != "p":
            raise not_found("pods", pod)
        return SandboxStatus("sandbox", namespace, pod, "u-i-d", "10.0.0.1", True, datetime.now(UTC), {})

    async def wait_ended(self, container_id: str) -> None:
        return

    def pods(self) -> list[dict[str, Any]]:
        return []


class Client:
    """A WebSocket client of one exec."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.outputs: dict[int, bytearray] = {1: bytearray(), 2: bytearray(), 3: bytearray()}

    async def send(self, channel: int, data: bytes) -> None:
        await self.socket.send_bytes(bytes([channel]) + data)

    async def until(self, text: bytes, channel: int = 1) -> None:
        while text not in self.outputs[channel]:
            assert await self._one(), f"closed; had {self.outputs}"

    async def end(self) -> dict[str, Any]:
        """Read to the end and return the Status."""
        while await self._one():
            pass
        assert self.socket.close_code == 1000
        return msgspec.json.decode(self.outputs[3])  # type: ignore[no-any-return]

    async def _one(self) -> bool:
        message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            return False
        self.outputs[message.data[0]] += message.data[1:]
        return True


class World:
    """A node's server, and clients that reach it as the API server does: over LocalDialer, bytes joined."""

    def __init__(self, lookup: Lookup | None = None) -> None:
        self.runtime, self.lookup = HostRuntime(), lookup or Lookup()
        self.server = NodeServer(self.lookup, self.runtime)  # type: ignore[arg-type]
        self.dialer = LocalDialer({"node": self.server})
        self.door: asyncio.Server | None = None
        self.path = Path()
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE))

    async def open(self, directory: Path) -> None:
        await self.server.start()
        self.path = directory / "door"
        self.door = await asyncio.start_unix_server(self._join, self.path)
        self.http = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(self.path)), timeout=aiohttp.ClientTimeout(total=DEADLINE)
        )

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        node_reader, node_writer = await self.dialer.dial("node")

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(1 << 16):
                    target.write(data)
                    await target.drain()
            except ConnectionError:
                pass

        ways = {asyncio.create_task(copy(reader, node_writer)), asyncio.create_task(copy(node_reader, writer))}
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        writer.close()
        node_writer.transport.abort()  # close() would wait for what the node does not read
        for way in ways:
            way.cancel()
        await asyncio.wait(ways)

    async def exec(
        self,
        argv: Sequence[str],
        streams: str = "output error",
        *,
        protocols: Sequence[str] = ("v5.channel.k8s.io",),
        container: str = "c1",
        pod: str = "p",
        max_msg_size: int = 1 << 20,
        autoping: bool = True,
        verb: str = "exec",
    ) -> Client:
        query = [("command", word) for word in argv] + [(name, "1") for name in streams.split()]
        url = f"http://node/{verb}/default/{pod}/{container}"
        socket = await self.http.ws_connect(
            url, params=query, protocols=protocols, max_msg_size=max_msg_size, autoping=autoping
        )
        return Client(socket)

    async def spdy(self, path: str, *protocols: str, windows: bool = False, method: str = "POST") -> SpdyClient:
        """Return a client that has asked for an upgrade to SPDY; whether it got that is in its `status`."""
        client = SpdyClient(*await asyncio.open_unix_connection(self.path), windows=windows)
        await client.upgrade(path, *protocols, method=method)
        return client

    async def ended(self) -> None:
        """Wait until every command has ended and been reaped, and none is left to be ended."""
        for started in self.runtime.started:
            await started.child.wait()
        while self.server._endings._tasks:
            await asyncio.wait(set(self.server._endings._tasks))

    def vanish(self, client: Client) -> None:
        """Cut a client's connection without a word."""
        connection = client.socket._response.connection
        assert connection is not None and connection.transport is not None
        connection.transport.abort()

    async def close(self) -> None:
        await self.http.close()
        if self.door is not None:
            self.door.close()
        await self.server.close()
