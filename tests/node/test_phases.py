"""Phases of a pod's start: told once it has been seen Running, whichever of both is known first."""

from __future__ import annotations

import pytest

from podstead.metrics import Histogram
from podstead.node.phases import CREATED, RUNNING, SEEN, PodStarts


@pytest.mark.parametrize("last", [(RUNNING, SEEN), (SEEN, RUNNING)])
def test_a_start_counts_when_it_is_over(last: tuple[str, str]) -> None:
    durations = Histogram("x", "X.", ("phase",))
    starts = PodStarts(durations)
    starts.begin("u1")
    for phase in (CREATED, CREATED, last[0]):
        starts.mark("u1", phase)
    assert durations.series == {}
    starts.mark("u1", last[1])
    assert {labels[0]: sum(series.counts) for labels, series in durations.series.items()} == {
        CREATED: 1,
        RUNNING: 1,
        SEEN: 1,
    }
    starts.mark("u1", RUNNING)
    assert sum(durations.series[RUNNING,].counts) == 1


def test_what_never_ran_or_ran_before_counts_nowhere() -> None:
    durations = Histogram("x", "X.", ("phase",))
    starts = PodStarts(durations)
    starts.begin("u1")
    starts.forget("u1")
    for phase in (RUNNING, SEEN):
        starts.mark("u1", phase)
        starts.mark("u2", phase)
    assert durations.series == {}
