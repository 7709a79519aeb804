"""exec through the API server: what reaches the node, and that bytes pass both ways unharmed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import parse_qs

import pytest
from apiserver_harness import POD, Instance, an_admin, eventually

from podstead import pki

EXEC = "/api/v1/namespaces/default/pods/box/exec"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\nX-From: node\r\n\r\n"


def upgrade(path: str, method: str = "GET", protocol: str = "websocket", extra: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n{extra}\r\n"
    return head.encode()


@contextlib.asynccontextmanager
async def raw(instance: Instance) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection of the administrator on which anything can be said."""
    context = instance.context(instance.pki.client(pki.ADMIN_USER, pki.ADMIN_GROUPS))
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", instance.server.port, ssl=context)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


class Node:
    """A handler that keeps the request's head, answers `answer`, and then echoes until the end."""

    def __init__(self, answer: bytes = SWITCHING) -> None:
        self.answer = answer
        self.head = b""
        self.ended = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.ended.set()

    @property
    def target(self) -> str:
        return self.head.split(b" ")[1].decode()

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode().split("\r\n")[1:-2]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@pytest.fixture
async def node(instance: Instance) -> Node:
    await instance.create_pod()
    made = instance.node.handler = Node()
    return made


@pytest.mark.parametrize(("method", "protocol"), [("GET", "websocket"), ("POST", "SPDY/3.1")])
async def test_the_node_answers_the_handshake(instance: Instance, node: Node, method: str, protocol: str) -> None:
    query = "command=sh&command=-c&command=echo+%26+%25&container=c2&stdin=true&stdout=1&stderr=false&tty=true"
    secret = "Authorization: Bearer secret\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
    async with raw(instance) as (reader, writer):
        writer.write(upgrade(f"{EXEC}?{query}", method, protocol, secret))
        assert await reader.readuntil(b"\r\n\r\n") == SWITCHING
    path, _, asked = node.target.partition("?")
    assert node.head.startswith(method.encode())
    assert path == "/exec/default/box/c2"
    assert parse_qs(asked) == {"command": ["sh", "-c", "echo & %"], "input": ["1"], "output": ["1"], "tty": ["1"]}
    assert node.headers["upgrade"] == protocol and node.headers["connection"] == "Upgrade"
    assert node.headers["x-stream-protocol-version"] == "v4.channel.k8s.io"
    assert "authorization" not in node.headers


async def test_bytes_pass_both_ways(instance: Instance, node: Node) -> None:
    async with raw(instance) as (reader, writer):
        writer.write(upgrade(f"{EXEC}?container=c1&command=x") + b"early bird")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(10) == b"early bird"
        blob = bytes(range(256)) * 40_000  # more than all buffers on the way hold together
        sending = asyncio.create_task(_send(writer, blob))
        assert await reader.readexactly(len(blob)) == blob
        await sending


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def test_a_client_that_does_not_read_holds_up_only_its_own_node(instance: Instance, node: Node) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING)
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(1):
                while True:
                    writer.write(b"x" * 65536)
                    await writer.drain()
                    sent += 65536
        writer.transport.abort()

    instance.node.handler = flood
    async with raw(instance) as (reader, writer):
        writer.write(upgrade(f"{EXEC}?container=c1&command=yes"))
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        await instance.node.finished()
        assert sent < 32 << 20  # sockets' and streams' buffers, not memory without end
        assert (await instance.ask("GET", "/readyz")).status == 200


async def test_a_client_that_vanishes_ends_the_nodes_side(instance: Instance, node: Node) -> None:
    async with raw(instance) as (reader, writer):
        writer.write(upgrade(f"{EXEC}?container=c1&command=x"))
        await reader.readuntil(b"\r\n\r\n")
    async with asyncio.timeout(5):
        await node.ended.wait()
    await released(instance)


async def test_a_node_that_ends_ends_the_client(instance: Instance, node: Node) -> None:
    async def say_and_go(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING + b"last words")

    instance.node.handler = say_and_go
    async with raw(instance) as (reader, writer):
        writer.write(upgrade(f"{EXEC}?container=c1&command=x"))
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.read() == b"last words"
    await released(instance)


async def released(instance: Instance) -> None:
    """Wait until the server holds no connection and no stream."""
    http = instance.server._http
    assert http is not None
    await eventually(lambda: not http.connections and not instance.server._proxied)


async def test_a_server_that_stops_ends_streams(instance: Instance, node: Node) -> None:
    async with raw(instance) as (reader, writer):
        writer.write(upgrade(f"{EXEC}?container=c1&command=x"))
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(5):
            await instance.server.close()
        assert await reader.read() == b""
    await node.ended.wait()


async def test_what_the_node_refuses_is_passed_on(instance: Instance, node: Node) -> None:
    body = b'{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no such","reason":"NotFound","code":404}'
    node.answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    answer = await instance.ask(
        "POST", f"{EXEC}?container=c1", headers={"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
    )
    assert (answer.status, answer.json["message"]) == (404, "no such")
    node.answer = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 4\r\n\r\nno\r\n"
    answer = await instance.ask(
        "POST", f"{EXEC}?container=c1", headers={"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
    )
    assert (answer.status, answer.json["message"]) == (403, "no")


@pytest.mark.parametrize("garbage", [b"", b"what?\r\n\r\n", b"x" * 100_000])
async def test_a_node_that_does_not_speak_http_is_a_status(instance: Instance, node: Node, garbage: bytes) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(garbage)

    instance.node.handler = babble
    answer = await instance.ask(
        "POST", f"{EXEC}?container=c1", headers={"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
    )
    assert (answer.status, answer.json["reason"]) == (500, "InternalError")


async def test_protocols_that_the_node_would_accept_are_passed_on(instance: Instance, node: Node) -> None:
    body = b'{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"Forbidden","code":403}'
    head = b"HTTP/1.1 403 Forbidden\r\nX-Accepted-Stream-Protocol-Versions: v4.channel.k8s.io\r\n"
    node.answer = head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    answer = await instance.ask(
        "POST", f"{EXEC}?container=c1", headers={"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
    )
    assert (answer.status, answer.json["message"]) == (403, "no")
    assert answer.headers["X-Accepted-Stream-Protocol-Versions"] == "v4.channel.k8s.io"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("attach?container=c1&stdin=1&tty=1&command=x", "/attach/default/box/c1?input=1&tty=1"),
        ("portforward", "/portForward/default/box?"),
        ("portforward?ports=80&ports=81,82", "/portForward/default/box?port=80&port=81&port=82"),
    ],
)
async def test_attach_and_portforward_reach_the_kubelets_paths(
    instance: Instance, node: Node, path: str, target: str
) -> None:
    async with raw(instance) as (reader, writer):
        writer.write(upgrade(f"/api/v1/namespaces/default/pods/box/{path}"))
        assert await reader.readuntil(b"\r\n\r\n") == SWITCHING
    assert node.target == target


async def test_get_is_authorized_as_create(instance: Instance, node: Node) -> None:
    """A WebSocket starts with GET, and may do what a POST may, no more."""
    async with instance.session("jane", ("staff",)) as jane:
        for name in ("exec", "attach", "portforward"):
            async with jane.get(f"/api/v1/namespaces/default/pods/box/{name}") as response:
                assert response.status == 403
                assert f'cannot create resource "pods/{name}"' in (await response.json())["message"]


async def test_a_node_that_cannot_be_reached_is_a_status(instance: Instance) -> None:
    await instance.create_pod()
    answer = await instance.ask(
        "POST", f"{EXEC}?container=c1", headers={"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
    )
    assert answer.status == 500
    assert answer.json["message"].endswith("error dialing backend: node fake does not answer")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "a container name must be specified for pod box, choose one of: [c1 c2]"),
        ("?container=zz", "container zz is not valid for pod box"),
        ("?container=c1", "Upgrade request required"),
    ],
)
async def test_a_bad_exec_says_what_is_wrong(instance: Instance, node: Node, query: str, message: str) -> None:
    answer = await instance.ask("POST", EXEC + query)
    assert (answer.status, answer.json["message"]) == (400, message)


async def test_the_annotated_container_is_the_default(instance: Instance) -> None:
    annotations = {"kubectl.kubernetes.io/default-container": "c2"}
    await instance.create_pod(metadata={"name": "box", "annotations": annotations})
    instance.node.handler = node = Node()
    async with raw(instance) as (reader, writer):
        writer.write(upgrade(f"{EXEC}?command=x"))
        await reader.readuntil(b"\r\n\r\n")
    assert node.target.startswith("/exec/default/box/c2?")


async def test_the_only_container_is_the_default(instance: Instance) -> None:
    spec = {"containers": POD["spec"]["containers"][:1], "nodeName": "fake"}
    client = instance.registry.client(an_admin())
    await client.create("pods", {**POD, "spec": spec}, "default")
    instance.node.handler = node = Node()
    async with raw(instance) as (reader, writer):
        writer.write(upgrade(f"{EXEC}?command=x"))
        await reader.readuntil(b"\r\n\r\n")
    assert node.target.startswith("/exec/default/box/c1?")


async def test_a_pod_without_a_node_is_told_so(instance: Instance) -> None:
    await instance.create_pod(bound=False)
    answer = await instance.ask(
        "POST", f"{EXEC}?container=c1", headers={"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
    )
    assert (answer.status, answer.json["message"]) == (400, "pod box does not have a host assigned")


async def test_exec_of_no_pod_is_404(instance: Instance) -> None:
    answer = await instance.ask("GET", f"{EXEC}?command=x")
    assert (answer.status, answer.json["message"]) == (404, 'pods "box" not found')
