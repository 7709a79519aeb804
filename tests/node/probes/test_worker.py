"""When a probe is done, and what its results come to, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from podstead.node.probes.result import SUCCESS, Outcome, Result, errored, failure
from podstead.node.probes.tally import Tally
from podstead.node.probes.worker import Kind, ProbeWorker
from podstead.objects.probe import Probe

BAD = failure("no")


class Timer:
    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when, self.callback, self.cancelled = when, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Timers that go off when `to` moves the time over them."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer:
        self.timers.append(Timer(when, callback))
        return self.timers[-1]

    async def to(self, second: float) -> None:
        while due := [one for one in self.timers if not one.cancelled and one.when <= 1000 + second]:
            first = min(due, key=lambda one: one.when)
            self.timers.remove(first)
            self.now = max(self.now, first.when)
            first.callback()
            while [task for task in asyncio.all_tasks() if task.get_name().endswith(" probe")]:
                await asyncio.sleep(0)
        self.now = 1000 + second


class Probed:
    """A probe whose results are `results` (the last again and again), and what came of it."""

    def __init__(self, kind: Kind, *results: Result, verdict: bool | None = None, **fields: int) -> None:
        self.clock = Clock()
        self.results = list(results)
        self.times: list[float] = []
        self.told: list[Result] = []
        self.reached: list[bool] = []
        self.takes: list[float] = []
        """Seconds that the first probes take; the others none."""
        self.worker = ProbeWorker(
            kind,
            Probe(**fields),
            self._once,
            self.told.append,
            self.reached.append,
            verdict=verdict,
            timers=self.clock,
        )

    async def _once(self) -> Result:
        self.times.append(self.clock.now - 1000)
        self.clock.now += self.takes.pop(0) if self.takes else 0.0
        return self.results.pop(0) if len(self.results) > 1 else self.results[0]


def test_a_verdict_takes_as_many_results_in_a_row_as_its_threshold() -> None:
    tally = Tally(Probe(success_threshold=2, failure_threshold=3), False)
    assert [tally.count(passed) for passed in (True, False, True, True)] == [False, False, False, True]
    assert tally.verdict is True
    assert [tally.count(False) for _ in range(3)] == [False, False, True]
    assert tally.verdict is False


async def test_liveness_has_a_period_before_its_first_probe_and_ends_with_its_failure() -> None:
    one = Probed(Kind.LIVENESS, SUCCESS, BAD, verdict=True, period_seconds=10, failure_threshold=2)
    one.worker.start(0.0)
    await one.clock.to(100)
    assert one.times == [10, 20, 30]
    assert one.reached == [True, False]
    assert one.told == [BAD, BAD]


async def test_the_initial_delay_counts_from_the_start_of_the_container() -> None:
    one = Probed(Kind.LIVENESS, BAD, verdict=True, initial_delay_seconds=5, failure_threshold=1)
    one.worker.start(2.0)
    await one.clock.to(60)
    assert (one.times, one.reached) == ([3], [False])


async def test_readiness_is_looked_at_at_once_and_goes_on() -> None:
    one = Probed(Kind.READINESS, BAD, SUCCESS, BAD, verdict=False, failure_threshold=2)
    one.worker.start(0.0)
    await one.clock.to(35)
    assert one.times == [0, 10, 20, 30]
    assert one.reached == [True, False]


async def test_a_startup_probe_gives_the_time_that_its_thresholds_say() -> None:
    """failureThreshold * periodSeconds, though the first look comes at once."""
    one = Probed(Kind.STARTUP, BAD, period_seconds=10, failure_threshold=3)
    one.worker.start(0.0)
    await one.clock.to(29)
    assert (len(one.told), one.reached) == (3, [])
    await one.clock.to(60)
    assert (one.times, one.reached) == ([0, 10, 20, 30], [False])


async def test_a_startup_probe_ends_with_its_success() -> None:
    one = Probed(Kind.STARTUP, BAD, SUCCESS)
    one.worker.start(0.0)
    await one.clock.to(60)
    assert (one.times, one.reached) == ([0, 10], [True])


async def test_an_adopted_container_is_probed_after_a_part_of_a_period() -> None:
    one = Probed(Kind.READINESS, SUCCESS, verdict=True, period_seconds=20)
    one.worker.start(3600.0, jitter=0.25)
    await one.clock.to(30)
    assert one.times == [5, 25]


async def test_a_probe_that_takes_longer_than_its_period_keeps_the_beat() -> None:
    one = Probed(Kind.READINESS, SUCCESS, verdict=True, period_seconds=10)
    one.takes = [25.0]
    one.worker.start(0.0)
    await one.clock.to(40)
    assert one.times == [0, 25, 30, 40]


@pytest.mark.parametrize("kind", [Kind.LIVENESS, Kind.READINESS])
async def test_a_probe_that_cannot_be_done_is_tried_thrice_and_counts_for_nothing(kind: Kind) -> None:
    one = Probed(kind, errored("gone"), verdict=True, initial_delay_seconds=1, failure_threshold=1)
    one.worker.start(0.0)
    await one.clock.to(2)
    assert (one.times, one.told, one.reached) == ([1, 1, 1], [errored("gone")], [])


async def test_a_warning_is_told_and_counts_as_a_success() -> None:
    one = Probed(Kind.READINESS, Result(Outcome.WARNING, "moved"), verdict=False)
    one.worker.start(0.0)
    await one.clock.to(1)
    assert ([result.text for result in one.told], one.reached) == (["moved"], [True])


async def test_a_stopped_probe_says_nothing_any_more() -> None:
    one = Probed(Kind.LIVENESS, BAD, verdict=True, failure_threshold=1)
    one.worker.start(0.0)
    one.worker.stop()
    await one.worker.closed()
    await one.clock.to(100)
    assert (one.times, one.reached) == ([], [])
