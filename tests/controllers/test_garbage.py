"""Dependents go with their owners, or before them, or stay: as a delete asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from podstead.controllers.garbage import GarbageCollector
from podstead.objects.errors import StatusError
from podstead.registry.options import RequestContext
from podstead.registry.registry import Registry
from support.fakenode import gone
from support.registry import ADMIN, make_map, make_pod, open_registry, running

Object = dict[str, Any]


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    """One whose garbage is collected."""
    async with (
        open_registry(tmp_path / "state.db") as opened,
        running(GarbageCollector(opened.client(ADMIN)).run()),
    ):
        yield opened


@pytest.fixture
def client(registry: Registry) -> Any:
    return registry.client(ADMIN)


def owned_by(*owners: Object, block: bool = False) -> list[Object]:
    return [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": block,
        }
        for owner in owners
    ]


async def make(client: Any, name: str, *owners: Object, block: bool = False, **metadata: Any) -> Object:
    made: Object = await client.create(
        "configmaps", make_map(name, ownerReferences=owned_by(*owners, block=block), **metadata)
    )
    return made


async def until(client: Any, name: str, what: Any, resource: str = "configmaps") -> Object:
    """Return the object as soon as `what` holds for it."""
    async with asyncio.timeout(10):
        current: Object = await client.get(resource, name, "default")
        if what(current):
            return current
        version = current["metadata"]["resourceVersion"]
        async for event in client.watch(
            resource, "default", resource_version=version, field_selector=f"metadata.name={name}"
        ):
            if what(event.object):
                return dict(event.object)
    raise AssertionError


async def names(client: Any) -> list[str]:
    return [one["metadata"]["name"] for one in (await client.list("configmaps", "default")).items]


async def test_dependents_follow_their_owner_through_all_generations(client: Any) -> None:
    owner = await make(client, "owner")
    child = await make(client, "child", owner)
    await make(client, "grandchild", child)
    pod = make_pod(ownerReferences=owned_by(child))
    await client.create("pods", pod, "default")
    await make(client, "stranger")
    await client.delete("configmaps", "owner", "default")
    await gone(client, "configmaps", "grandchild")
    await gone(client, "pods", "p")
    assert await names(client) == ["stranger"]


async def test_one_owner_of_two_is_enough(client: Any) -> None:
    first, second = await make(client, "first"), await make(client, "second")
    await make(client, "child", first, second)
    await client.delete("configmaps", "first", "default")
    child = await until(client, "child", lambda one: len(one["metadata"]["ownerReferences"]) == 1)
    assert child["metadata"]["ownerReferences"][0]["name"] == "second"
    await client.delete("configmaps", "second", "default")
    await gone(client, "configmaps", "child")


async def test_in_the_foreground_dependents_that_block_go_first(client: Any) -> None:
    owner = await make(client, "owner")
    await make(client, "held", owner, block=True, finalizers=["example.com/hold"])
    await make(client, "other", owner, finalizers=["example.com/hold"])
    left = await client.delete("configmaps", "owner", "default", propagation_policy="Foreground")
    assert left["metadata"]["finalizers"] == ["foregroundDeletion"] and left["metadata"]["deletionTimestamp"]
    await until(client, "held", lambda one: one["metadata"].get("deletionTimestamp"))
    assert "owner" in await names(client)
    await client.patch("configmaps", "held", "default", {"metadata": {"finalizers": None}})
    await gone(client, "configmaps", "owner")
    # What does not block is deleted too, but not waited for.
    await until(client, "other", lambda one: one["metadata"].get("deletionTimestamp"))


async def test_orphans_stay_without_owner(client: Any) -> None:
    owner, other = await make(client, "owner"), await make(client, "other")
    await make(client, "alone", owner)
    await make(client, "shared", owner, other)
    left = await client.delete("configmaps", "owner", "default", propagation_policy="Orphan")
    assert left["metadata"]["finalizers"] == ["orphan"]
    await gone(client, "configmaps", "owner")
    assert "ownerReferences" not in (await client.get("configmaps", "alone", "default"))["metadata"]
    (reference,) = (await client.get("configmaps", "shared", "default"))["metadata"]["ownerReferences"]
    assert reference["name"] == "other"


async def test_an_owner_that_never_was(client: Any) -> None:
    owner = await make(client, "owner")
    impostor = {**owner, "metadata": {**owner["metadata"], "uid": "00000000-0000-0000-0000-000000000000"}}
    await make(client, "child", impostor)
    await gone(client, "configmaps", "child")
    unknown = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x", "uid": "1"}}
    await make(client, "kept", unknown)
    last = await make(client, "last", impostor)
    assert last
    await gone(client, "configmaps", "last")
    # Nothing is known of its owner's kind, so nothing follows.
    assert await names(client) == ["kept", "owner"]


async def event_about(client: Any, name: str, namespace: str) -> Object:
    async with asyncio.timeout(10):
        listed = await client.list("events", namespace)
        for event in listed.items:
            if event["involvedObject"]["name"] == name:
                return dict(event)
        async for event in client.watch("events", namespace, resource_version=listed.resource_version):
            if event.object["involvedObject"]["name"] == name:
                return dict(event.object)
    raise AssertionError


async def test_an_owner_in_another_namespace_is_none_and_an_event_says_so(client: Any) -> None:
    owner = await make(client, "owner")
    reference = owned_by(owner)
    child = await client.create("configmaps", make_map("child", namespace="kube-system", ownerReferences=reference))
    await gone(client, "configmaps", "child", "kube-system")
    event = await event_about(client, "child", "kube-system")
    uid = owner["metadata"]["uid"]
    assert (event["type"], event["reason"]) == ("Warning", "OwnerRefInvalidNamespace")
    assert event["involvedObject"]["uid"] == child["metadata"]["uid"]
    assert event["message"] == (
        f"ownerRef [v1/ConfigMap, namespace: kube-system, name: owner, uid: {uid}] does not exist in namespace "
        '"kube-system"'
    )


async def test_a_cluster_scoped_object_cannot_be_owned_from_a_namespace(client: Any) -> None:
    owner = await make(client, "owner")
    node = {"metadata": {"name": "n1", "ownerReferences": owned_by(owner)}}
    await client.create("nodes", node)
    event = await event_about(client, "n1", "default")
    assert event["reason"] == "OwnerRefInvalidNamespace"
    await client.delete("configmaps", "owner", "default")
    assert (await client.get("nodes", "n1"))["metadata"].get("deletionTimestamp") is None


async def test_a_cluster_scoped_owner(client: Any) -> None:
    node = await client.create("nodes", {"metadata": {"name": "n1"}})
    await make(client, "child", node)
    await client.delete("nodes", "n1")
    await gone(client, "configmaps", "child")


async def test_an_owner_may_be_named_in_another_version_than_it_is_stored_in(client: Any) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    scaler = {"metadata": {"name": "s"}, "spec": {"maxReplicas": 2, "scaleTargetRef": target}}
    made = await client.create("horizontalpodautoscalers.autoscaling", scaler, "default")
    await make(client, "child", {**made, "apiVersion": "autoscaling/v1"})
    await make(client, "other", {**made, "apiVersion": "autoscaling/v2"})
    await make(client, "stranger", {**made, "metadata": {"name": "s", "uid": "1"}})
    await gone(client, "configmaps", "stranger")
    assert await names(client) == ["child", "other"]
    await client.delete("horizontalpodautoscalers.autoscaling", "s", "default")
    await gone(client, "configmaps", "child")
    await gone(client, "configmaps", "other")


async def test_a_job_keeps_its_pods_unless_told_otherwise(registry: Registry, client: Any) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox:1"}]}}
    for name in ("kept", "cleared"):
        job = await client.create("jobs.batch", {"metadata": {"name": name}, "spec": {"template": template}}, "default")
        await client.create("pods", make_pod(name, ownerReferences=owned_by(job)), "default")
    context = RequestContext(ADMIN)
    await registry.resources["jobs.batch"].delete(context, "default", "kept")
    assert context.warnings == [
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or "
        "set propagationPolicy=Orphan to suppress this warning"
    ]
    await client.delete("jobs.batch", "cleared", "default", propagation_policy="Background")
    await gone(client, "jobs.batch", "kept")
    await gone(client, "pods", "cleared")
    assert "ownerReferences" not in (await client.get("pods", "kept", "default"))["metadata"]


async def test_a_circle_ends_in_the_foreground_and_in_the_background(client: Any) -> None:
    for policy in ("Foreground", "Background"):
        first = await make(client, "first")
        second = await make(client, "second", first, block=True)
        back = {"metadata": {"ownerReferences": owned_by(second, block=True)}}
        await client.patch("configmaps", "first", "default", back)
        await client.delete("configmaps", "first", "default", propagation_policy=policy)
        await gone(client, "configmaps", "first")
        await gone(client, "configmaps", "second")


async def test_a_dependent_added_while_its_owner_waits_goes_too(client: Any) -> None:
    owner = await make(client, "owner")
    await make(client, "held", owner, block=True, finalizers=["example.com/hold"])
    await client.delete("configmaps", "owner", "default", propagation_policy="Foreground")
    await make(client, "late", owner, block=True)
    await gone(client, "configmaps", "late")
    await client.patch("configmaps", "held", "default", {"metadata": {"ownerReferences": None, "finalizers": None}})
    await gone(client, "configmaps", "owner")


async def test_what_was_done_while_no_collector_ran(tmp_path: Path) -> None:
    async with open_registry(tmp_path / "state.db") as registry:
        client: Any = registry.client(ADMIN)
        owner = await make(client, "owner")
        await make(client, "child", owner)
        await client.delete("configmaps", "owner", "default")
        waiting = await make(client, "waiting")
        await make(client, "orphaned", waiting)
        await client.delete("configmaps", "waiting", "default", propagation_policy="Orphan")
        task = asyncio.create_task(GarbageCollector(client).run())
        try:
            await gone(client, "configmaps", "child")
            await gone(client, "configmaps", "waiting")
            assert await names(client) == ["orphaned"]
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_thousands_of_dependents_go_with_their_owner(client: Any) -> None:
    owner = await make(client, "owner")
    await asyncio.gather(*(make(client, f"m{number}", owner) for number in range(1500)))
    await client.delete("configmaps", "owner", "default")
    async with asyncio.timeout(30):
        last = client.watch("configmaps", "default", resource_version=owner["metadata"]["resourceVersion"])
        left = 1501
        while left:
            left -= (await anext(last)).type == "DELETED"
    assert await names(client) == []


async def test_references_are_validated(client: Any) -> None:
    owner = await make(client, "owner")
    (reference,) = owned_by(owner)
    for wrong, text in (
        ([{**reference, "apiVersion": "a/b/c"}], 'apiVersion: Invalid value: "a/b/c": version must not be empty'),
        ([{**reference, "uid": ""}], 'ownerReferences.uid: Invalid value: "": must not be empty'),
        ([{**reference, "kind": "Event"}], "/v1, Kind=Event is disallowed from being an owner"),
        ([{**reference, "controller": True}, {**reference, "uid": "2", "controller": True}], "Only one reference can"),
    ):
        with pytest.raises(StatusError) as error:
            await client.create("configmaps", make_map(ownerReferences=wrong))
        assert error.value.code == 422 and text in error.value.message
