"""A pod's status as a pure function of its spec and its containers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from podstead.node.runtime.base import ContainerState, ContainerStatus
from podstead.node.status import Facts, Waiting, merged, pod_status
from podstead.objects.pod import Pod, from_object

SEEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _pod(*names: str, policy: str = "Always", generation: int = 1) -> Pod:
    containers = [{"name": name, "image": "i:1"} for name in names or ("c",)]
    meta = {"name": "p", "namespace": "default", "uid": "u", "generation": generation}
    return from_object({"metadata": meta, "spec": {"containers": containers, "restartPolicy": policy}})


def _attempt(name: str = "c", state: str = "running", number: int = 0, code: int = 0, **more: Any) -> ContainerStatus:
    return ContainerStatus(
        id=f"{name}{number}",
        sandbox_id="s",
        pod_uid="u",
        name=name,
        attempt=number,
        state=ContainerState(state),
        image="i:1",
        image_id="abc",
        log_path=Path("/dev/null"),
        created_at=SEEN,
        started_at=SEEN,
        finished_at=SEEN if state == "exited" else None,
        exit_code=code,
        **more,
    )


def _status(pod: Pod, *attempts: ContainerStatus, old: dict[str, Any] | None = None, **facts: Any) -> dict[str, Any]:
    by_name: dict[str, list[ContainerStatus]] = {}
    for attempt in attempts:
        by_name.setdefault(attempt.name, []).append(attempt)
    return pod_status(pod, old or {}, Facts("192.0.2.1", SEEN, containers=by_name, **facts), "podstead")


def _conditions(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["type"]: one for one in status["conditions"]}


RUNNING, GOOD, BAD = _attempt(), _attempt(state="exited"), _attempt(state="exited", code=1)


@pytest.mark.parametrize(
    ("policy", "attempt", "terminating", "phase"),
    [
        ("Always", None, False, "Pending"),
        ("Always", RUNNING, False, "Running"),
        ("Always", GOOD, False, "Running"),
        ("Always", BAD, False, "Running"),
        ("Always", GOOD, True, "Succeeded"),
        ("Always", BAD, True, "Failed"),
        ("Never", GOOD, False, "Succeeded"),
        ("Never", BAD, False, "Failed"),
        ("OnFailure", GOOD, False, "Succeeded"),
        ("OnFailure", BAD, False, "Running"),
        ("Never", None, True, "Failed"),
    ],
)
def test_phase(policy: str, attempt: ContainerStatus | None, terminating: bool, phase: str) -> None:
    attempts = [attempt] if attempt else []
    assert _status(_pod(policy=policy), *attempts, terminating=terminating)["phase"] == phase


def test_one_container_that_is_not_there_yet_keeps_the_pod_pending() -> None:
    status = _status(_pod("c", "d"), _attempt("c"))
    assert status["phase"] == "Pending"
    ready = _conditions(status)["Ready"]
    assert (ready["reason"], ready["message"]) == ("ContainersNotReady", "containers with unready status: [d]")


def test_a_terminal_phase_stays() -> None:
    assert _status(_pod(), RUNNING, old={"phase": "Failed"})["phase"] == "Failed"


def test_a_container_between_two_runs_waits_and_remembers_the_last() -> None:
    waiting = {"c": Waiting("CrashLoopBackOff", "back-off 10s")}
    (container,) = _status(_pod(), _attempt(state="exited", number=2, code=7), waiting=waiting)["containerStatuses"]
    assert container["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert container["lastState"]["terminated"]["exitCode"] == 7
    assert (container["restartCount"], container["ready"], container["started"]) == (2, False, False)


def test_a_running_container_shows_the_run_before() -> None:
    first, second = _attempt(state="exited", code=137, reason="OOMKilled"), _attempt(number=1)
    (container,) = _status(_pod(), first, second)["containerStatuses"]
    assert container["lastState"]["terminated"]["reason"] == "OOMKilled"
    assert container["containerID"] == "podstead://c1"


def test_a_pod_that_ends_before_its_container_was_made() -> None:
    (container,) = _status(_pod(), terminating=True)["containerStatuses"]
    assert container["state"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert container["state"]["terminated"]["exitCode"] == 137


def test_a_container_that_was_told_as_ended_stays_so_when_its_record_is_lost() -> None:
    old = _status(_pod(policy="Never"), BAD)
    new = _status(_pod(policy="Never"), old=old, terminating=True)
    assert new["containerStatuses"] == old["containerStatuses"]


def test_conditions_carry_the_generation_and_keep_their_times() -> None:
    old = _status(_pod(), RUNNING)
    for condition in old["conditions"]:
        condition["lastTransitionTime"] = "2020-01-01T00:00:00Z"
    new = _status(_pod(generation=4), GOOD, old=old, sandbox_ready=True)
    conditions = _conditions(new)
    assert new["observedGeneration"] == 4
    assert {one["observedGeneration"] for one in conditions.values()} == {4}
    assert conditions["Initialized"]["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    assert conditions["Ready"]["lastTransitionTime"] != "2020-01-01T00:00:00Z"


def test_a_pod_that_failed_as_a_whole() -> None:
    status = _status(_pod(), GOOD, terminating=True, failure=("DeadlineExceeded", "too long"))
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "DeadlineExceeded", "too long")


def test_start_time_is_when_the_node_saw_it_and_stays() -> None:
    assert _status(_pod())["startTime"] == "2026-01-02T03:04:05Z"
    assert _status(_pod(), old={"startTime": "2025-01-01T00:00:00Z"})["startTime"] == "2025-01-01T00:00:00Z"


def test_what_others_wrote_is_kept() -> None:
    own = _status(_pod(), RUNNING)
    gate = {"type": "example.com/gate", "status": "True"}
    present = {"nominatedNodeName": "n", "conditions": [gate, {"type": "Ready", "status": "False"}], "reason": "old"}
    written = merged(own, present)
    assert written["nominatedNodeName"] == "n"
    assert [one["type"] for one in written["conditions"]][-1] == "example.com/gate"
    assert _conditions(written)["Ready"]["status"] == "True"
    assert "reason" not in written


def test_an_end_that_somebody_declared_is_kept() -> None:
    written = merged(_status(_pod(), RUNNING), {"phase": "Failed", "reason": "Evicted", "message": "disk"})
    assert (written["phase"], written["reason"], written["message"]) == ("Failed", "Evicted", "disk")


def _init_pod(*policies: str, policy: str = "Always") -> Pod:
    init = [{"name": f"i{number}", "image": "i:1", "restartPolicy": own} for number, own in enumerate(policies)]
    spec = {"containers": [{"name": "c", "image": "i:1"}], "initContainers": init, "restartPolicy": policy}
    return from_object({"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": spec})


def test_while_it_is_initialized_a_pod_says_what_is_missing() -> None:
    status = _status(_init_pod("", ""), _attempt("i0", "exited"), _attempt("i1"))
    assert status["phase"] == "Pending"
    initialized = _conditions(status)["Initialized"]
    assert (initialized["status"], initialized["reason"]) == ("False", "ContainersNotInitialized")
    assert initialized["message"] == "containers with incomplete status: [i1]"
    assert [one["ready"] for one in status["initContainerStatuses"]] == [True, False]
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}


def test_an_init_container_that_failed_for_good_fails_the_pod_whose_containers_never_ran() -> None:
    status = _status(_init_pod("", "", policy="Never"), _attempt("i0", "exited", code=3), terminating=True)
    assert status["phase"] == "Failed"
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert status["initContainerStatuses"][1]["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert _conditions(status)["Initialized"]["message"] == "containers with incomplete status: [i0 i1]"


def test_a_sidecar_that_has_not_started_keeps_the_pod_pending_only_before_its_containers_run() -> None:
    pod, sidecar = _init_pod("Always"), _attempt("i0")
    assert _status(pod, sidecar, unstarted={"i00"})["phase"] == "Pending"
    status = _status(pod, sidecar, _attempt("c"), unstarted={"i00"})
    assert status["phase"] == "Running"
    assert _conditions(status)["Initialized"]["status"] == "True"
    assert _conditions(status)["Ready"]["message"] == "containers with unready status: [i0]"


def test_a_pod_succeeds_whatever_its_sidecars_end_with() -> None:
    pod, ended = _init_pod("Always", policy="Never"), _attempt("c", "exited")
    assert _status(pod, _attempt("i0"), ended)["phase"] == "Running"
    assert _status(pod, _attempt("i0", "exited", code=137), ended, terminating=True)["phase"] == "Succeeded"


def test_a_container_is_being_created_until_its_hook_has_ended() -> None:
    status = _status(_pod(), RUNNING, in_post_start={"c0"})
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert status["phase"] == "Pending"


def test_termination_messages_share_twelve_kilobytes() -> None:
    pod = _pod(*"abcdef")
    status = _status(pod, _attempt("a", "exited", message="x" * 4096))
    assert len(status["containerStatuses"][0]["state"]["terminated"]["message"]) == 2048
