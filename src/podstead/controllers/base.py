"""A controller's loop: keys of objects that may need work, one task a key at a time, failures tried again."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable

from podstead.objects.errors import StatusError

log = logging.getLogger(__name__)

_FIRST_RETRY, _LAST_RETRY = 0.05, 30.0


class WorkQueue:
    """Level-triggered: `add` a key as often as one likes, `work(key)` runs for it at least once after the last `add`.

    Never two at once for the same key, at most `workers` at once in all.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[str], Awaitable[None]],
        workers: int = 4,
        *,
        rank: Callable[[str], int] | None = None,
    ) -> None:
        """`rank`, asked at `add`: of the keys that wait, one with the lowest is next. Of equals it is the first."""
        self._name = name
        self._work = work
        self._workers = workers
        self._rank = rank
        self._queue: asyncio.PriorityQueue[tuple[int, int, str]] = asyncio.PriorityQueue()
        self._added = itertools.count()
        self._waiting: set[str] = set()
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def add(self, key: str) -> None:
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._queue.put_nowait((self._rank(key) if self._rank else 0, next(self._added), key))

    def add_after(self, key: str, seconds: float) -> None:
        """Add `key` in that many seconds, or when an earlier call for it is due: the work itself asks again."""
        loop = asyncio.get_running_loop()
        known = self._timers.get(key)
        if known is not None:
            if known.when() <= loop.time() + seconds:
                return
            known.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def _due(self, key: str) -> None:
        del self._timers[key]
        self.add(key)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._worker(), name=f"{self._name} {number}")
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _worker(self) -> None:
        while True:
            _, _, key = await self._queue.get()
            self._waiting.discard(key)
            self._busy.add(key)
            try:
                await self._one(key)
            finally:
                self._busy.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    async def _one(self, key: str) -> None:
        try:
            await self._work(key)
        except Exception as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            # A conflict means that the cache was behind: common, and cured by the next try.
            if not (isinstance(error, StatusError) and error.code == 409):
                log.warning("%s: %s: %s", self._name, key, error, exc_info=not isinstance(error, StatusError))
            self.add_after(key, min(_FIRST_RETRY * 2 ** (failures - 1), _LAST_RETRY))
        else:
            self._failures.pop(key, None)
