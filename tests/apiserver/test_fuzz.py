"""Any request gets its answer: never a 500, never none, nothing in the log, nothing half written.

The short form sends the same requests each time; PODSTEAD_TEST_LONG=1 sends thousands of others.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path

import msgspec
import pytest
from apiserver_harness import Instance
from fuzzing import LONG, Request, each, examples, furnish, requests, send
from hypothesis import strategies as st

from podstead.objects import kinds


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def revision(instance: Instance) -> str:
    listed = await instance.get("/api/v1/namespaces?limit=1")
    return str(listed["metadata"]["resourceVersion"])


@pytest.mark.timeout(3600 if LONG else 120)
async def test_any_request_is_answered(instance: Instance, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    await furnish(instance)
    before = descriptors()

    async def check(request: Request) -> None:
        seen = await revision(instance)
        status, _ = await send(instance, request)
        single = request.method in ("POST", "PUT", "PATCH") or (request.method == "DELETE" and "/a" in request.path)
        if single and status >= 400:
            assert await revision(instance) == seen, f"refused, and written: {request}"

    await each(requests(), check, examples(short=250, long=20_000))
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    await everything_is_whole(instance)
    gc.collect()
    assert descriptors() <= before + 8


async def everything_is_whole(instance: Instance) -> None:
    """Whatever has been stored can be read in every form, and written back as it is."""
    for info in kinds.SERVED:
        root = f"/apis/{info.group}/{info.version}" if info.group else f"/api/{info.version}"
        for accept in ("application/yaml", "application/json;as=Table;v=v1;g=meta.k8s.io"):
            answer = await instance.ask("GET", f"{root}/{info.plural}", headers={"Accept": accept})
            assert answer.status == 200, (info.resource, answer.body)
        for obj in (await instance.get(f"{root}/{info.plural}"))["items"]:
            assert obj["metadata"]["uid"] and obj["metadata"]["name"], obj
            where = f"{root}/namespaces/{obj['metadata']['namespace']}" if info.namespaced else root
            path = f"{where}/{info.plural}/{obj['metadata']['name']}"
            assert await instance.get(path) == obj
            answer = await instance.ask("PUT", f"{path}?dryRun=All", json=obj)
            assert answer.status == 200 or "update" not in info.verbs, answer.body


@pytest.mark.timeout(3600 if LONG else 120)
async def test_any_bytes_are_answered_or_the_connection_ends(
    instance: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    context = instance.context(instance.pki.client("fuzz", ("system:masters",)))

    async def check(data: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", instance.server.port, ssl=context)
        # The last request ends the connection, if nothing before it has.
        writer.write(data + b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        try:
            async with asyncio.timeout(0.3):
                while part := await reader.read(65536):
                    answer += part
        except (TimeoutError, ConnectionError):
            pass  # A body is still waited for; or it was ended at once.
        writer.transport.abort()
        assert b" 500 " not in answer and b"Traceback" not in answer, (data, answer)

    await each(_BYTES, check, examples(short=40, long=5_000))
    assert [record.getMessage() for record in caplog.records] == []
    assert msgspec.json.decode((await instance.ask("GET", "/version")).body)["major"] == "1"


_LINES = st.one_of(
    st.sampled_from(
        [
            b"GET /api HTTP/1.1",
            b"POST /api/v1/namespaces/default/configmaps HTTP/1.1",
            b"GET /version HTTP/1.0",
            b"Host: x",
            b"Content-Length: 3",
            b"Content-Length: 0",
            b"Content-Length: -1",
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: gzip, chunked",
            b"Expect: 100-continue",
            b"Connection: upgrade",
            b"Upgrade: websocket",
            b"",
            b"0",
            b"3\r\nabc",
            b"\tfolded",
            b"GET http://x/api/v1 HTTP/1.1",
            b"FOO / HTTP/1.1",
        ]
    ),
    st.binary(max_size=12),
)
_BYTES = st.tuples(st.lists(_LINES, max_size=8), st.binary(max_size=20)).map(
    lambda parts: b"\r\n".join(parts[0]) + b"\r\n\r\n" + parts[1]
)
