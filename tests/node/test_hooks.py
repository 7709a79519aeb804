"""Hooks that ask for a page; the others are tried where containers live and end (test_life.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from podstead.node.hooks import HookFailed, Hooks, resolve_port
from podstead.node.runtime.base import Runtime
from podstead.objects.lifecycle import HTTPGetAction, HTTPHeader, LifecycleHandler
from podstead.objects.pod import Container, ContainerPort
from support.fakenode import FakeRuntime


class Server:
    """Answers everything with 500 and keeps what it was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.asked = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield made


def hooks() -> Hooks:
    async def address() -> str:
        return "127.0.0.1"

    async def never(container_id: str) -> None:
        await asyncio.Event().wait()

    return Hooks(cast(Runtime, FakeRuntime()), address, never)


async def test_a_get_goes_to_the_pods_named_port_and_any_answer_will_do(server: Server) -> None:
    container = Container(name="c", ports=(ContainerPort(name="web", container_port=server.port),))
    headers = (HTTPHeader(name="X-Why", value="hook"), HTTPHeader(name="User-Agent", value="mine"))
    action = HTTPGetAction(path="bye?now=1", port="web", http_headers=headers)
    await hooks().run(LifecycleHandler(http_get=action), container, "id")
    assert server.asked.startswith("GET /bye?now=1 HTTP/1.1")
    assert "X-Why: hook" in server.asked
    assert "User-Agent: mine" in server.asked


async def test_where_nobody_listens_the_hook_fails() -> None:
    with pytest.raises(HookFailed, match=r"GET http://127\.0\.0\.1:1/"):
        await hooks().run(LifecycleHandler(http_get=HTTPGetAction(path="/", port=1)), Container(), "id")


def test_a_port_is_a_number_or_a_name_of_the_containers() -> None:
    container = Container(ports=(ContainerPort(name="web", container_port=80),))
    assert [resolve_port(port, container) for port in (8080, "8081", "web")] == [8080, 8081, 80]
    with pytest.raises(HookFailed, match="couldn't find port: nope"):
        resolve_port("nope", container)
