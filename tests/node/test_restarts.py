"""A container that ends as soon as it runs, again and again, costs no more than one that ended twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podstead.node.backoff import Backoff
from support.fakenode import FakeNode, fake_node

RESTARTS = 300


@pytest.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeNode]:
    monkeypatch.setattr(Backoff, "remaining", lambda *_: 0.0)
    async with fake_node(tmp_path) as one:
        yield one


async def test_records_and_events_of_many_restarts_are_few(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    start = node.runtime.start_container

    async def start_and_end(container_id: str) -> None:
        await start(container_id)
        if node.runtime.containers[container_id].attempt < RESTARTS:
            node.runtime.end("c1", 1)

    monkeypatch.setattr(node.runtime, "start_container", start_and_end)
    async with node.running():
        await node.create()
        await node.until(lambda pod: pod["status"].get("containerStatuses", [{}])[0].get("restartCount") == RESTARTS)
        await node.running_pod()
        await node.event("Started")
        events = await node.client.list("events", "default")
        messages = list(node.paths.pods.rglob("*.termination"))
    assert len(node.runtime.containers) <= 3
    assert len(events.items) < 60
    assert len(messages) <= 3
