"""Every namespace has the account and the bundle that a pod's author relies on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from podstead.controllers.serviceaccounts import NamespaceDefaults
from support.registry import ADMIN, open_registry

CA = "-----BEGIN CERTIFICATE-----\n"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Any]:
    async with open_registry(tmp_path / "state.db") as registry:
        task = asyncio.create_task(NamespaceDefaults(registry.client(ADMIN), CA).run())
        try:
            yield registry.client(ADMIN)
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.wait([task])


async def _present(client: Any, resource: str, name: str, namespace: str, not_uid: str = "") -> dict[str, Any]:
    """Wait for an object, another one than that of `not_uid`."""
    async with asyncio.timeout(10):
        listed = await client.list(resource, namespace)
        for obj in listed.items:
            if obj["metadata"]["name"] == name and obj["metadata"]["uid"] != not_uid:
                return dict(obj)
        async for event in client.watch(resource, namespace, resource_version=listed.resource_version):
            meta = event.object["metadata"]
            if meta["name"] == name and meta["uid"] != not_uid and event.type != "DELETED":
                return dict(event.object)
    raise AssertionError


async def test_a_new_namespace_gets_both(client: Any) -> None:
    await client.create("namespaces", {"metadata": {"name": "new"}})
    await _present(client, "serviceaccounts", "default", "new")
    bundle = await _present(client, "configmaps", "kube-root-ca.crt", "new")
    assert bundle["data"] == {"ca.crt": CA}


async def test_what_was_deleted_comes_back(client: Any) -> None:
    for resource, name in (("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")):
        first = await _present(client, resource, name, "default")
        await client.delete(resource, name, "default")
        await _present(client, resource, name, "default", first["metadata"]["uid"])


async def test_a_bundle_that_was_changed_is_put_right(client: Any) -> None:
    bundle = await _present(client, "configmaps", "kube-root-ca.crt", "default")
    changed = await client.update("configmaps", {**bundle, "data": {"ca.crt": "other"}})
    async with asyncio.timeout(10):
        version = changed["metadata"]["resourceVersion"]
        async for event in client.watch("configmaps", "default", resource_version=version):
            if event.object["data"] == {"ca.crt": CA}:
                break
