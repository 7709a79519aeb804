"""One probe of one container, from the container's start to its end: a timer, and what the results come to.

Between two probes there is a timer of the loop and nothing else. The first of a container that has just started comes
at once, when that can only be to its good: readiness and startup. A failure before a whole period has passed is not
held against a container, so that `failureThreshold * periodSeconds` is the time that it has (Configure Probes).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Protocol

from podstead.node.probes.result import Outcome, Result, errored
from podstead.node.probes.tally import Tally
from podstead.objects.probe import Probe

log = logging.getLogger(__name__)

_RETRIES = 3
"""How often a probe that could not be done is tried, in a row."""


class Kind(StrEnum):
    """As events name them."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


class Timer(Protocol):
    def cancel(self) -> None: ...


class Timers(Protocol):
    """What is needed of the event loop."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer: ...


class ProbeWorker:
    """Calls `execute` when it is time, `told` with every result that is worth an event, `reached` with each verdict.

    `verdict` is what holds before the first; a startup probe ends with its verdict, a liveness probe
    with its failure.
    """

    def __init__(
        self,
        kind: Kind,
        probe: Probe,
        execute: Callable[[], Awaitable[Result]],
        told: Callable[[Result], None],
        reached: Callable[[bool], None],
        *,
        verdict: bool | None,
        timers: Timers | None = None,
    ) -> None:
        self.kind, self.probe = kind, probe
        self._execute, self._told, self._reached = execute, told, reached
        self._tally = Tally(probe, verdict)
        self._timers: Timers = timers or asyncio.get_running_loop()
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None
        self._next = 0.0
        self._counts_from = -math.inf
        self._stopped = False
        self.counts: dict[str, int] = {}
        """How often it came to which result, in the words of prober_probe_total."""

    @property
    def busy(self) -> bool:
        """A probe is under way."""
        return self._task is not None and not self._task.done()

    def start(self, age: float, jitter: float | None = None) -> None:
        """Begin. `age`: seconds since the container started. `jitter` (0 to 1): it was adopted; the first probe comes
        after that part of a period, so that a new server does not probe everything at once.
        """
        now, period = self._timers.time(), float(self.probe.period_seconds)
        began = now - max(age, 0.0)
        if jitter is not None:
            self._next = max(now + jitter * period, began + self.probe.initial_delay_seconds)
        elif self.probe.initial_delay_seconds:
            self._next = max(now, began + self.probe.initial_delay_seconds)
        elif self.kind is Kind.LIVENESS:
            self._next = now + period
        else:
            self._next, self._counts_from = now, began + period
        self._timer = self._timers.call_at(self._next, self._fire)

    def stop(self) -> None:
        """No probe begins any more, and the result of one under way counts for nothing."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def closed(self) -> None:
        """Return once nothing of a stopped probe runs."""
        if self._task is not None and self.busy:
            await asyncio.wait([self._task])

    def _fire(self) -> None:
        if not self._stopped:
            self._task = asyncio.create_task(self._once(), name=f"{self.kind} probe")

    async def _once(self) -> None:
        began = self._next
        result = await self._probed()
        if self._stopped:
            return
        self._take(result, began)
        if not self._stopped:
            self._schedule()

    async def _probed(self) -> Result:
        result = errored("")
        for _ in range(_RETRIES):
            try:
                result = await self._execute()
            except Exception as error:
                log.exception("a %s probe failed unexpectedly", self.kind)
                result = errored(str(error))
            if not result.errored:
                break
        return result

    def _take(self, result: Result, began: float) -> None:
        word = "unknown" if result.errored else "successful" if result.passed else "failed"
        self.counts[word] = self.counts.get(word, 0) + 1
        if result.outcome is not Outcome.SUCCESS:
            self._told(result)
        if result.errored:
            return  # The kubelet throws it away: a probe that cannot be done says nothing of the container.
        if not result.passed and self.kind is not Kind.READINESS and began < self._counts_from:
            return
        if self._tally.count(result.passed):
            if self.kind is Kind.STARTUP or (self.kind is Kind.LIVENESS and not result.passed):
                self._stopped = True
            self._reached(result.passed)

    def _schedule(self) -> None:
        """Keep to the beat; beats that passed while a probe took its time are left out."""
        now, period = self._timers.time(), float(self.probe.period_seconds)
        late = max(now - self._next, 0.0)
        self._next += period * max(1, math.floor(late / period))
        self._timer = self._timers.call_at(self._next, self._fire)
