"""Pods find a node, or are told why not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from podstead.controllers.filters import Demand, misfits
from podstead.controllers.scheduler import Scheduler
from podstead.objects.errors import StatusError
from podstead.objects.placement import tolerates
from podstead.objects.pod import Toleration, from_object
from podstead.registry.admission.priority import CLASSES
from podstead.registry.registry import Registry
from support.fakenode import until
from support.registry import ADMIN, make_pod, running


def _node(name: str = "n1", *, ready: str = "True", pods: str = "110", cpu: str = "2", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"disk": "fast"}},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": cpu, "memory": "1Gi", "ephemeral-storage": "10Gi", "pods": pods},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def _pod(name: str = "p", requests: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    pod = make_pod(name)
    pod["spec"] |= spec
    if requests:
        pod["spec"]["containers"][0]["resources"] = {"requests": requests}
    return pod


def _unschedulable(pod: dict[str, Any]) -> str:
    for condition in pod["status"].get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            assert condition["reason"] == "Unschedulable"
            return str(condition["message"])
    return ""


def _bound(pod: dict[str, Any]) -> str:
    return pod["spec"].get("nodeName", "")


async def test_a_pod_is_bound_and_an_event_says_where(registry: Registry) -> None:
    client = registry.client(ADMIN)
    await client.create("nodes", _node())
    async with running(Scheduler(client).run()):
        await client.create("pods", _pod(), "default")
        pod = await until(client, "pods", "p", _bound)
        event = await until(client, "events", "", lambda one: one["reason"] == "Scheduled")
    assert pod["spec"]["nodeName"] == "n1"
    assert event["message"] == "Successfully assigned default/p to n1"


async def test_without_a_node_it_waits_and_is_bound_when_one_comes(registry: Registry) -> None:
    client = registry.client(ADMIN)
    async with running(Scheduler(client).run()):
        await client.create("pods", _pod(), "default")
        pod = await until(client, "pods", "p", _unschedulable)
        assert _unschedulable(pod) == "no nodes available to schedule pods"
        await until(client, "events", "", lambda one: one["reason"] == "FailedScheduling")
        await client.create("nodes", _node(ready="False"))
        await until(client, "pods", "p", lambda one: "1 node(s) were not ready" in _unschedulable(one))
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        await client.patch("nodes", "n1", "", ready, subresource="status")
        await until(client, "pods", "p", _bound)


async def test_a_toleration_added_to_a_waiting_pod_lets_it_run(registry: Registry) -> None:
    """Only nodes that changed made the scheduler look again."""
    client = registry.client(ADMIN)
    await client.create("nodes", _node(taints=[{"key": "own", "value": "me", "effect": "NoSchedule"}]))
    async with running(Scheduler(client).run()):
        await client.create("pods", _pod(), "default")
        pod = await until(client, "pods", "p", _unschedulable)
        assert "untolerated taint" in _unschedulable(pod)
        tolerations = [*pod["spec"].get("tolerations", ()), {"key": "own", "operator": "Exists"}]
        await client.patch("pods", "p", "default", {"spec": {"tolerations": tolerations}})
        await until(client, "pods", "p", _bound)


async def test_of_the_pods_that_wait_the_highest_priority_is_first(registry: Registry) -> None:
    client = registry.client(ADMIN)
    await client.create(CLASSES, {"metadata": {"name": "high"}, "value": 1000})
    for name, priority in (("a", None), ("b", None), ("c", "high")):
        await client.create("pods", _pod(name, **({"priorityClassName": priority} if priority else {})), "default")
    async with running(Scheduler(client).run()):
        for name in "abc":
            await until(client, "pods", name, _unschedulable)
        await client.create("nodes", _node(pods="1"))
        await until(client, "pods", "c", _bound)
        await until(client, "pods", "a", lambda one: "Too many pods" in _unschedulable(one))
        # Room for one more: of equals it is the one that came first.
        await client.patch("nodes", "n1", "", {"status": {"allocatable": {"pods": "2"}}}, subresource="status")
        await until(client, "pods", "a", _bound)


async def test_what_a_resize_gives_back_others_get(registry: Registry) -> None:
    client = registry.client(ADMIN)
    await client.create("nodes", _node(cpu="1"))
    async with running(Scheduler(client).run()):
        await client.create("pods", _pod("a", {"cpu": "900m"}), "default")
        await until(client, "pods", "a", _bound)
        await client.create("pods", _pod("b", {"cpu": "500m"}), "default")
        await until(client, "pods", "b", _unschedulable)
        smaller = [{"name": "c", "resources": {"requests": {"cpu": "300m"}}}]
        await client.patch("pods", "a", "default", {"spec": {"containers": smaller}}, subresource="resize")
        await until(client, "pods", "b", _bound)


async def test_room_is_given_out_once_and_comes_back(registry: Registry) -> None:
    client = registry.client(ADMIN)
    await client.create("nodes", _node(cpu="1"))
    async with running(Scheduler(client).run()):
        await client.create("pods", _pod("first", {"cpu": "600m"}), "default")
        await until(client, "pods", "first", _bound)
        await client.create("pods", _pod("second", {"cpu": "600m"}), "default")
        pod = await until(client, "pods", "second", _unschedulable)
        assert _unschedulable(pod) == "0/1 nodes are available: 1 Insufficient cpu."
        await client.patch("pods", "first", "default", {"status": {"phase": "Succeeded"}}, subresource="status")
        await until(client, "pods", "second", _bound)


async def test_a_bind_that_fails_backs_off_and_leaks_no_room(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was tried again at once, without end."""
    client = registry.client(ADMIN)
    await client.create("nodes", _node(pods="1"))
    real, failures, tries = client.create_subresource, [StatusError(500, "InternalError", "disk full")] * 2, []

    async def failing(*args: Any) -> Any:
        tries.append(asyncio.get_running_loop().time())
        if failures:
            raise failures.pop()
        return await real(*args)

    monkeypatch.setattr(client, "create_subresource", failing)
    async with running(Scheduler(client).run()):
        await client.create("pods", _pod(), "default")
        await until(client, "pods", "p", _bound)
    assert len(tries) == 3
    assert tries[1] - tries[0] >= 0.04
    assert tries[2] - tries[1] >= 0.08


async def test_others_pods_are_left_alone(registry: Registry) -> None:
    client = registry.client(ADMIN)
    await client.create("nodes", _node())
    async with running(Scheduler(client).run()):
        await client.create("pods", _pod("theirs", schedulerName="other"), "default")
        await client.create("pods", _pod("elsewhere", nodeName="n9"), "default")
        await client.create("pods", _pod("ours"), "default")
        await until(client, "pods", "ours", _bound)
        assert _bound(await client.get("pods", "theirs", "default")) == ""
        assert _bound(await client.get("pods", "elsewhere", "default")) == "n9"


async def test_the_emptier_node_is_taken(registry: Registry) -> None:
    client = registry.client(ADMIN)
    for name in ("n1", "n2"):
        await client.create("nodes", _node(name))
    async with running(Scheduler(client).run()):
        for name in ("a", "b"):
            await client.create("pods", _pod(name), "default")
        nodes = {_bound(await until(client, "pods", name, _bound)) for name in ("a", "b")}
    assert nodes == {"n1", "n2"}


@pytest.mark.parametrize(
    ("node", "spec", "why"),
    [
        (_node(), {}, None),
        (_node(unschedulable=True), {}, "node(s) were unschedulable"),
        (_node(ready="Unknown"), {}, "node(s) were not ready"),
        (_node(), {"nodeSelector": {"disk": "slow"}}, "node(s) didn't match Pod's node affinity/selector"),
        (_node(), {"nodeSelector": {"disk": "fast"}}, None),
        (_node(pods="0"), {}, "Too many pods"),
        (_node(taints=[{"key": "k", "effect": "PreferNoSchedule"}]), {}, None),
    ],
)
def test_filters(node: dict[str, Any], spec: dict[str, Any], why: str | None) -> None:
    pod = from_object(_pod(**spec))
    assert misfits(pod, Demand.of(pod), node, {}) == ([] if why is None else [why])


@pytest.mark.parametrize(
    ("toleration", "holds"),
    [
        (Toleration(operator="Exists"), True),
        (Toleration(key="k", operator="Exists"), True),
        (Toleration(key="k", value="v"), True),
        (Toleration(key="k", value="v", effect="NoSchedule"), True),
        (Toleration(key="k", value="v", effect="NoExecute"), False),
        (Toleration(key="k", value="w"), False),
        (Toleration(key="j", operator="Exists"), False),
    ],
)
def test_tolerations(toleration: Toleration, holds: bool) -> None:
    assert tolerates([toleration], {"key": "k", "value": "v", "effect": "NoSchedule"}) is holds


async def test_two_pods_do_not_get_the_same_port_of_a_node(registry: Registry) -> None:
    client = registry.client(ADMIN)
    await client.create("nodes", _node())

    def asks(name: str) -> dict[str, Any]:
        pod = _pod(name)
        pod["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": 80}]
        return pod

    async with running(Scheduler(client).run()):
        await client.create("pods", asks("first"), "default")
        await until(client, "pods", "first", lambda pod: pod["spec"].get("nodeName"))
        await client.create("pods", asks("second"), "default")
        pod = await until(client, "pods", "second", lambda pod: pod["status"].get("conditions"))
        message = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
        assert pod["status"]["conditions"][0]["message"] == message
        await client.delete("pods", "first", "default", grace_period_seconds=0)
        await until(client, "pods", "second", lambda pod: pod["spec"].get("nodeName"))


def test_the_overhead_of_a_runtime_class_counts() -> None:
    pod = from_object(_pod(requests={"cpu": "1"}, overhead={"cpu": "250m"}))
    assert Demand.of(pod).amounts["cpu"] == 1250
