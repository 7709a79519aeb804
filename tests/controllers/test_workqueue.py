"""The loop of a controller: nothing is lost, nothing done twice at once, failures tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from podstead.controllers import base
from podstead.controllers.base import WorkQueue
from podstead.objects.errors import StatusError


@asynccontextmanager
async def _running(work: Callable[[str], Awaitable[None]], workers: int = 4) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue("test", work, workers)
    task = asyncio.create_task(queue.run())
    try:
        async with asyncio.timeout(10):
            yield queue
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_what_is_added_while_it_is_worked_on_is_worked_on_again() -> None:
    started, go, runs = asyncio.Event(), asyncio.Event(), asyncio.Queue[str]()

    async def work(key: str) -> None:
        started.set()
        await go.wait()
        runs.put_nowait(key)

    async with _running(work) as queue:
        queue.add("a")
        await started.wait()
        for _ in range(3):
            queue.add("a")
        go.set()
        assert [await runs.get(), await runs.get()] == ["a", "a"]
        queue.add("b")
        assert await runs.get() == "b"
        assert runs.empty()


async def test_one_key_is_never_worked_on_twice_at_once() -> None:
    busy, most, done = 0, 0, asyncio.Queue[None]()

    async def work(_key: str) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0)
        busy -= 1
        done.put_nowait(None)

    async with _running(work) as queue:
        queue.add("a")
        for _ in range(5):
            await done.get()
            queue.add("a")
            queue.add("a")
    assert most == 1


@pytest.mark.parametrize("error", [ValueError("a fault"), StatusError(409, "Conflict", "stale")])
async def test_what_fails_is_tried_again_and_harms_no_other_key(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(base, "_FIRST_RETRY", 0.001)
    failures, done = [error, error], asyncio.Queue[str]()

    async def work(key: str) -> None:
        if key == "bad" and failures:
            raise failures.pop()
        done.put_nowait(key)

    async with _running(work, workers=1) as queue:
        queue.add("bad")
        queue.add("good")
        assert [await done.get(), await done.get()] == ["good", "bad"]


async def test_delayed_adds_of_one_key_are_one() -> None:
    """A namespace that ended over 30 pods had 30 timers, and each made the next."""
    done = asyncio.Queue[str]()

    async def work(key: str) -> None:
        done.put_nowait(key)

    async with _running(work) as queue:
        queue.add_after("a", 3600)
        queue.add_after("a", 0.001)
        queue.add_after("a", 3600)
        assert len(queue._timers) == 1
        assert await done.get() == "a"
        assert queue._timers == {}


async def test_of_what_waits_the_lowest_rank_is_next_and_of_equals_the_first() -> None:
    order: asyncio.Queue[str] = asyncio.Queue()

    async def work(key: str) -> None:
        order.put_nowait(key)

    queue = WorkQueue("test", work, 1, rank=lambda key: -int(key[1:]))
    for key in ("a1", "b5", "c1", "d9"):
        queue.add(key)
    task = asyncio.create_task(queue.run())
    try:
        async with asyncio.timeout(10):
            assert [await order.get() for _ in range(4)] == ["d9", "b5", "a1", "c1"]
    finally:
        task.cancel()
        await asyncio.wait([task])
