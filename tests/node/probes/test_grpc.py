"""gRPC probes against a server that speaks the health protocol; texts as Kubernetes' events have them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from podstead.node.probes.grpc import probe_grpc
from podstead.node.probes.result import SUCCESS, failure


@dataclass
class HealthServer:
    """Answers Check with `message` and `trailers`, or not at all."""

    message: bytes = b"\x08\x01"
    trailers: dict[str, str] = field(default_factory=lambda: {"grpc-status": "0"})
    silent: bool = False
    port: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    asked: bytes = b""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        http.initiate_connection()
        try:
            writer.write(http.data_to_send())
            while data := await reader.read(65536):
                for event in http.receive_data(data):
                    if isinstance(event, RequestReceived):
                        self.headers = {str(name): str(value) for name, value in event.headers or ()}
                    elif isinstance(event, DataReceived):
                        self.asked += event.data or b""
                    elif isinstance(event, StreamEnded) and not self.silent:
                        self._answer(http)
                writer.write(http.data_to_send())
        except OSError:
            pass
        finally:
            writer.close()

    def _answer(self, http: H2Connection) -> None:
        head = [(":status", "200"), ("content-type", "application/grpc")]
        if self.trailers["grpc-status"] != "0":
            http.send_headers(1, [*head, *self.trailers.items()], end_stream=True)  # "trailers only"
            return
        http.send_headers(1, head)
        http.send_data(1, b"\0" + len(self.message).to_bytes(4, "big") + self.message)
        http.send_headers(1, list(self.trailers.items()), end_stream=True)


@asynccontextmanager
async def serving(server: HealthServer) -> AsyncIterator[HealthServer]:
    listening = await asyncio.start_server(server.connected, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


async def test_a_server_that_serves_is_well_and_is_asked_as_by_kubernetes() -> None:
    async with serving(HealthServer()) as server:
        assert await probe_grpc("127.0.0.1", server.port, "my.Service", 5) == SUCCESS
    assert server.headers[":path"] == "/grpc.health.v1.Health/Check"
    assert server.headers["user-agent"] == "kube-probe/1.37"
    assert server.asked == b"\0\0\0\0\x0c\x0a\x0amy.Service"


@pytest.mark.parametrize(
    ("message", "name"), [(b"", "UNKNOWN"), (b"\x08\x02", "NOT_SERVING"), (b"\x08\x03", "SERVICE_UNKNOWN")]
)
async def test_any_other_status_is_named(message: bytes, name: str) -> None:
    async with serving(HealthServer(message)) as server:
        result = await probe_grpc("127.0.0.1", server.port, "", 5)
    assert result == failure(f'service unhealthy (responded with "{name}")')


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("5", "error: health rpc probe failed: rpc error: code = NotFound desc = no such one"),
        (
            "12",
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): no such one",
        ),
    ],
)
async def test_an_error_of_the_call_is_told(status: str, text: str) -> None:
    async with serving(HealthServer(trailers={"grpc-status": status, "grpc-message": "no%20such one"})) as server:
        assert await probe_grpc("127.0.0.1", server.port, "", 5) == failure(text)


async def test_a_server_that_does_not_answer_in_time() -> None:
    async with serving(HealthServer(silent=True)) as server:
        result = await probe_grpc("127.0.0.1", server.port, "", 0.1)
    assert result == failure("timeout: health rpc did not complete within 0.1s")


async def test_nobody_listens() -> None:
    async with serving(HealthServer()) as server:
        port = server.port
    result = await probe_grpc("127.0.0.1", port, "", 0.05)
    where = f'"127.0.0.1:{port}" within 0.05s'
    assert result == failure(f"timeout: failed to connect service {where}: context deadline exceeded")


async def test_a_server_of_something_else_is_a_failure() -> None:
    async def http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(http1, "127.0.0.1", 0)
    try:
        result = await probe_grpc("127.0.0.1", listening.sockets[0].getsockname()[1], "", 5)
    finally:
        listening.close()
    assert result.text.startswith("error: health rpc probe failed: rpc error: code = Unavailable desc = ")
