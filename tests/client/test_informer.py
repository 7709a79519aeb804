"""Informers over the registry's own client, and over one that fails on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from podstead.client import informer
from podstead.client.base import Client, EventType, Object, ObjectList, WatchEvent
from podstead.client.informer import Informer
from podstead.objects import errors
from support.registry import ADMIN, make_map, open_registry


class Log:
    """What an informer told, in order; `until` waits for it."""

    def __init__(self, watched: Informer) -> None:
        self.told: list[tuple[str, str]] = []
        self._more = asyncio.Event()
        watched.on_add = lambda obj: self._tell("add", obj)
        watched.on_update = lambda _old, new: self._tell("update", new)
        watched.on_delete = lambda obj: self._tell("delete", obj)

    def _tell(self, what: str, obj: Object) -> None:
        self.told.append((what, obj["metadata"]["name"]))
        self._more.set()

    async def until(self, count: int) -> list[tuple[str, str]]:
        async with asyncio.timeout(10):
            while len(self.told) < count:
                self._more.clear()
                await self._more.wait()
        return self.told


async def test_it_lists_then_follows(tmp_path: Path) -> None:
    async with open_registry(tmp_path / "state.db") as registry:
        client: Client = registry.client(ADMIN)
        await client.create("configmaps", make_map("a"))
        watched = Informer(client, "configmaps", "default")
        log = Log(watched)
        task = asyncio.create_task(watched.run())
        await asyncio.wait_for(watched.synced.wait(), 10)
        assert list(watched.store) == ["default/a"]
        await client.create("configmaps", make_map("b"))
        await client.patch("configmaps", "a", "default", {"data": {"x": "1"}})
        await client.delete("configmaps", "b", "default")
        assert await log.until(4) == [("add", "a"), ("add", "b"), ("update", "a"), ("delete", "b")]
        assert dict(watched.store) == {"default/a": await client.get("configmaps", "a", "default")}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not registry.resources["configmaps"].core.cache.watches


class Scripted:
    """A client whose lists and watches are given; a watch is a list of events, then maybe an error."""

    def __init__(self, lists: list[Any], watches: list[list[Any]]) -> None:
        self.lists, self.watches = lists, watches
        self.asked: list[str] = []

    async def list(self, resource: str, namespace: str = "", **_: str) -> ObjectList:
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, ObjectList)
        return answer

    async def watch(
        self, resource: str, namespace: str = "", *, resource_version: str, **_: str
    ) -> AsyncIterator[WatchEvent]:
        self.asked.append(resource_version)
        for step in self.watches.pop(0) if self.watches else [None]:
            if step is None:
                await asyncio.Event().wait()
            elif isinstance(step, Exception):
                raise step
            else:
                yield step


def thing(name: str, version: int, uid: str = "") -> Object:
    return {"metadata": {"name": name, "uid": uid or name, "resourceVersion": str(version)}}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer, "FIRST_DELAY", 0.001)


async def follow(client: Scripted, count: int) -> tuple[Informer, list[tuple[str, str]]]:
    watched = Informer(client, "things")  # type: ignore[arg-type]
    log = Log(watched)
    task = asyncio.create_task(watched.run())
    try:
        return watched, await log.until(count)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_after_410_it_lists_again_and_tells_the_difference(hasty: None) -> None:
    client = Scripted(
        [
            ObjectList([thing("a", 1), thing("b", 2), thing("c", 3)], "3"),
            ObjectList([thing("a", 1), thing("c", 7), thing("d", 8)], "9"),
        ],
        [[errors.expired("too old resource version: 3 (7)")]],
    )
    watched, told = await follow(client, 6)
    assert told[3:] == [("delete", "b"), ("update", "c"), ("add", "d")]
    assert client.asked[0] == "3" and set(watched.store) == {"a", "c", "d"}


async def test_a_namesake_is_another_object(hasty: None) -> None:
    client = Scripted(
        [ObjectList([thing("a", 1)], "1"), ObjectList([thing("a", 5, uid="other")], "5")],
        [[errors.expired("gone")]],
    )
    _, told = await follow(client, 3)
    assert told == [("add", "a"), ("delete", "a"), ("add", "a")]


async def test_a_broken_watch_goes_on_where_it_was(hasty: None) -> None:
    client = Scripted(
        [OSError("refused"), errors.internal_error("no"), ObjectList([], "1")],
        [
            [WatchEvent(EventType.ADDED, thing("a", 4)), ConnectionResetError()],
            [WatchEvent(EventType.BOOKMARK, {"metadata": {"resourceVersion": "8"}})],
            [WatchEvent(EventType.DELETED, thing("a", 9)), None],
        ],
    )
    _, told = await follow(client, 2)
    assert told == [("add", "a"), ("delete", "a")]
    assert client.asked == ["1", "4", "8"]


async def test_a_handler_that_raises_stops_nothing(hasty: None) -> None:
    client = Scripted([ObjectList([thing("a", 1), thing("b", 2)], "2")], [])
    watched = Informer(client, "things")  # type: ignore[arg-type]

    def fail(obj: Object) -> None:
        raise RuntimeError("broken")

    watched.on_add = fail
    task = asyncio.create_task(watched.run())
    await asyncio.wait_for(watched.synced.wait(), 10)
    assert set(watched.store) == {"a", "b"} and not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
