"""Rates from two samples of what was used."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from podstead.node.runtime.base import ContainerState, ContainerStatus
from podstead.node.stats.kernel import Usage
from podstead.node.stats.sampler import Sample, _rates

NONE = Usage(cpu=0, memory=0, working_set=0, rss=0, cache=0, swap=0, page_faults=0, major_page_faults=0)
SECOND = 10**9


def status(id_: str, started: float) -> ContainerStatus:
    moment = datetime.fromtimestamp(started, UTC)
    return ContainerStatus(
        id=id_,
        sandbox_id="s",
        pod_uid="u",
        name=id_,
        attempt=0,
        state=ContainerState.RUNNING,
        image="i",
        image_id="i",
        log_path=Path("/dev/null"),
        created_at=moment,
        started_at=moment,
    )


def sample(at: float, node: int, **containers: int) -> Sample:
    """`node` and each container: nanoseconds used until then. `young` has started 2 s before."""
    statuses = [status(name, 1000 + at - 2 if name == "young" else 1000) for name in containers]
    used = {name: replace(NONE, cpu=cpu) for name, cpu in containers.items()}
    pod = replace(NONE, cpu=sum(containers.values()))
    return Sample(at, 1000 + at, replace(NONE, cpu=node), {"u": pod}, used, [], {"u": statuses})


def test_a_rate_is_what_was_used_between_two_samples() -> None:
    rates = _rates(sample(10, 5 * SECOND, old=SECOND), sample(20, 25 * SECOND, old=6 * SECOND))
    assert (rates.window, rates.node, rates.containers, rates.pods) == (
        10,
        2 * SECOND,
        {"old": SECOND // 2},
        {"u": SECOND // 2},
    )


def test_a_container_that_started_meanwhile_has_its_own_span() -> None:
    rates = _rates(sample(10, 0, old=0), sample(20, 0, old=0, young=SECOND))
    assert rates.containers == {"old": 0, "young": SECOND // 2}


def test_a_counter_that_went_back_is_no_use() -> None:
    assert _rates(sample(10, 9, old=9), sample(20, 5, old=5)).containers == {"old": 0}
