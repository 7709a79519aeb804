"""Connections: bytes that no HTTP library would send, and clients that come and do nothing."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from apiserver_harness import Instance
from fuzzing import LONG

from podstead import pki
from podstead.apiserver import connections

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
VERSION = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
NOT_ALLOWED = "the server does not allow this method on the requested resource"
INVALID, MALFORMED = "parameter invalid:", "malformed HTTP request:"
TOO_LARGE = "the head of the request is too large"
NOT_FOUND = "the server could not find the requested resource"


def request(method: str, path: str, *headers: str, body: bytes = b"", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: x", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@asynccontextmanager
async def connected(instance: Instance) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    context = instance.context(instance.pki.client(pki.ADMIN_USER, pki.ADMIN_GROUPS))
    reader, writer = await asyncio.open_connection("127.0.0.1", instance.server.port, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the code and the body of the next answer, which has a Content-Length or ends with the connection."""
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        code = int(head.split()[1])
        _, found, rest = head.partition(b"content-length: ")
        body = await reader.readexactly(int(rest.split()[0])) if found else await reader.read()
    return code, body


async def exchange(instance: Instance, data: bytes) -> tuple[int, Any]:
    async with connected(instance) as (reader, writer):
        writer.write(data)
        code, body = await answer_of(reader)
        return code, json.loads(body)


# -- requests in odd forms


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (request("FOO", CONFIGMAPS), 405, NOT_ALLOWED),
        (request("A" * 300, CONFIGMAPS), 405, NOT_ALLOWED),
        (request("get", CONFIGMAPS), 405, NOT_ALLOWED),
        (request("PROPFIND", CONFIGMAPS), 405, NOT_ALLOWED),
        (request("TRACE", "/api"), 405, NOT_ALLOWED),
        (request("CONNECT", "x:443"), 405, NOT_ALLOWED),
        (request("GET", "/api/v1//pods"), 404, NOT_FOUND),
        (request("GET", "//api/v1/pods"), 404, NOT_FOUND),
        (request("GET", "/apis//v1/pods"), 404, NOT_FOUND),
        (request("GET", "/api/v1/namespaces/default/../../nodes"), 404, NOT_FOUND),
        (request("GET", "/api/v1/namespaces/default/pods/a%2Fb"), 404, NOT_FOUND),
        (request("GET", "/api/v1/namespaces/default/pods/%2e%2e"), 400, f"Name {INVALID} \"..\": may not be '..'"),
        (request("GET", "/api/v1/namespaces/%zz/pods"), 400, f"Namespace {INVALID} \"%zz\": may not contain '%'"),
        (request("GET", "/api/v1/namespaces/default/pods//log"), 400, "name must be provided"),
        (request("GET", f"{CONFIGMAPS}/%00"), 404, 'configmaps "\0" not found'),
        (request("GET", f"{CONFIGMAPS}?{'a=1&' * 10_001}"), 400, "number of URL query parameters exceeded limit"),
        (request("GET", "/" + "z" * 1_100_000), 431, TOO_LARGE),
        (request("GET", "/api", "X: " + "y" * 1_100_000), 431, TOO_LARGE),
        (request("GET", "/api", *(f"X-{number}: y" for number in range(5000))), 431, TOO_LARGE),
        (request("GET", "/api", "Content-Length: -5"), 400, f"{MALFORMED} Invalid character in Content-Length"),
        (b"GET /version HTTP/1.1\r\n\r\n", 400, f"{MALFORMED} Missing 'Host' header in request."),
        (b"GET /version\r\n\r\n", 505, "unsupported protocol version"),
        (b"\x17nonsense\r\n\r\n", 400, f"{MALFORMED} Invalid method encountered"),
    ],
)  # fmt: skip
async def test_what_is_told_of_an_odd_request(instance: Instance, data: bytes, code: int, message: str) -> None:
    status = (await exchange(instance, data))[1]
    assert (status["kind"], status["code"], status["message"]) == ("Status", code, message)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("https://elsewhere/api/v1/namespaces", "NamespaceList"),
        ("/api/v1/namespaces//", "NamespaceList"),
        ("/api/v1/namespaces//pods", "PodList"),
        ("/%61pi/v1/pods", "PodList"),
    ],
)
async def test_odd_paths_that_kubernetes_serves(instance: Instance, path: str, kind: str) -> None:
    code, found = await exchange(instance, request("GET", path))
    assert (code, found["kind"]) == (200, kind)


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        (["Content-Length: 2", "Content-Length: 3"], b"{}x", 400),
        (["Content-Length: 2", "Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\n\r\n", 400),
        (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\n\r\n", 400),
        (["Transfer-Encoding: gzip, chunked"], b"2\r\n{}\r\n0\r\n\r\n", 501),
        (["Transfer-Encoding: identity"], b"{}", 400),
        (["Content-Length: +2"], b"{}", 400),
        (["Content-Length: 99999999999999999999"], b"{}", 400),
        (["Content-Length : 2"], b"{}", 400),
        (["X: a", " folded"], b"", 400),
        (["Transfer-Encoding: chunked"], b"-2\r\n{}\r\n0\r\n\r\n", 400),
        (["Transfer-Encoding: chunked"], b"fffffffffffffffff\r\n{}", 400),
    ],
)
async def test_a_body_whose_end_is_not_clear_smuggles_nothing(
    instance: Instance, headers: list[str], body: bytes, code: int
) -> None:
    """The request that hides in it is not answered: after a 400 the connection ends."""
    async with connected(instance) as (reader, writer):
        writer.write(request("POST", CONFIGMAPS, *headers, body=body) + request("DELETE", CONFIGMAPS))
        found, answer = await answer_of(reader)
        assert (found, json.loads(answer)["code"]) == (code, code)
        if code == 400:
            async with asyncio.timeout(10):
                assert await reader.read() == b""


async def test_requests_in_a_row_are_answered_in_order(instance: Instance) -> None:
    made = b'{"metadata":{"name":"a"}}'
    async with connected(instance) as (reader, writer):
        writer.write(request("POST", CONFIGMAPS, f"Content-Length: {len(made)}", body=made))
        writer.write(request("GET", f"{CONFIGMAPS}/a") + VERSION + request("GET", f"{CONFIGMAPS}/b"))
        answers = [await answer_of(reader) for _ in range(4)]
    assert [code for code, _ in answers] == [201, 200, 200, 404]
    assert answers[0][1] == answers[1][1]


async def test_http_1_0(instance: Instance) -> None:
    assert (await exchange(instance, b"GET /version HTTP/1.0\r\n\r\n"))[0] == 200
    path = f"{CONFIGMAPS}?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    async with connected(instance) as (reader, writer):
        writer.write(request("GET", f"{path}&allowWatchBookmarks=true", version="1.0"))
        code, events = await answer_of(reader)
    assert code == 200 and json.loads(events.splitlines()[0])["type"] == "BOOKMARK"


async def test_expectations(instance: Instance) -> None:
    async with connected(instance) as (reader, writer):
        writer.write(request("POST", CONFIGMAPS, "Expect: 100-continue", "Content-Length: 2"))
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"{}")
        assert (await answer_of(reader))[0] == 422
    refused = await exchange(instance, request("POST", CONFIGMAPS, "Expect: wonders", "Content-Length: 2", body=b"{}"))
    assert refused[0] == 417
    # What is too long is never asked for.
    code, _ = await exchange(instance, request("POST", CONFIGMAPS, "Expect: 100-continue", "Content-Length: 4000000"))
    assert code == 413


async def test_head_has_no_body(instance: Instance) -> None:
    async with connected(instance) as (reader, writer):
        writer.write(request("HEAD", CONFIGMAPS) + request("HEAD", f"{CONFIGMAPS}/none") + VERSION)
        async with asyncio.timeout(10):
            heads = [(await reader.readuntil(b"\r\n\r\n"))[:15] for _ in range(3)]
    assert heads == [b"HTTP/1.1 200 OK", b"HTTP/1.1 404 No", b"HTTP/1.1 200 OK"]


# -- clients that do nothing


async def test_a_head_that_does_not_come_ends_the_connection(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "FIRST_HEAD_SECONDS", 0.1)
    for part in (b"", b"GET /vers", VERSION[:-2]):
        async with connected(instance) as (reader, writer):
            writer.write(part)
            async with asyncio.timeout(10):
                assert await reader.read() == b""


async def test_a_body_that_does_not_come_ends_with_the_requests_time(instance: Instance) -> None:
    slow = request("POST", f"{CONFIGMAPS}?timeout=100ms", "Content-Length: 100", body=b'{"metadata"')
    assert (await exchange(instance, slow))[0] == 504


async def test_a_body_without_end_is_cut(instance: Instance) -> None:
    async with connected(instance) as (reader, writer):
        writer.write(request("POST", CONFIGMAPS, "Transfer-Encoding: chunked"))
        answer = asyncio.create_task(answer_of(reader))
        for _ in range(64):
            writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            await asyncio.sleep(0)
        code, body = await answer
    assert (code, json.loads(body)["message"]) == (413, "Request entity too large: limit is 3145728")


async def test_a_client_that_does_not_take_its_answer_is_cut(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.05)
    made = {"metadata": {"name": "large"}, "data": {"a": "x" * 1_000_000}}
    assert (await instance.ask("POST", CONFIGMAPS, json=made)).status == 201
    async with connected(instance) as (reader, writer):
        writer.transport.pause_reading()
        writer.write(request("GET", f"{CONFIGMAPS}/large") * 40)
        async with asyncio.timeout(20):
            while instance.server.connections > 1:
                await asyncio.sleep(0.01)
    del reader


async def test_many_idle_connections_leave_others_served(instance: Instance, caplog: pytest.LogCaptureFixture) -> None:
    """Half of them have sent the beginning of a request. A connection may cost 150 KB; closed, it is forgotten."""
    caplog.set_level(logging.WARNING)
    count = 4_000 if LONG else 150  # each has two ends in this process
    context = instance.context(instance.pki.client(pki.ADMIN_USER, pki.ADMIN_GROUPS))
    await instance.get("/version")
    before, memory = instance.server.connections, resident()
    writers = []
    for number in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", instance.server.port, ssl=context)
        writer.write(b"GET /api HTTP/1.1\r\n" if number % 2 else b"")
        writers.append(writer)
    async with asyncio.timeout(30):
        while instance.server.connections < before + count:
            await asyncio.sleep(0.01)
    assert (resident() - memory) / count < 2 * 150 * 1024
    assert (await instance.ask("POST", CONFIGMAPS, json={"metadata": {"name": "served"}})).status == 201
    for writer in writers:
        writer.transport.abort()
    async with asyncio.timeout(30):
        while instance.server.connections > before:
            await asyncio.sleep(0.01)
    assert caplog.records == []


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
