"""Namespaces that end take everything in them along, and say what they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from podstead.controllers.namespaces import NamespaceController
from podstead.registry.registry import Registry
from support.fakenode import gone
from support.registry import ADMIN, make_pod, open_registry


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Any]:
    async with _controlled(tmp_path) as client:
        yield client


@asynccontextmanager
async def _controlled(tmp_path: Path, resources: list[str] | None = None) -> AsyncIterator[Any]:
    async with open_registry(tmp_path / "state.db") as registry:
        task = asyncio.create_task(NamespaceController(registry.client(ADMIN), resources).run())
        try:
            yield await _with_namespace(registry)
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.wait([task])


async def _with_namespace(registry: Registry) -> Any:
    client = registry.client(ADMIN)
    await client.create("namespaces", {"metadata": {"name": "end"}})
    await client.create("serviceaccounts", {"metadata": {"name": "default"}}, "end")
    return client


async def _condition(client: Any, kind: str, status: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        listed = await client.list("namespaces", field_selector="metadata.name=end")
        for condition in listed.items[0]["status"].get("conditions", ()):
            if (condition["type"], condition["status"]) == (kind, status):
                return dict(condition)
        async for event in client.watch(
            "namespaces", resource_version=listed.resource_version, field_selector="metadata.name=end"
        ):
            for condition in event.object["status"].get("conditions", ()):
                if (condition["type"], condition["status"]) == (kind, status):
                    return dict(condition)
    raise AssertionError


async def test_everything_in_it_goes_with_it(client: Any) -> None:
    await client.create("configmaps", {"metadata": {"name": "m"}}, "end")
    await client.create("secrets", {"metadata": {"name": "s"}}, "end")
    await client.create("pods", make_pod(), "end")
    await client.create("configmaps", {"metadata": {"name": "kept"}}, "default")
    await client.delete("namespaces", "end")
    await gone(client, "namespaces", "end", "")
    for resource in ("configmaps", "secrets", "pods", "serviceaccounts"):
        assert (await client.list(resource, "end")).items == []
    assert (await client.get("configmaps", "kept", "default"))["metadata"]["name"] == "kept"


async def test_it_waits_for_a_pod_that_ends_gracefully_and_says_so(client: Any) -> None:
    pod = make_pod()
    pod["spec"]["nodeName"] = "n1"
    await client.create("pods", pod, "end")
    await client.delete("namespaces", "end")
    condition = await _condition(client, "NamespaceContentRemaining", "True")
    assert condition["message"] == "Some resources are remaining: pods. has 1 resource instances"
    await client.delete("pods", "p", "end", grace_period_seconds=0)
    await gone(client, "namespaces", "end", "")


async def test_pods_end_before_anything_that_they_use_goes(client: Any) -> None:
    pod = make_pod()
    pod["spec"]["nodeName"] = "n1"
    await client.create("pods", pod, "end")
    await client.create("secrets", {"metadata": {"name": "s"}}, "end")
    await client.delete("namespaces", "end")
    condition = await _condition(client, "NamespaceContentRemaining", "True")
    assert condition["message"] == "Some resources are remaining: pods. has 1 resource instances"
    assert (await client.get("secrets", "s", "end"))["metadata"].get("deletionTimestamp") is None
    await client.delete("pods", "p", "end", grace_period_seconds=0)
    await gone(client, "namespaces", "end", "")


async def test_what_cannot_be_deleted_is_told(tmp_path: Path) -> None:
    async with _controlled(tmp_path, ["configmaps", "things.example.com"]) as client:
        await client.delete("namespaces", "end")
        condition = await _condition(client, "NamespaceDeletionContentFailure", "True")
        assert condition["reason"] == "ContentDeletionFailed"
        assert condition["message"] == (
            "Failed to delete all resource types, 1 remaining: the server could not find the requested resource"
        )


async def test_a_finalizer_of_somebody_else_outlives_ours(client: Any) -> None:
    await client.create("namespaces", {"metadata": {"name": "two"}, "spec": {"finalizers": ["example.com/hold"]}})
    await client.delete("namespaces", "two")
    async with asyncio.timeout(10):
        async for event in client.watch("namespaces", resource_version="0", field_selector="metadata.name=two"):
            if event.object["spec"].get("finalizers") == ["example.com/hold"]:
                break
    held = await client.get("namespaces", "two")
    assert [one["type"] for one in held["status"]["conditions"]] == [
        "NamespaceDeletionDiscoveryFailure",
        "NamespaceDeletionGroupVersionParsingFailure",
        "NamespaceDeletionContentFailure",
        "NamespaceContentRemaining",
        "NamespaceFinalizersRemaining",
    ]
    assert {(one["status"], one["reason"]) for one in held["status"]["conditions"]} == {
        ("False", "ResourcesDiscovered"),
        ("False", "ParsedGroupVersions"),
        ("False", "ContentDeleted"),
        ("False", "ContentRemoved"),
        ("False", "ContentHasNoFinalizers"),
    }
    await client.update("namespaces", {**held, "spec": {}}, subresource="finalize")
    await gone(client, "namespaces", "two", "")


async def test_it_waits_for_finalizers_and_names_them(client: Any) -> None:
    held = {"metadata": {"name": "m", "finalizers": ["example.com/hold"]}}
    await client.create("configmaps", held, "end")
    await client.delete("namespaces", "end")
    condition = await _condition(client, "NamespaceFinalizersRemaining", "True")
    assert condition["message"].endswith("remaining: example.com/hold in 1 resource instances")
    await client.patch("configmaps", "m", "end", {"metadata": {"finalizers": None}})
    await gone(client, "namespaces", "end", "")


async def test_a_namespace_that_is_not_to_end_is_left_alone(client: Any) -> None:
    await client.create("configmaps", {"metadata": {"name": "m"}}, "default")
    await client.delete("namespaces", "end")
    await gone(client, "namespaces", "end", "")
    assert (await client.get("namespaces", "default"))["status"]["phase"] == "Active"
