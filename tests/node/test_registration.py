"""The node's own object: registered, kept, made again, and honest about its network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from podstead.node import info, registration
from podstead.objects.errors import StatusError
from support.fakenode import NODE, FakeNode, fake_node


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[FakeNode]:
    async with fake_node(tmp_path) as one:
        yield one


def _condition(node: dict[str, Any], kind: str = "Ready") -> dict[str, Any]:
    return next(one for one in node["status"].get("conditions") or ({"type": kind},) if one["type"] == kind)


async def test_a_first_start_registers_a_ready_node_and_says_so(node: FakeNode) -> None:
    async with node.running():
        obj = await node.client.get("nodes", NODE)
        assert (await node.event("Starting"))["message"] == "Starting kubelet."
        assert (await node.event("NodeReady"))["message"] == f"Node {NODE} status is now: NodeReady"
    assert _condition(obj)["status"] == "True"
    assert obj["metadata"]["labels"]["kubernetes.io/hostname"] == NODE
    assert obj["status"]["nodeInfo"]["containerRuntimeVersion"] == "fake://1.0"


async def test_a_network_that_fails_makes_it_not_ready_until_it_works(node: FakeNode) -> None:
    async with node.running(network=False):
        node.agent.network_failed("container runtime network not ready: no nft")
        await node.agent.ready.wait()
        obj = await node.client.get("nodes", NODE)
        assert (_condition(obj)["status"], _condition(obj)["reason"]) == ("False", "KubeletNotReady")
        assert _condition(obj)["message"] == "container runtime network not ready: no nft"
        node.agent.network_is_ready()
        await node.event("NodeReady")
        assert _condition(await node.client.get("nodes", NODE))["status"] == "True"


async def test_a_deleted_node_comes_back_and_its_pods_go_on(node: FakeNode) -> None:
    async with node.running():
        await node.create()
        pod = await node.running_pod()
        first = await node.client.get("nodes", NODE)
        await node.client.delete("nodes", NODE)
        second = await until_node(node, first["metadata"]["uid"])
        assert (await node.pod())["status"] == pod["status"]
    assert _condition(second)["status"] == "True"


async def until_node(node: FakeNode, not_uid: str) -> dict[str, Any]:
    listed = await node.client.list("nodes")
    for obj in listed.items:
        if obj["metadata"]["uid"] != not_uid:
            return obj
    async for event in node.client.watch("nodes", resource_version=listed.resource_version):
        if event.object["metadata"]["uid"] != not_uid:
            return event.object
    raise AssertionError


async def test_what_users_gave_the_node_outlives_a_restart(node: FakeNode) -> None:
    async with node.running():
        patch = {"metadata": {"labels": {"disk": "fast"}}, "spec": {"unschedulable": True}}
        await node.client.patch("nodes", NODE, "", patch)
        foreign = {"status": {"conditions": [{"type": "Custom", "status": "True"}]}}
        await node.client.patch("nodes", NODE, "", foreign, subresource="status")
    node.agent = node.new_agent()
    async with node.running():
        obj = await node.client.get("nodes", NODE)
    assert obj["metadata"]["labels"]["disk"] == "fast"
    assert obj["spec"]["unschedulable"] is True
    assert _condition(obj, "Custom")["status"] == "True"
    assert _condition(obj)["status"] == "True"


async def test_a_report_that_fails_is_tried_again_and_ends_nothing(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "_FIRST_RETRY", 0.01)
    real, failures = node.client.patch, [StatusError(500, "InternalError", "disk full"), ValueError("a fault")]

    async def failing(resource: str, *args: Any, **options: Any) -> Any:
        if resource == "nodes" and failures:
            raise failures.pop()
        return await real(resource, *args, **options)

    async with node.running():
        monkeypatch.setattr(node.client, "patch", failing)
        node.agent.network_failed("gone")
        await node.event("NodeNotReady")
        await node.create()
        await node.running_pod()
    assert failures == []


def test_what_is_reserved_for_the_machine_is_not_for_pods(tmp_path: Path) -> None:
    whole = info.capacity(tmp_path)
    left = info.allocatable(tmp_path, info.parse_reserved("cpu=500m,memory=1Ti"))
    assert left["cpu"] == f"{int(whole['cpu']) * 1000 - 500}m"
    assert (left["memory"], left["pods"]) == ("0", whole["pods"])
    for wrong in ("pods=1", "cpu=x", "cpu", "memory=-1"):
        with pytest.raises(ValueError):
            info.parse_reserved(wrong)
