"""What is to be done with a container."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from podstead.node.decisions import Action, by_name, changed, decide, finished, superfluous
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
