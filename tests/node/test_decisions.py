"""What is to be done with a container."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from podstead.node.decisions import Action, by_name, changed, decide, finished, initialization, restarts, superfluous
from podstead.node.runtime.base import ContainerState, ContainerStatus
from podstead.objects.pod import Pod, from_object


def _pod(policy: str, image: str = "i:1", *names: str) -> Pod:
    containers = [{"name": name, "image": image} for name in names or ("c",)]
    return from_object({"metadata": {"name": "p"}, "spec": {"restartPolicy": policy, "containers": containers}})


def _status(state: str, code: int = 0, attempt: int = 0, name: str = "c") -> ContainerStatus:
    now = datetime.now(UTC)
    return ContainerStatus(
        f"{name}{attempt}",
        "s",
        "u",
        name,
        attempt,
        ContainerState(state),
        "i:1",
        "abc",
        Path("/dev/null"),
        now,
        exit_code=code,
    )


@pytest.mark.parametrize(
    ("policy", "latest", "action"),
    [
        ("Always", None, Action.CREATE),
        ("Never", None, Action.CREATE),
        ("Always", _status("running"), Action.NONE),
        ("Always", _status("created"), Action.START),
        ("Always", _status("exited", 0), Action.RESTART),
        ("Always", _status("exited", 1), Action.RESTART),
        ("OnFailure", _status("exited", 0), Action.LEAVE),
        ("OnFailure", _status("exited", 1), Action.RESTART),
        ("Never", _status("exited", 0), Action.LEAVE),
        ("Never", _status("exited", 1), Action.LEAVE),
    ],
)
def test_restart_policy(policy: str, latest: ContainerStatus | None, action: Action) -> None:
    pod = _pod(policy)
    assert decide(pod, pod.spec.containers[0], latest) is action


def test_what_was_ended_for_another_image_is_made_again_whatever_the_policy() -> None:
    ended = _status("exited", 137)
    pod = _pod("Never")
    assert decide(pod, pod.spec.containers[0], ended, {"c0"}) is Action.CREATE
    assert not finished(_pod("Never"), {"c": [ended]}, {"c0"})


def test_a_pod_is_finished_when_all_its_containers_are() -> None:
    pod = _pod("Never", "i:1", "c", "d")
    assert not finished(pod, {"c": [_status("exited")]})
    assert not finished(pod, {"c": [_status("exited")], "d": [_status("running", name="d")]})
    assert finished(pod, {"c": [_status("exited")], "d": [_status("exited", 1, name="d")]})


def test_only_a_running_container_with_another_image_is_changed() -> None:
    assert [one.id for one in changed(_pod("Always", "i:2"), {"c": [_status("running")]})] == ["c0"]
    assert changed(_pod("Always", "i:1"), {"c": [_status("running")]}) == []
    assert changed(_pod("Always", "i:2"), {"c": [_status("exited")]}) == []
    assert changed(_pod("Always", "i:2"), {}) == []


def test_attempts_are_ordered_and_all_but_the_last_two_are_for_nobody() -> None:
    attempts = by_name([_status("exited", attempt=number) for number in (3, 1, 2, 0)])["c"]
    assert [one.attempt for one in attempts] == [0, 1, 2, 3]
    assert [one.attempt for one in superfluous(attempts)] == [0, 1]


def _init_pod(*policies: str, policy: str = "Always") -> Pod:
    """Init containers i0, i1 ...: of each its restartPolicy, empty for one that runs to its end."""
    init = [
        {"name": f"i{number}", "image": "i:1"} | ({"restartPolicy": own} if own else {})
        for number, own in enumerate(policies)
    ]
    spec = {"restartPolicy": policy, "initContainers": init, "containers": [{"name": "c", "image": "i:1"}]}
    return from_object({"metadata": {"name": "p"}, "spec": spec})


ENDED, BROKEN, RUNS, NONE = _status("exited"), _status("exited", 1), _status("running"), None


@pytest.mark.parametrize(
    ("policies", "states", "done", "actions"),
    [
        (("", ""), (NONE, NONE), False, {"i0": Action.CREATE}),
        (("", ""), (RUNS, NONE), False, {"i0": Action.NONE}),
        (("", ""), (ENDED, NONE), False, {"i1": Action.CREATE}),
        (("", ""), (BROKEN, NONE), False, {"i0": Action.RESTART}),
        (("", ""), (ENDED, BROKEN), False, {"i1": Action.RESTART}),
        (("", ""), (ENDED, ENDED), True, {}),
        (("Always", ""), (RUNS, NONE), False, {"i1": Action.CREATE}),
        (("Always", ""), (ENDED, RUNS), False, {"i0": Action.RESTART, "i1": Action.NONE}),
        (("Always", ""), (BROKEN, ENDED), True, {"i0": Action.RESTART}),
        (("Always", ""), (RUNS, ENDED), True, {"i0": Action.NONE}),
        (("", "Always"), (ENDED, RUNS), True, {}),
        (("", "Always"), (ENDED, ENDED), False, {"i1": Action.RESTART}),
        (("Never", ""), (BROKEN, NONE), False, {"i0": Action.LEAVE}),
    ],
)
def test_init_containers_have_their_turn_one_by_one(
    policies: tuple[str, ...], states: tuple[ContainerStatus | None, ...], done: bool, actions: dict[str, Action]
) -> None:
    attempts = {f"i{number}": [status] for number, status in enumerate(states) if status}
    found = initialization(_init_pod(*policies), attempts, "s")
    assert (found.done, found.actions) == (done, actions)


def test_the_next_waits_for_a_sidecar_to_have_started() -> None:
    attempts = {"i0": [_status("running", name="i0")]}
    found = initialization(_init_pod("Always", ""), attempts, "s", unstarted={"i00"})
    assert (found.done, found.actions) == (False, {"i0": Action.NONE})


def test_a_pod_that_has_begun_keeps_its_sidecars_alone() -> None:
    attempts = {"c": [RUNS], "i1": [BROKEN]}
    found = initialization(_init_pod("", "Always"), attempts, "s")
    assert (found.done, found.actions) == (True, {"i1": Action.RESTART})


def test_a_new_sandbox_is_initialized_anew() -> None:
    attempts = {"i0": [ENDED], "c": [RUNS]}
    found = initialization(_init_pod(""), attempts, "another")
    assert (found.done, found.actions) == (False, {"i0": Action.CREATE})


def test_a_pod_ends_with_an_init_container_that_failed_for_good() -> None:
    assert finished(_init_pod("", policy="Never"), {"i0": [BROKEN]})
    assert not finished(_init_pod("", policy="OnFailure"), {"i0": [BROKEN]})
    assert not finished(_init_pod("Always", policy="Never"), {"i0": [BROKEN]})


@pytest.mark.parametrize(
    ("own", "rules", "code", "again"),
    [
        ("Never", [], 1, False),
        ("OnFailure", [], 0, False),
        ("OnFailure", [], 1, True),
        ("Never", [("In", [42])], 42, True),
        ("Never", [("In", [42])], 1, False),
        ("Never", [("NotIn", [0, 42])], 1, True),
        ("Never", [("NotIn", [0, 42])], 42, False),
    ],
)
def test_a_containers_own_rules_come_before_its_policy_and_that_before_the_pods(
    own: str, rules: list[tuple[str, list[int]]], code: int, again: bool
) -> None:
    told = [{"action": "Restart", "exitCodes": {"operator": name, "values": values}} for name, values in rules]
    container = {"name": "c", "image": "i:1", "restartPolicy": own, "restartPolicyRules": told}
    pod = from_object({"metadata": {"name": "p"}, "spec": {"restartPolicy": "Always", "containers": [container]}})
    assert restarts(pod, pod.spec.containers[0], code) is again
