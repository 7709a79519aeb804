"""A registry over a real store, with the namespaces and accounts that a cluster has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from podstead.objects.user import UserInfo
from podstead.registry.registry import Registry
from podstead.store.sqlite import SQLiteStore

ADMIN = UserInfo("admin", ("system:masters",))


def make_pod(name: str = "p", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {"containers": [{"name": "c", "image": "busybox:1"}]},
    }


def make_map(name: str = "m", data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", **metadata}, "data": data or {}}


@asynccontextmanager
async def open_registry(path: Path, **options: Any) -> AsyncIterator[Registry]:
    """A started registry over the file at `path`; namespaces and accounts are made if they are missing."""
    store = SQLiteStore(path)
    await store.open()
    registry = Registry(store, **options)
    try:
        await registry.start()
        client = registry.client(ADMIN)
        for namespace in ("default", "kube-system"):
            if registry.find("namespaces", namespace) is None:
                await client.create("namespaces", {"metadata": {"name": namespace}})
                await client.create("serviceaccounts", {"metadata": {"name": "default"}}, namespace)
        yield registry
    finally:
        await registry.close()
        await store.close()


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """A controller's `run` for as long as the block; what it fails of is raised at the end."""
    task = asyncio.create_task(work)
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])
