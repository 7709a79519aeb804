"""A node lets in what it can hold, and says why not in the kubelet's words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from podstead.node.room import NodeRoom
from podstead.objects.pod import Pod, from_object
from support.fakenode import FakeNode, fake_node

ALLOCATABLE = {"cpu": "2", "memory": "1Gi", "ephemeral-storage": "10Gi", "pods": "3"}


def _pod(uid: str, cpu: str = "", **spec: Any) -> Pod:
    resources = {"requests": {"cpu": cpu}} if cpu else {}
    containers = [{"name": "c", "resources": resources}]
    return from_object({"metadata": {"name": uid, "uid": uid}, "spec": {"containers": containers, **spec}})


def _room(**node: Any) -> NodeRoom:
    return NodeRoom(lambda: ALLOCATABLE, lambda: {"metadata": {"name": "n", "labels": {"a": "b"}}, **node})


def test_what_does_not_fit_is_told_with_amounts() -> None:
    room = _room()
    assert room.admit(_pod("u1", "1500m")) is None
    text = "Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000"
    assert room.admit(_pod("u2", "600m")) == ("OutOfcpu", text)
    room.release("u1")
    assert room.admit(_pod("u2", "600m")) is None


def test_a_node_has_so_many_pods() -> None:
    room = _room()
    assert [room.admit(_pod(f"u{number}")) for number in range(3)] == [None] * 3
    text = "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"
    assert room.admit(_pod("u3")) == ("OutOfpods", text)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"nodeSelector": {"a": "c"}}, "NodeAffinity"),
        ({"nodeSelector": {"a": "b"}}, None),
        ({"tolerations": [{"key": "k", "operator": "Exists"}]}, None),
    ],
)
def test_a_pod_that_nobody_placed_must_fit_the_node(spec: dict[str, Any], reason: str | None) -> None:
    failure = _room().admit(_pod("u", **spec))
    assert (failure and failure[0]) == reason


def test_only_taints_that_end_pods_keep_one_out() -> None:
    hard = {"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}}
    assert (_room(**hard).admit(_pod("u")) or ("",))[0] == "TaintToleration"
    assert _room(spec={"taints": [{"key": "k", "effect": "NoSchedule"}]}).admit(_pod("u")) is None


def test_a_resize_waits_for_room_or_has_none_ever() -> None:
    room, woken = _room(), []
    for uid in ("u1", "u2"):
        assert room.admit(_pod(uid, "1")) is None
    text = "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000"
    assert room.resize(_pod("u1", "3"), lambda: None) == ("Infeasible", text)
    deferred = room.resize(_pod("u1", "1500m"), lambda: woken.append("u1"))
    text = "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"
    assert deferred == ("Deferred", text)
    assert room.resize(_pod("u2", "200m"), lambda: None) is None
    assert woken == ["u1"]
    assert room.resize(_pod("u1", "1500m"), lambda: None) is None


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[FakeNode]:
    async with fake_node(tmp_path) as one:
        yield one


async def test_a_pod_that_is_refused_fails_and_nothing_of_it_is_made(node: FakeNode) -> None:
    async with node.running():
        await node.create("p", {"resources": {"requests": {"cpu": "10000"}}})
        pod = await node.until(lambda pod: pod["status"]["phase"] == "Failed")
        await node.event("OutOfcpu", "Node didn't have enough resource: cpu, requested: 10000000, used: 0")
        status = pod["status"]
        assert status["reason"] == "OutOfcpu"
        assert status["message"].startswith("Pod was rejected: Node didn't have enough resource: cpu")
        assert "containerStatuses" not in status
        await node.client.delete("pods", "p", "default")
        await node.gone()
    assert node.runtime.order == []
