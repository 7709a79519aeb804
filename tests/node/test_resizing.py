"""Containers get other resources while they run, and the API tells how far that has come (KEP-1287)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from podstead.node import resizing
from podstead.node.runtime.base import RuntimeFailure
from podstead.objects.exchange import PatchType
from support.fakenode import FakeNode, fake_node


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[FakeNode]:
    async with fake_node(tmp_path) as one:
        yield one


def _asks(cpu: str, memory: str = "64Mi") -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "1", "memory": "128Mi"}}


async def _resize(node: FakeNode, resources: dict[str, Any]) -> None:
    patch = {"spec": {"containers": [{"name": "c1", "resources": resources}]}}
    await node.client.patch("pods", "p", "default", patch, patch_type=PatchType.STRATEGIC, subresource="resize")


def _has(pod: dict[str, Any], cpu: str) -> bool:
    """Whether the container was granted and has this request."""
    (status,) = pod["status"]["containerStatuses"]
    return bool(status["allocatedResources"]["cpu"] == status["resources"]["requests"]["cpu"] == cpu)


def _condition(pod: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((one for one in pod["status"]["conditions"] if one["type"] == kind), {})


async def test_a_running_container_gets_more(node: FakeNode) -> None:
    async with node.running():
        await node.create("p", {"resources": _asks("100m")})
        assert _has(await node.running_pod(), "100m")
        await _resize(node, _asks("200m"))
        pod = await node.until(lambda pod: _has(pod, "200m") and not _condition(pod, "PodResizeInProgress"))
        await node.event("ResizeStarted", '"generation":2')
        await node.event("ResizeCompleted", '"requests":{"cpu":"200m"')
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    (limits,) = node.runtime.limits.values()
    assert limits.cpu_shares == 204
    (pod_limits,) = node.runtime.pod_limits.values()
    assert (pod_limits.cpu_shares, pod_limits.memory_limit) == (204, 128 << 20)


async def test_a_restart_where_the_container_wants_one(node: FakeNode) -> None:
    policy = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
    async with node.running():
        await node.create("p", {"resources": _asks("100m"), "resizePolicy": policy})
        await node.running_pod()
        await _resize(node, _asks("200m"))
        pod = await node.until(lambda pod: _has(pod, "200m") and pod["status"]["containerStatuses"][0]["restartCount"])
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
    assert node.runtime.limits == {}


async def test_what_the_node_does_not_have_is_pending(node: FakeNode) -> None:
    async with node.running():
        await node.create("p", {"resources": {"requests": {"cpu": "100m"}}})
        await node.running_pod()
        await _resize(node, {"requests": {"cpu": "10000"}})
        pod = await node.until(lambda pod: _condition(pod, "PodResizePending"))
        condition = _condition(pod, "PodResizePending")
        assert (condition["reason"], condition["observedGeneration"]) == ("Infeasible", 2)
        assert condition["message"].startswith("Node didn't have enough capacity: cpu, requested: 10000000")
        assert _has(pod, "100m")
        await _resize(node, {"requests": {"cpu": "150m"}})
        await node.until(lambda pod: _has(pod, "150m") and not _condition(pod, "PodResizePending"))


async def test_what_the_kernel_refuses_is_told_and_tried_again(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "_RETRY", 0.01)
    node.runtime.update_errors = [RuntimeFailure("attempting to set memory limit (1) below current usage (2)")]
    async with node.running():
        await node.create("p", {"resources": _asks("100m")})
        await node.running_pod()
        await _resize(node, _asks("200m"))
        await node.event("ResizeError", "below current usage")
        await node.until(lambda pod: _has(pod, "200m"))


async def test_a_new_server_knows_what_was_granted(node: FakeNode) -> None:
    """While none ran, the spec came to ask for more than there is: the container keeps what it has."""
    async with node.running():
        await node.create("p", {"resources": {"requests": {"cpu": "100m"}}})
        await node.running_pod()
    await _resize(node, {"requests": {"cpu": "10000"}})
    node.agent = node.new_agent()
    async with node.running():
        pod = await node.until(lambda pod: _condition(pod, "PodResizePending"))
        assert pod["status"]["phase"] == "Running"
        assert _has(pod, "100m")
