"""A component that fails is run again; the others do not notice."""

from __future__ import annotations

import asyncio

from podstead.client.supervise import supervise


async def test_what_fails_is_run_again_until_it_returns() -> None:
    failures = [ValueError("one"), ValueError("two")]

    async def work() -> None:
        if failures:
            raise failures.pop()

    async with asyncio.timeout(5):
        await supervise("test", work, first_delay=0.001)
    assert failures == []


async def test_others_of_its_group_go_on() -> None:
    async def faulty() -> None:
        raise ValueError("a fault")

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(supervise("test", faulty, first_delay=0.001))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
