"""Logs through the API server: options are checked here, the text comes from the node as it is written."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from apiserver_harness import Instance, eventually

LOG = "/api/v1/namespaces/default/pods/box/log"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(text: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(text), text)


class Node:
    """Sends HEAD, then what is put into `lines`, until an empty one; None breaks the connection."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.target = ""
        self.gone = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.target = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        writer.write(HEAD)
        watching = asyncio.create_task(self._watch(reader))
        try:
            while True:
                line = await self.lines.get()
                if line is None:
                    return
                writer.write(chunk(line))
                if not line:
                    return
        finally:
            watching.cancel()

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        await reader.read()
        self.gone.set()


@pytest.fixture
async def node(instance: Instance) -> Node:
    await instance.create_pod()
    made = instance.node.handler = Node()
    return made


async def test_lines_arrive_as_they_are_written(instance: Instance, node: Node) -> None:
    async with instance.http.get(f"{LOG}?container=c1&follow=true") as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "text/plain")
        for line in (b"one\n", b"two\n"):
            node.lines.put_nowait(line)
            assert await asyncio.wait_for(response.content.readline(), 10) == line
        node.lines.put_nowait(b"")
        assert await asyncio.wait_for(response.content.read(), 10) == b""


async def test_the_node_is_asked_in_its_own_terms(instance: Instance, node: Node) -> None:
    query = (
        "container=c2&follow=1&previous=true&timestamps=true&tailLines=5&limitBytes=9&sinceTime=2026-01-01T00:00:00Z"
    )
    node.lines.put_nowait(b"")
    await instance.ask("GET", f"{LOG}?{query}&insecureSkipTLSVerifyBackend=true")
    parts = urlsplit(node.target)
    assert parts.path == "/containerLogs/default/box/c2"
    assert parse_qs(parts.query) == {
        "follow": ["true"],
        "previous": ["true"],
        "timestamps": ["true"],
        "tailLines": ["5"],
        "limitBytes": ["9"],
        "sinceTime": ["2026-01-01T00:00:00Z"],
    }


async def test_a_client_that_goes_frees_the_node(instance: Instance, node: Node) -> None:
    async with instance.http.get(f"{LOG}?container=c1&follow=true") as response:
        assert response.status == 200
        response.close()
    await eventually(node.gone.is_set)
    await eventually(lambda: not instance.server._proxied)


async def test_a_log_that_breaks_off_is_not_taken_for_a_whole_one(instance: Instance, node: Node) -> None:
    node.lines.put_nowait(b"half\n")
    node.lines.put_nowait(None)
    with pytest.raises(aiohttp.ClientError):
        await instance.ask("GET", f"{LOG}?container=c1")


async def test_the_nodes_refusal_is_passed_on(instance: Instance, node: Node) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        text = b'container "c1" in pod "box" is waiting to start: ContainerCreating'
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))

    instance.node.handler = refuse
    answer = await instance.ask("GET", f"{LOG}?container=c1")
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
    assert answer.json["message"] == 'container "c1" in pod "box" is waiting to start: ContainerCreating'


async def test_a_pod_without_a_node_has_no_log_yet(instance: Instance) -> None:
    await instance.create_pod(bound=False)
    answer = await instance.ask("GET", f"{LOG}?container=c1")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("tailLines=-1", 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("sinceSeconds=0", 422, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        ("limitBytes=0", 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z", 422, "at most one of `sinceTime` or `sinceSeconds` may be"),
        ("stream=stdout", 422, 'stream: Unsupported value: "stdout": supported values: "All", "Stderr", "Stdout"'),
        ("stream=Stdout&tailLines=1", 422, "`tailLines` and specific `stream` are mutually exclusive for now"),
        ("tailLines=few", 400, 'strconv.ParseInt: parsing "few": invalid syntax'),
        ("sinceTime=yesterday", 400, 'parsing time "yesterday"'),
        ("container=zz", 400, "container zz is not valid for pod box"),
        ("x=y", 400, "a container name must be specified for pod box, choose one of: [c1 c2]"),
    ],
)
async def test_bad_options_are_named(instance: Instance, node: Node, query: str, code: int, words: str) -> None:
    answer = await instance.ask("GET", f"{LOG}?{query}")
    assert answer.status == code and words in answer.json["message"]


async def test_kubectl_logs(instance: Instance, node: Node) -> None:
    for line in (b"hello\n", b"world\n", b""):
        node.lines.put_nowait(line)
    assert await instance.kubectl("logs", "box", "-c", "c1", "--tail=2") == "hello\nworld\n"
    assert "tailLines=2" in node.target
    assert "not valid for pod" in await instance.kubectl("logs", "box", "-c", "zz", check=False)


# -- over WebSocket, as conformance reads them


@pytest.mark.parametrize(
    ("protocols", "message"),
    [((), b"one\n"), (("binary.k8s.io",), b"one\n"), (("base64.binary.k8s.io",), "b25lCg==")],
)
async def test_lines_arrive_as_messages(
    instance: Instance, node: Node, protocols: tuple[str, ...], message: bytes | str
) -> None:
    async with instance.http.ws_connect(f"{LOG}?container=c1&follow=true", protocols=protocols) as socket:
        assert socket.protocol == (protocols[0] if protocols else None)
        assert not (await socket.receive(10)).data
        node.lines.put_nowait(b"one\n")
        assert (await socket.receive(10)).data == message
        node.lines.put_nowait(b"")
        assert (await socket.receive(10)).type is aiohttp.WSMsgType.CLOSE


async def test_a_websocket_client_that_goes_frees_the_node(instance: Instance, node: Node) -> None:
    async with instance.http.ws_connect(f"{LOG}?container=c1&follow=true") as socket:
        await socket.receive(10)
    await eventually(node.gone.is_set)
    await eventually(lambda: not instance.server._proxied)


async def test_messages_that_break_off_are_not_taken_for_all(instance: Instance, node: Node) -> None:
    async with instance.http.ws_connect(f"{LOG}?container=c1") as socket:
        await socket.receive(10)
        node.lines.put_nowait(None)
        assert (await socket.receive(10)).type is not aiohttp.WSMsgType.CLOSE
        assert socket.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE


async def test_an_unknown_subprotocol_for_logs_is_refused_by_name(instance: Instance, node: Node) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await instance.http.ws_connect(f"{LOG}?container=c1", protocols=("channel.k8s.io",))
    assert refused.value.status == 403


async def test_a_pod_without_a_node_has_no_messages_yet(instance: Instance) -> None:
    await instance.create_pod(bound=False)
    async with instance.http.ws_connect(f"{LOG}?container=c1") as socket:
        assert not (await socket.receive(10)).data
        assert (await socket.receive(10)).type is aiohttp.WSMsgType.CLOSE
