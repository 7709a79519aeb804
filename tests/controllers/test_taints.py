"""A taint with NoExecute ends pods: at once, later, or not at all."""

from __future__ import annotations

from typing import Any

from podstead import clock
from podstead.controllers.taints import TaintEviction
from podstead.registry.registry import Registry
from support.fakenode import gone, until
from support.registry import ADMIN, make_pod, running

TAINT = {"key": "k", "effect": "NoExecute"}


async def _pod(client: Any, name: str, *tolerations: dict[str, Any]) -> None:
    pod = make_pod(name)
    pod["spec"] |= {"nodeName": "n1", "tolerations": list(tolerations)}
    await client.create("pods", pod, "default")


async def _taint(client: Any, **more: str) -> None:
    await client.patch("nodes", "n1", "", {"spec": {"taints": [{**TAINT, **more}]}})


def _marked(pod: dict[str, Any]) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


async def test_who_does_not_tolerate_it_is_deleted(registry: Registry) -> None:
    client = registry.client(ADMIN)
    await client.create("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    await _pod(client, "weak")
    await _pod(client, "strong", {"key": "k", "operator": "Exists"})
    await _pod(client, "patient", {"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3600})
    async with running(TaintEviction(client).run()):
        await _taint(client)
        pod = await until(client, "pods", "weak", _marked)
        await until(client, "events", "", lambda one: one["message"] == "Marking for deletion Pod default/weak")
        for name in ("strong", "patient"):
            assert not _marked(await client.get("pods", name, "default"))
    (condition,) = [one for one in pod["status"]["conditions"] if one["type"] == "DisruptionTarget"]
    assert (condition["status"], condition["reason"]) == ("True", "DeletionByTaintManager")


async def test_the_seconds_count_from_the_taint(registry: Registry) -> None:
    client = registry.client(ADMIN)
    await client.create("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    await _pod(client, "p", {"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60})
    async with running(TaintEviction(client).run()):
        await _taint(client, timeAdded=clock.rfc3339(clock.now().replace(year=2020)))
        await until(client, "pods", "p", _marked)


async def test_one_that_is_over_in_time_ends_nothing(registry: Registry) -> None:
    client = registry.client(ADMIN)
    await client.create("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    await _pod(client, "p", {"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3600})
    await _pod(client, "other")
    async with running(TaintEviction(client).run()):
        await _taint(client)
        await until(client, "pods", "other", _marked)
        await client.patch("nodes", "n1", "", {"spec": {"taints": []}})
        await until(client, "events", "", lambda one: one["message"] == "Cancelling deletion of Pod default/p")
        assert not _marked(await client.get("pods", "p", "default"))


async def test_a_pod_that_comes_to_a_tainted_node_goes(registry: Registry) -> None:
    client = registry.client(ADMIN)
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {"taints": [TAINT]}}
    await client.create("nodes", node)
    async with running(TaintEviction(client).run()):
        await _pod(client, "late")
        await until(client, "pods", "late", _marked)
        await client.delete("pods", "late", "default", grace_period_seconds=0)
        await gone(client, "pods", "late")
