"""Deletion: graceful for pods, held by finalizers, preconditions, namespaces, collections, evictions."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from podstead import clock
from podstead.objects.errors import StatusError
from podstead.objects.exchange import PatchType
from podstead.registry.client import RegistryClient
from podstead.registry.options import DeleteOptions, ListOptions, PatchRequest, RequestContext, WriteOptions
from podstead.registry.registry import Registry
from support.registry import make_map, make_pod


async def bound(client: RegistryClient, name: str = "p", **metadata: Any) -> dict[str, Any]:
    await client.create("pods", make_pod(name, **metadata), "default")
    await client.create_subresource("pods", name, "default", "binding", {"target": {"kind": "Node", "name": "n"}})
    return await client.get("pods", name, "default")


async def gone(client: RegistryClient, resource: str, name: str, namespace: str = "default") -> bool:
    try:
        await client.get(resource, name, namespace)
    except StatusError as error:
        return error.code == 404
    return False


def remaining(pod: dict[str, Any]) -> float:
    return (clock.parse(pod["metadata"]["deletionTimestamp"]) - clock.now()).total_seconds()


async def test_a_pod_without_node_goes_at_once(client: RegistryClient) -> None:
    await client.create("pods", make_pod(), "default")
    await client.delete("pods", "p", "default")
    assert await gone(client, "pods", "p")


async def test_a_running_pod_ends_gracefully(client: RegistryClient) -> None:
    await bound(client)
    pod = await client.delete("pods", "p", "default")
    metadata = pod["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == 30 and 27 < remaining(pod) <= 31
    assert metadata["generation"] == 2
    # The same again, or a longer time, changes nothing.
    assert await client.delete("pods", "p", "default") is pod
    assert await client.delete("pods", "p", "default", grace_period_seconds=60) is pod
    shorter = await client.delete("pods", "p", "default", grace_period_seconds=5)
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5 and 2 < remaining(shorter) <= 6
    # The node's word that it has ended.
    with pytest.raises(StatusError) as error:
        await client.delete("pods", "p", "default", grace_period_seconds=0, uid="another")
    assert error.value.code == 409
    await client.delete("pods", "p", "default", grace_period_seconds=0, uid=metadata["uid"])
    assert await gone(client, "pods", "p")


async def test_a_grace_period_beyond_all_time(client: RegistryClient) -> None:
    await bound(client)
    pod = await client.delete("pods", "p", "default", grace_period_seconds=2**62)
    assert pod["metadata"]["deletionTimestamp"] > "2100"
    assert remaining(await client.delete("pods", "p", "default", grace_period_seconds=3)) <= 4


async def test_a_pod_that_has_ended_goes_at_once(client: RegistryClient) -> None:
    await bound(client)
    await client.patch("pods", "p", "default", {"status": {"phase": "Succeeded"}}, subresource="status")
    await client.delete("pods", "p", "default")
    assert await gone(client, "pods", "p")


async def test_finalizers_hold_an_object(client: RegistryClient) -> None:
    await client.create("configmaps", make_map(finalizers=["example.com/hold"]))
    held = await client.delete("configmaps", "m", "default")
    assert held["metadata"]["deletionTimestamp"] and held["metadata"]["deletionGracePeriodSeconds"] == 0
    assert await client.delete("configmaps", "m", "default") is held
    with pytest.raises(StatusError, match="no new finalizers can be added"):
        await client.patch("configmaps", "m", "default", {"metadata": {"finalizers": ["example.com/more"]}})
    last = await client.patch("configmaps", "m", "default", {"metadata": {"finalizers": None}})
    assert "finalizers" not in last["metadata"]
    assert await gone(client, "configmaps", "m")


async def test_a_pod_with_a_finalizer_waits_for_both(client: RegistryClient) -> None:
    await bound(client, finalizers=["example.com/hold"])
    await client.delete("pods", "p", "default")
    # The finalizer goes first: the node has still to end the pod.
    await client.patch("pods", "p", "default", {"metadata": {"finalizers": None}})
    assert not await gone(client, "pods", "p")
    await client.delete("pods", "p", "default", grace_period_seconds=0)
    assert await gone(client, "pods", "p")
    await bound(client, "q", finalizers=["example.com/hold"])
    await client.delete("pods", "q", "default", grace_period_seconds=0)
    assert not await gone(client, "pods", "q")
    await client.patch("pods", "q", "default", {"metadata": {"finalizers": None}})
    assert await gone(client, "pods", "q")


async def test_the_answer_is_a_status_or_the_object(
    registry: Registry, client: RegistryClient, ctx: RequestContext
) -> None:
    made = await client.create("configmaps", make_map())
    answer = await registry.resources["configmaps"].delete(ctx, "default", "m")
    assert answer.object["kind"] == "Status" and answer.object["status"] == "Success"
    assert answer.object["details"] == {"name": "m", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    await client.create("pods", make_pod(), "default")
    assert (await registry.resources["pods"].delete(ctx, "default", "p")).object["kind"] == "Pod"


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (
            DeleteOptions(uid="x"),
            409,
            'Operation cannot be fulfilled on ConfigMap "m": the UID in the precondition (x) does not match the UID in '
            "record (",
        ),
        (
            DeleteOptions(resource_version="1"),
            409,
            "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (",
        ),
        (
            DeleteOptions(propagation_policy="Sideways"),
            422,
            'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Sideways": '
            'supported values: "Foreground", "Background", "Orphan", "nil"',
        ),
        (
            DeleteOptions(propagation_policy="Orphan", orphan_dependents=False),
            422,
            'propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set',
        ),
    ],
)
async def test_what_a_delete_refuses(
    registry: Registry, client: RegistryClient, ctx: RequestContext, options: DeleteOptions, code: int, text: str
) -> None:
    await client.create("configmaps", make_map())
    with pytest.raises(StatusError) as error:
        await registry.resources["configmaps"].delete(ctx, "default", "m", options)
    assert error.value.code == code and text in error.value.message
    assert not await gone(client, "configmaps", "m")


@pytest.mark.parametrize(
    ("options", "finalizers"),
    [
        (DeleteOptions(propagation_policy="Foreground"), ["example.com/hold", "foregroundDeletion"]),
        (DeleteOptions(propagation_policy="Orphan"), ["orphan", "example.com/hold"]),
        (DeleteOptions(propagation_policy="Background"), ["example.com/hold"]),
        (DeleteOptions(orphan_dependents=True), ["orphan", "example.com/hold"]),
        (DeleteOptions(orphan_dependents=False), ["example.com/hold"]),
        (DeleteOptions(), ["orphan", "example.com/hold"]),
    ],
)
async def test_what_becomes_of_dependents_is_written_as_a_finalizer(
    registry: Registry, client: RegistryClient, ctx: RequestContext, options: DeleteOptions, finalizers: list[str]
) -> None:
    await client.create("configmaps", make_map(finalizers=["orphan", "example.com/hold"]))
    entry = await registry.resources["configmaps"].delete(ctx, "default", "m", options)
    assert entry.object["metadata"]["finalizers"] == finalizers


async def test_a_second_delete_may_ask_for_another_policy(client: RegistryClient) -> None:
    await client.create("configmaps", make_map())
    first = await client.delete("configmaps", "m", "default", propagation_policy="Foreground")
    second = await client.delete("configmaps", "m", "default", propagation_policy="Orphan")
    assert second["metadata"]["finalizers"] == ["orphan"]
    assert second["metadata"]["deletionTimestamp"] == first["metadata"]["deletionTimestamp"]
    await client.delete("configmaps", "m", "default", propagation_policy="Background")
    assert await gone(client, "configmaps", "m")
    # A pod that still ends keeps the first one's.
    await bound(client)
    await client.delete("pods", "p", "default", propagation_policy="Foreground")
    pod = await client.delete("pods", "p", "default", propagation_policy="Orphan")
    assert pod["metadata"]["finalizers"] == ["foregroundDeletion"]


async def test_events_go_an_hour_after_they_happened_last(
    registry: Registry, client: RegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = clock.now()
    regarding = {"kind": "Pod", "name": "p", "namespace": "default"}
    for name in ("once", "counted", "series"):
        await client.create("events", {"metadata": {"name": name}, "involvedObject": regarding}, "default")
    later = clock.rfc3339(start + timedelta(minutes=50))
    await client.patch("events", "counted", "default", {"count": 2, "lastTimestamp": later})
    micro = clock.rfc3339_micro(start + timedelta(minutes=40))
    await client.patch("events", "series", "default", {"series": {"count": 2, "lastObservedTime": micro}})
    for minutes, left in ((59, 3), (61, 2), (101, 1), (111, 0)):
        with monkeypatch.context() as patched:
            patched.setattr(clock, "now", lambda minutes=minutes: start + timedelta(minutes=minutes))
            await registry.expire_events()
        assert len((await client.list("events")).items) == left


async def test_events_own_nothing(client: RegistryClient) -> None:
    event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}}
    await client.create("events", event, "default")
    await client.delete("events", "e", "default", propagation_policy="Foreground")
    assert await gone(client, "events", "e")


async def test_dry_run_deletes_nothing(registry: Registry, client: RegistryClient, ctx: RequestContext) -> None:
    await bound(client)
    before = registry.revision
    entry = await registry.resources["pods"].delete(ctx, "default", "p", DeleteOptions(dry_run=True))
    assert entry.object["metadata"]["deletionTimestamp"]
    assert registry.revision == before


async def test_no_verb_writes_anything_in_a_dry_run(
    registry: Registry, client: RegistryClient, ctx: RequestContext
) -> None:
    await client.create("pods", make_pod("q"), "default")
    await bound(client, finalizers=["example.com/hold"])
    await client.create("configmaps", make_map(labels={"a": "b"}))
    pods, maps = registry.resources["pods"], registry.resources["configmaps"]
    dry, gently = WriteOptions(dry_run=True), DeleteOptions(dry_run=True, propagation_policy="Foreground")
    before, pod = registry.revision, await client.get("pods", "p", "default")
    merge = PatchRequest(PatchType.MERGE, {"metadata": {"labels": {"x": "y"}}})
    done = PatchRequest(PatchType.MERGE, {"status": {"phase": "Succeeded"}})
    async with maps.watch("", ListOptions(resource_version=str(before))) as watch:
        await maps.create(ctx, "default", {"metadata": {"generateName": "n-"}}, dry)
        await maps.patch(ctx, "default", "m", merge, "", dry)
        changed = await maps.update(ctx, "default", "m", make_map(data={"a": "b"}), "", dry)
        assert changed.object["data"] == {"a": "b"}
        marked = await maps.delete(ctx, "default", "m", gently)
        assert marked.object["metadata"]["finalizers"] == ["foregroundDeletion"]
        await maps.delete_collection(ctx, "default", DeleteOptions(dry_run=True), ListOptions(label_selector="a=b"))
        patched = await pods.patch(ctx, "default", "p", done, "status", dry)
        assert patched.object["status"]["phase"] == "Succeeded"
        await pods.create_subresource(ctx, "default", "q", "binding", {"target": {"name": "n"}}, dry)
        await pods.create_subresource(ctx, "default", "p", "eviction", {"metadata": {"name": "p"}}, dry)
        inside = {"metadata": {"name": "p"}, "deleteOptions": {"dryRun": ["All"]}}
        await pods.create_subresource(ctx, "default", "p", "eviction", inside)
        inside = {"metadata": {"name": "p"}, "deleteOptions": {"dryRun": ["Some"]}}
        with pytest.raises(StatusError, match=r'dryRun: Unsupported value: \["Some"\]: supported values: "All"'):
            await pods.create_subresource(ctx, "default", "p", "eviction", inside)
        waiting = asyncio.create_task(watch.batch())
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
    assert registry.revision == before
    assert await client.get("pods", "p", "default") == pod


async def test_a_namespace_ends_when_it_is_finalized(client: RegistryClient) -> None:
    await client.create("namespaces", {"metadata": {"name": "n"}})
    await client.create("serviceaccounts", {"metadata": {"name": "default"}}, "n")
    namespace = await client.delete("namespaces", "n")
    assert namespace["status"]["phase"] == "Terminating" and namespace["metadata"]["deletionTimestamp"]
    with pytest.raises(StatusError) as error:
        await client.create("pods", make_pod(), "n")
    assert error.value.code == 403 and error.value.details is not None
    assert error.value.message == (
        'pods "p" is forbidden: unable to create new content in namespace n because it is being terminated'
    )
    assert error.value.details["causes"][0]["reason"] == "NamespaceTerminating"
    # Its finalizers are not an update's to change.
    after = await client.update("namespaces", {**namespace, "spec": {"finalizers": []}})
    assert after["spec"] == {"finalizers": ["kubernetes"]}
    await client.update("namespaces", {**after, "spec": {"finalizers": []}}, subresource="finalize")
    assert await gone(client, "namespaces", "n", "")


@pytest.mark.parametrize("name", ["default", "kube-system"])
async def test_system_namespaces_cannot_be_deleted(client: RegistryClient, name: str) -> None:
    with pytest.raises(StatusError) as error:
        await client.delete("namespaces", name)
    assert error.value.code == 403
    assert error.value.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'


async def test_delete_collection_takes_what_is_selected(
    registry: Registry, client: RegistryClient, ctx: RequestContext
) -> None:
    await asyncio.gather(
        *(client.create("configmaps", make_map(f"m{n}", labels={"odd": str(n % 2)})) for n in range(10))
    )
    maps = registry.resources["configmaps"]
    deleted = await maps.delete_collection(ctx, "default", DeleteOptions(), ListOptions(label_selector="odd=1"))
    assert [entry.name for entry in deleted.items] == ["m1", "m3", "m5", "m7", "m9"]
    assert [entry.name for entry in (await maps.list("default")).items] == ["m0", "m2", "m4", "m6", "m8"]


async def test_an_eviction_is_a_graceful_delete(client: RegistryClient) -> None:
    await bound(client)
    eviction = {"metadata": {"name": "p"}, "deleteOptions": {"gracePeriodSeconds": 7}}
    status = await client.create_subresource("pods", "p", "default", "eviction", eviction)
    assert status["status"] == "Success"
    assert (await client.get("pods", "p", "default"))["metadata"]["deletionGracePeriodSeconds"] == 7
    with pytest.raises(StatusError, match="name in URL does not match name in Eviction object"):
        await client.create_subresource("pods", "p", "default", "eviction", {"metadata": {"name": "q"}})


async def test_a_binding_gives_a_pod_its_node_once(client: RegistryClient) -> None:
    pod = await bound(client)
    assert pod["spec"]["nodeName"] == "n"
    condition = pod["status"]["conditions"][0]
    assert (condition["type"], condition["status"]) == ("PodScheduled", "True")
    assert condition["observedGeneration"] == pod["metadata"]["generation"] == 1
    with pytest.raises(StatusError) as error:
        await client.create_subresource("pods", "p", "default", "binding", {"target": {"name": "other"}})
    assert error.value.code == 409 and 'already assigned to node "n"' in error.value.message
    for target in ({}, {"kind": "Pod", "name": "x"}):
        await client.create("pods", make_pod("q"), "default")
        with pytest.raises(StatusError) as error:
            await client.create_subresource("pods", "q", "default", "binding", {"target": target})
        assert error.value.code == 422
        await client.delete("pods", "q", "default")
