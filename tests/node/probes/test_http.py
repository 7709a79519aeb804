"""HTTP and TCP probes against real servers on the loopback; texts as Kubernetes' events have them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from podstead.node.probes.http import probe_http, probe_url
from podstead.node.probes.result import SUCCESS, Outcome, Result, failure
from podstead.node.probes.tcp import probe_tcp
from podstead.pki import Pki

Serve = Callable[[bytes], bytes | None]


class Server:
    """`answer(head)` gives what to send for a request's head; None: never answer."""

    def __init__(self, answer: Serve) -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.port = 0
        self.until = b"\r\n\r\n"

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append(head := await reader.readuntil(self.until))
            answer = self.answer(head)
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(answer: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(answer)
    listening = await asyncio.start_server(server.connected, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


async def get(server: Server, path: str = "/", *headers: tuple[str, str], timeout: float = 5.0) -> Result:
    return await probe_http(probe_url("http", "127.0.0.1", server.port, path), headers, timeout)


@pytest.mark.parametrize(
    ("scheme", "path", "url"),
    [
        ("http", "healthz", "http://10.0.0.1:80/healthz"),
        ("https", "/a b?x=1&y=%20#z", "https://10.0.0.1:80/a%20b?x=1&y=%20"),
        ("http", "http://elsewhere/x", "http://10.0.0.1:80/x"),
    ],
)
def test_the_address_is_the_pods_whatever_the_path_says(scheme: str, path: str, url: str) -> None:
    assert probe_url(scheme, "10.0.0.1", 80, path) == url
    assert probe_url("http", "fd00::1", 80, "/") == "http://[fd00::1]:80/"


@pytest.mark.parametrize("status", [200, 204, 299])
async def test_a_good_status_is_a_success(status: int) -> None:
    async with serving(lambda _: answer(status)) as server:
        assert await get(server) == SUCCESS


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_a_bad_status_is_named_and_the_body_is_not(status: int) -> None:
    async with serving(lambda _: answer(status, b"secret")) as server:
        assert await get(server) == failure(f"HTTP probe failed with statuscode: {status}")


async def test_headers_are_those_of_the_probe_before_those_of_kubernetes() -> None:
    async with serving(lambda _: answer(200)) as server:
        await get(server, "/x?y=1")
        own = [("X-One", "1"), ("X-One", "2"), ("Host", "web.example"), ("User-Agent", "me"), ("Accept", "")]
        await get(server, "/", *own)
    plain, given = server.heads
    assert plain.startswith(b"GET /x?y=1 HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{server.port}\r\n".encode() in plain
    assert b"User-Agent: kube-probe/1.37\r\nAccept: */*\r\nConnection: close\r\n" in plain
    assert b"Host: web.example\r\nUser-Agent: me\r\nX-One: 1\r\nX-One: 2\r\nConnection: close\r\n\r\n" in given


async def test_a_redirect_within_the_host_is_followed() -> None:
    def once(head: bytes) -> bytes:
        return answer(200) if head.startswith(b"GET /there ") else answer(302, b"", "Location: /there")

    async with serving(once) as server:
        assert await get(server) == SUCCESS
        assert len(server.heads) == 2


async def test_a_redirect_to_another_host_is_a_warning_and_not_followed() -> None:
    async with serving(lambda _: answer(301, b"go", "Location: http://elsewhere.example/")) as server:
        assert await get(server) == Result(Outcome.WARNING, "Probe terminated redirects, Response body: go")


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("ftp://127.0.0.1/x", 'Get "ftp://127.0.0.1/x": unsupported protocol scheme "ftp"'),
        ("http://127.0.0.1:x/", 'Get "http://127.0.0.1:x/": failed to parse Location header: '),
        ("//[", ": failed to parse Location header: "),
    ],
)
async def test_a_redirect_to_nowhere_is_a_failure(location: str, text: str) -> None:
    async with serving(lambda _: answer(302, b"", f"Location: {location}")) as server:
        result = await get(server)
    assert result.outcome is Outcome.FAILURE
    assert text in result.text


async def test_redirects_without_end_are_a_failure() -> None:
    async with serving(lambda _: answer(307, b"", "Location: /")) as server:
        result = await get(server)
    assert result == failure(f'Get "http://127.0.0.1:{server.port}/": stopped after 10 redirects')


async def test_of_a_body_without_end_only_the_beginning_is_read() -> None:
    flood = b"HTTP/1.1 300 X\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 100_000
    async with serving(lambda _: flood) as server:
        result = await get(server)
    assert result.text == "Probe terminated redirects, Response body: " + "x" * 10240


async def test_nobody_listens() -> None:
    port = closed_port()
    refused = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    assert await probe_tcp("127.0.0.1", port, 5) == failure(refused)
    url = probe_url("http", "127.0.0.1", port, "/ok")
    assert await probe_http(url, (), 5) == failure(f'Get "http://127.0.0.1:{port}/ok": {refused}')


async def test_a_server_that_does_not_answer_in_time() -> None:
    async with serving(lambda _: None) as server:
        result = await get(server, timeout=0.05)
    late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    assert result == failure(f'Get "http://127.0.0.1:{server.port}/": {late}')


@pytest.mark.parametrize("garbage", [b"", b"SSH-2.0-x\r\n\r\n"])
async def test_a_server_that_speaks_something_else(garbage: bytes) -> None:
    async with serving(lambda _: garbage) as server:
        result = await get(server)
    assert result.outcome is Outcome.FAILURE
    assert not result.errored
    assert result.text.startswith(f'Get "http://127.0.0.1:{server.port}/": ')


async def test_a_body_that_breaks_off_says_nothing() -> None:
    async with serving(lambda _: b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nabc") as server:
        result = await get(server)
    assert (result.errored, result.text) == (True, "unexpected EOF")


async def test_a_certificate_of_nobody_is_good_enough(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    pki.ensure()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server_pem)
    async with serving(lambda _: answer(200), context) as server:
        assert await probe_http(probe_url("https", "127.0.0.1", server.port, "/"), (), 5) == SUCCESS


async def test_https_to_a_server_of_http() -> None:
    async with serving(lambda _: answer(200)) as server:
        url = probe_url("https", "127.0.0.1", server.port, "/")
        server.until = b"\x16"
        assert await probe_http(url, (), 5) == failure(f'Get "{url}": http: server gave HTTP response to HTTPS client')


async def test_an_open_port_is_well() -> None:
    async with serving(lambda _: None) as server:
        assert await probe_tcp("127.0.0.1", server.port, 5) == SUCCESS
        assert await probe_tcp("localhost", server.port, 5) == SUCCESS
