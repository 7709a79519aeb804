"""Statuses on their way to the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from podstead.node import status_writer
from podstead.node.status_writer import StatusWriter
from podstead.objects.errors import StatusError
from podstead.registry.registry import Registry
from support.registry import ADMIN, make_pod, open_registry


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    async with open_registry(tmp_path / "state.db") as one:
        yield one


def _status(phase: str, **more: Any) -> dict[str, Any]:
    return {"phase": phase, "conditions": [], "qosClass": "BestEffort", **more}


@asynccontextmanager
async def _writer(client: Any, known: dict[str, Any]) -> AsyncIterator[StatusWriter]:
    writer = StatusWriter(client, known.get)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _made(client: Any) -> tuple[str, dict[str, Any]]:
    pod = await client.create("pods", make_pod(), "default")
    return pod["metadata"]["uid"], pod


async def test_the_newest_status_is_written(registry: Registry) -> None:
    client = registry.client(ADMIN)
    uid, pod = await _made(client)
    async with _writer(client, {uid: pod}) as writer:
        for ip in ("1", "2", "3"):
            writer.write(uid, _status("Running", podIP=f"10.0.0.{ip}"))
        await writer.flushed(uid)
    assert (await client.get("pods", "p", "default"))["status"]["podIP"] == "10.0.0.3"


async def test_a_status_is_not_taken_for_written_because_the_watch_lags(registry: Registry) -> None:
    """Going back to what the copy still shows was skipped, and the API was left with what lay between."""
    client = registry.client(ADMIN)
    uid, pod = await _made(client)
    pod = await client.update("pods", {**pod, "status": _status("Pending")}, subresource="status")
    async with _writer(client, {uid: pod}) as writer:
        writer.write(uid, _status("Running"))
        await writer.flushed(uid)
        writer.write(uid, _status("Pending"))
        await writer.flushed(uid)
    assert (await client.get("pods", "p", "default"))["status"]["phase"] == "Pending"


async def test_what_others_wrote_meanwhile_is_kept(registry: Registry) -> None:
    client = registry.client(ADMIN)
    uid, old = await _made(client)
    condition = {"type": "example.com/gate", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    theirs = {**old, "status": {**old["status"], "conditions": [condition]}}
    await client.update("pods", theirs, subresource="status")
    async with _writer(client, {uid: old}) as writer:
        writer.write(uid, _status("Running"))
        await writer.flushed(uid)
    status = (await client.get("pods", "p", "default"))["status"]
    assert (status["phase"], [one["type"] for one in status["conditions"]]) == ("Running", ["example.com/gate"])


async def test_a_pod_made_again_under_the_name_is_not_touched(registry: Registry) -> None:
    client = registry.client(ADMIN)
    uid, old = await _made(client)
    await client.delete("pods", "p", "default")
    await client.create("pods", make_pod(), "default")
    async with _writer(client, {uid: old}) as writer:
        writer.write(uid, _status("Failed"))
        await writer.flushed(uid)
    assert (await client.get("pods", "p", "default"))["status"]["phase"] == "Pending"


async def test_a_pod_that_is_gone_is_no_error(registry: Registry) -> None:
    client = registry.client(ADMIN)
    uid, old = await _made(client)
    await client.delete("pods", "p", "default")
    async with _writer(client, {uid: old}) as writer:
        writer.write(uid, _status("Failed"))
        await writer.flushed(uid)
        writer.write("unknown", _status("Failed"))
        await writer.flushed("unknown")


@pytest.mark.parametrize("error", [StatusError(500, "InternalError", "disk full"), StatusError(429, "Slow", "later")])
async def test_what_the_server_could_not_do_is_tried_again(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, error: StatusError
) -> None:
    monkeypatch.setattr(status_writer, "_RETRY", 0.0)
    client = registry.client(ADMIN)
    uid, pod = await _made(client)
    real, failures = client.update, [error, error]

    async def failing(*args: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return await real(*args, **options)

    monkeypatch.setattr(client, "update", failing)
    async with _writer(client, {uid: pod}) as writer:
        writer.write(uid, _status("Running"))
        await writer.flushed(uid)
    assert (await client.get("pods", "p", "default"))["status"]["phase"] == "Running"


async def test_a_fault_loses_one_write_and_nothing_else(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    client = registry.client(ADMIN)
    uid, pod = await _made(client)
    real, failures = client.update, [ValueError("a fault")]

    async def failing(*args: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return await real(*args, **options)

    monkeypatch.setattr(client, "update", failing)
    async with _writer(client, {uid: pod}) as writer:
        writer.write(uid, _status("Failed"))
        await writer.flushed(uid)
        writer.write(uid, _status("Running"))
        await writer.flushed(uid)
    assert (await client.get("pods", "p", "default"))["status"]["phase"] == "Running"
