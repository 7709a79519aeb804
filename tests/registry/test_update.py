"""Updates and patches: optimistic concurrency, what each part may change, writes that change nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from podstead.objects.errors import MODIFIED, StatusError
from podstead.objects.exchange import PatchType
from podstead.registry.client import RegistryClient
from podstead.registry.options import PatchRequest, RequestContext
from podstead.registry.registry import Registry
from support.registry import make_map, make_pod


async def test_an_update_of_a_stale_copy_is_409(client: RegistryClient) -> None:
    first = await client.create("configmaps", make_map())
    await client.update("configmaps", {**first, "data": {"a": "1"}})
    with pytest.raises(StatusError) as error:
        await client.update("configmaps", {**first, "data": {"a": "2"}})
    assert (error.value.code, error.value.reason) == (409, "Conflict")
    assert error.value.message == f'Operation cannot be fulfilled on configmaps "m": {MODIFIED}'


async def test_of_updates_of_one_copy_one_wins(client: RegistryClient) -> None:
    first = await client.create("configmaps", make_map())
    outcomes = await asyncio.gather(
        *(client.update("configmaps", {**first, "data": {"n": str(n)}}) for n in range(20)), return_exceptions=True
    )
    assert sum(isinstance(outcome, dict) for outcome in outcomes) == 1
    assert {outcome.code for outcome in outcomes if isinstance(outcome, StatusError)} == {409}


async def test_an_update_without_revision_replaces_what_is_there(client: RegistryClient) -> None:
    first = await client.create("configmaps", make_map())
    updates = [client.update("configmaps", make_map(data={"n": str(n)})) for n in range(10)]
    results = await asyncio.gather(*updates)
    assert len({result["metadata"]["resourceVersion"] for result in results}) == 10
    assert {result["metadata"]["uid"] for result in results} == {first["metadata"]["uid"]}
    assert {result["metadata"]["creationTimestamp"] for result in results} == {first["metadata"]["creationTimestamp"]}


async def test_writing_what_is_there_writes_nothing(registry: Registry, client: RegistryClient) -> None:
    first = await client.create("pods", make_pod(labels={"a": "b"}), "default")
    before = registry.revision
    assert await client.update("pods", first) is first
    assert await client.patch("pods", "p", "default", {"metadata": {"labels": {"a": "b"}}}) is first
    assert registry.revision == before


async def test_concurrent_patches_all_take_effect(client: RegistryClient) -> None:
    await client.create("configmaps", make_map())
    await asyncio.gather(*(client.patch("configmaps", "m", "default", {"data": {f"k{n}": "x"}}) for n in range(12)))
    assert len((await client.get("configmaps", "m", "default"))["data"]) == 12


async def test_a_patch_with_a_revision_is_not_retried(client: RegistryClient) -> None:
    first = await client.create("configmaps", make_map())
    version = first["metadata"]["resourceVersion"]
    patch: dict[str, Any] = {"metadata": {"resourceVersion": version}, "data": {"a": "1"}}
    await client.patch("configmaps", "m", "default", patch)
    with pytest.raises(StatusError, match="has been modified"):
        await client.patch("configmaps", "m", "default", {**patch, "data": {"a": "2"}})


async def test_json_patch_and_what_it_refuses(registry: Registry, client: RegistryClient, ctx: RequestContext) -> None:
    await client.create("configmaps", make_map(data={"a": "1"}))
    operations = [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "replace", "path": "/data/a", "value": "2"}]
    after = await client.patch("configmaps", "m", "default", operations, patch_type=PatchType.JSON)
    assert after["data"] == {"a": "2"}
    with pytest.raises(StatusError) as error:
        await client.patch("configmaps", "m", "default", operations, patch_type=PatchType.JSON)
    assert error.value.code == 422
    maps = registry.resources["configmaps"]
    with pytest.raises(StatusError) as error:
        await maps.patch(ctx, "default", "m", PatchRequest("application/strategic-merge-patch+json", b"{}"))
    assert error.value.code == 415 and "application/merge-patch+json" in error.value.message
    with pytest.raises(StatusError) as error:
        await maps.patch(ctx, "default", "m", PatchRequest(PatchType.MERGE, b'{"data": '))
    assert error.value.code == 400
    for body in (b'{"metadata": null}', b'{"metadata": {"name": "other"}}', b'{"metadata": {"namespace": "x"}}'):
        with pytest.raises(StatusError) as error:
            await maps.patch(ctx, "default", "m", PatchRequest(PatchType.MERGE, body))
        assert error.value.code == 400, body


async def test_status_and_spec_are_written_apart(client: RegistryClient) -> None:
    node = await client.create("nodes", {"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "2"}}})
    assert node["status"]["capacity"] == {"cpu": "2"}
    changed = {**node, "spec": {"unschedulable": True}, "status": {"capacity": {"cpu": "9"}}}
    after = await client.update("nodes", changed)
    assert after["spec"] == {"unschedulable": True} and after["status"]["capacity"] == {"cpu": "2"}
    changed = {**after, "spec": {}, "status": {"capacity": {"cpu": "9"}}}
    after = await client.update("nodes", changed, subresource="status")
    assert after["spec"] == {"unschedulable": True} and after["status"]["capacity"] == {"cpu": "9"}


async def test_a_pods_status_may_carry_labels_but_no_spec(client: RegistryClient) -> None:
    pod = await client.create("pods", make_pod(), "default")
    patch = {"metadata": {"labels": {"a": "b"}}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}}
    after = await client.patch("pods", "p", "default", patch, subresource="status")
    assert after["metadata"]["labels"] == {"a": "b"} and after["spec"] == pod["spec"]
    assert after["status"] == {"phase": "Running", "qosClass": "BestEffort"}
    assert after["metadata"]["generation"] == 1


async def test_generation_follows_the_spec(client: RegistryClient) -> None:
    await client.create("pods", make_pod(), "default")
    after = await client.patch("pods", "p", "default", {"metadata": {"labels": {"a": "b"}}})
    assert after["metadata"]["generation"] == 1
    image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "busybox:2"}]
    after = await client.patch("pods", "p", "default", image, patch_type=PatchType.JSON)
    assert after["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"uid": "00000000-0000-0000-0000-000000000000"}, 409, "Precondition failed: UID in precondition"),
        ({"creationTimestamp": "2020-01-01T00:00:00Z"}, 422, "metadata.creationTimestamp"),
        ({"namespace": "kube-system"}, 404, "not found"),
    ],
)
async def test_identity_does_not_change(client: RegistryClient, change: dict[str, Any], code: int, text: str) -> None:
    first = await client.create("configmaps", make_map())
    metadata = {**first["metadata"], "resourceVersion": "", **change}
    with pytest.raises(StatusError) as error:
        await client.update("configmaps", {**first, "metadata": metadata})
    assert error.value.code == code and text in error.value.message


async def test_names_must_agree_with_the_request(
    registry: Registry, client: RegistryClient, ctx: RequestContext
) -> None:
    first = await client.create("configmaps", make_map())
    with pytest.raises(StatusError) as error:
        await registry.resources["configmaps"].update(ctx, "default", "other", first)
    assert error.value.code == 400
    assert error.value.message == "the name of the object (m) does not match the name on the URL (other)"


async def test_an_event_is_created_by_a_put(registry: Registry, ctx: RequestContext) -> None:
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
        "reason": "Started",
        "type": "Normal",
    }
    entry, created = await registry.resources["events"].put(ctx, "default", "e", event)
    assert created and entry.name == "e"
    entry, created = await registry.resources["events"].put(ctx, "default", "e", {**event, "count": 2})
    assert not created and entry.object["count"] == 2
    with pytest.raises(StatusError, match='configmaps "m" not found'):
        await registry.resources["configmaps"].put(ctx, "default", "m", make_map())


@pytest.mark.parametrize(("subresource", "code"), [("nothing", 404), ("binding", 405), ("log", 405)])
async def test_subresources_that_cannot_be_updated(client: RegistryClient, subresource: str, code: int) -> None:
    await client.create("pods", make_pod(), "default")
    with pytest.raises(StatusError) as error:
        await client.patch("pods", "p", "default", {}, subresource=subresource)
    assert error.value.code == code
