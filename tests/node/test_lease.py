"""The node's lease: renewed, owned by the node, made again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from podstead import clock
from podstead.controllers.garbage import GarbageCollector
from podstead.node import lease
from podstead.node.lease import NAMESPACE, RESOURCE, NodeLease
from podstead.objects.errors import StatusError
from support.fakenode import gone
from support.registry import ADMIN, open_registry


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Any]:
    async with open_registry(tmp_path / "state.db") as registry:
        client: Any = registry.client(ADMIN)
        await client.create("namespaces", {"metadata": {"name": NAMESPACE}})
        await client.create("nodes", {"metadata": {"name": "n1"}})
        yield client


async def test_a_renewal_writes_the_time(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: moment)
    node = NodeLease(client, "n1")
    await node.renew()
    first = await client.get(RESOURCE, "n1", NAMESPACE)
    assert first["spec"] == {
        "holderIdentity": "n1",
        "leaseDurationSeconds": 40,
        "renewTime": "2026-01-01T00:00:00.000000Z",
    }
    (owner,) = first["metadata"]["ownerReferences"]
    uid = (await client.get("nodes", "n1"))["metadata"]["uid"]
    assert owner == {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid}
    moment += timedelta(seconds=10)
    await node.renew()
    again = await client.get(RESOURCE, "n1", NAMESPACE)
    assert again["spec"]["renewTime"] == "2026-01-01T00:00:10.000000Z"
    assert again["metadata"]["uid"] == first["metadata"]["uid"]
    # Another run of the agent goes on with what is there.
    await NodeLease(client, "n1").renew()
    assert (await client.get(RESOURCE, "n1", NAMESPACE))["metadata"]["uid"] == first["metadata"]["uid"]


async def test_it_goes_with_its_node_and_comes_back(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW", 0.01)
    await NodeLease(client, "n1").renew()
    collector = asyncio.create_task(GarbageCollector(client).run())
    await client.delete("nodes", "n1")
    await gone(client, RESOURCE, "n1", NAMESPACE)
    node = await client.create("nodes", {"metadata": {"name": "n1"}})
    running = asyncio.create_task(NodeLease(client, "n1").run())
    try:
        async with asyncio.timeout(10):
            async for event in client.watch(RESOURCE, NAMESPACE, resource_version="0"):
                if event.object["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]:
                    break
            # Deleted by a user: the next renewal makes another.
            await client.delete(RESOURCE, "n1", NAMESPACE)
            async for event in client.watch(RESOURCE, NAMESPACE, resource_version="0"):
                if event.object["metadata"]["uid"]:
                    break
    finally:
        for task in (collector, running):
            task.cancel()
            await asyncio.wait([task])


async def test_another_writer_does_not_stop_it(client: Any) -> None:
    node = NodeLease(client, "n1")
    await node.renew()
    await client.patch(RESOURCE, "n1", NAMESPACE, {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(StatusError, match="modified"):
        await node.renew()
