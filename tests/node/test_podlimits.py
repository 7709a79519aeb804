"""From requests and limits to the limits of a pod's cgroup and its OOM scores."""

from __future__ import annotations

from typing import Any

import pytest

from podstead.node.podlimits import oom_score_adj, pod_resources, tier
from podstead.node.runtime.base import Resources
from podstead.objects.pod import Pod, from_object, pod_requests

GI = 1 << 30


def _pod(*containers: dict[str, Any], init: list[dict[str, Any]] | None = None, **spec: Any) -> Pod:
    named = [{"name": f"c{number}", "resources": one} for number, one in enumerate(containers, 1)]
    first = [{"name": f"i{number}", **one} for number, one in enumerate(init or (), 1)]
    return from_object({"metadata": {"name": "p"}, "spec": {"containers": named, "initContainers": first, **spec}})


def _limits(cpu: str, memory: str) -> dict[str, Any]:
    return {"limits": {"cpu": cpu, "memory": memory}}


@pytest.mark.parametrize(
    ("pod", "group", "limits"),
    [
        (_pod({}), "besteffort", Resources(cpu_shares=2, pids_limit=9)),
        (
            _pod(_limits("500m", "1Gi"), _limits("250m", "1Gi")),
            "",
            Resources(768, 75_000, 100_000, 2 * GI, pids_limit=9),
        ),
        # One container without a limit: the pod has none either.
        (_pod(_limits("1", "1Gi"), {"requests": {"cpu": "1"}}), "burstable", Resources(2048, pids_limit=9)),
        (
            _pod({"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}),
            "burstable",
            Resources(102, memory_limit=GI, pids_limit=9),
        ),
        # The init container needs more than what runs after it.
        (
            _pod(_limits("1", "1Gi"), init=[{"resources": _limits("2", "3Gi")}]),
            "",
            Resources(2048, 200_000, 100_000, 3 * GI, pids_limit=9),
        ),
        # A sidecar is there beside the containers.
        (
            _pod(_limits("1", "1Gi"), init=[{"resources": _limits("1", "1Gi"), "restartPolicy": "Always"}]),
            "",
            Resources(2048, 200_000, 100_000, 2 * GI, pids_limit=9),
        ),
        # What the pod says of itself as a whole counts (KEP-2837).
        (_pod({}, {}, resources=_limits("1", "1Gi")), "", Resources(1024, 100_000, 100_000, GI, pids_limit=9)),
        (_pod({}, resources={"requests": {"cpu": "1"}}), "burstable", Resources(1024, pids_limit=9)),
    ],
)
def test_limits_of_the_pod(pod: Pod, group: str, limits: Resources) -> None:
    assert (tier(pod), pod_resources(pod, 9)) == (group, limits)


def test_a_pod_asks_for_what_it_says_as_a_whole() -> None:
    pod = _pod({"requests": {"cpu": "100m", "memory": "1Gi"}}, resources={"requests": {"cpu": "1"}})
    assert {name: amount.canonical() for name, amount in pod_requests(pod).items()} == {"cpu": "1", "memory": "1Gi"}


def test_who_ends_first_when_the_node_is_out_of_memory() -> None:
    def scores(pod: Pod) -> list[int]:
        return [oom_score_adj(pod, one, 4 * GI) for one in (*pod.spec.init_containers, *pod.spec.containers)]

    def asks(memory: str) -> dict[str, Any]:
        return {"requests": {"memory": memory}}

    assert scores(_pod({})) == [1000]
    assert scores(_pod(_limits("1", "1Gi"))) == [-997]
    assert scores(_pod(asks("1Gi"), {})) == [750, 999]
    assert scores(_pod({}, priority=2_000_001_000)) == [-997]
    sidecar = {"resources": {}, "restartPolicy": "Always"}
    assert scores(_pod(asks("1Gi"), init=[sidecar])) == [750, 750]
    assert scores(_pod({}, asks("1Gi"), resources=asks("3Gi"))) == [750, 500]
