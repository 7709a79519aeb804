"""Updates and patches: optimistic concurrency, what each part may change, writes that change nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from podstead.objects.errors import MODIFIED, StatusError
from podstead.objects.exchange import PatchType
from podstead.registry.client import RegistryClient
from podstead.registry.options import PatchRequest, RequestContext, WriteOptions
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
        await maps.patch(ctx, "default", "m", PatchRequest("application/json", b"{}"))
    assert error.value.code == 415 and "application/merge-patch+json" in error.value.message
    with pytest.raises(StatusError) as error:
        await maps.patch(ctx, "default", "m", PatchRequest(PatchType.MERGE, b'{"data": '))
    assert error.value.code == 400
    for body in (b'{"metadata": null}', b'{"metadata": {"name": "other"}}', b'{"metadata": {"namespace": "x"}}'):
        with pytest.raises(StatusError) as error:
            await maps.patch(ctx, "default", "m", PatchRequest(PatchType.MERGE, body))
        assert error.value.code == 400, body


async def test_strategic_patches_merge_lists_by_key(client: RegistryClient) -> None:
    await client.create("pods", make_pod(finalizers=["example.org/a"]), "default")
    patch = {
        "metadata": {"finalizers": ["example.org/b"]},
        "spec": {"containers": [{"name": "c", "image": "busybox:2"}]},
    }
    after = await client.patch("pods", "p", "default", patch, patch_type=PatchType.STRATEGIC)
    assert sorted(after["metadata"]["finalizers"]) == ["example.org/a", "example.org/b"]
    assert [container["image"] for container in after["spec"]["containers"]] == ["busybox:2"]
    status = {"status": {"conditions": [{"type": "X", "status": "True"}, {"type": "Y", "status": "True"}]}}
    await client.patch("pods", "p", "default", status, patch_type=PatchType.STRATEGIC, subresource="status")
    status = {"status": {"conditions": [{"type": "X", "$patch": "delete"}, {"type": "Y", "status": "False"}]}}
    after = await client.patch("pods", "p", "default", status, patch_type=PatchType.STRATEGIC, subresource="status")
    assert [(one["type"], one["status"]) for one in after["status"]["conditions"]] == [("Y", "False")]
    node = await client.create("nodes", {"metadata": {"name": "n"}})
    patch = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "spec": {"unschedulable": True}}
    await client.patch("nodes", "n", "", patch, patch_type=PatchType.STRATEGIC)
    with pytest.raises(StatusError) as error:
        await client.patch("nodes", "n", "", patch, patch_type=PatchType.STRATEGIC)
    assert error.value.code == 409


async def test_what_admission_has_filled_in_stays(client: RegistryClient) -> None:
    """Who sends again what they created the pod with changes nothing, although the server has added to it."""
    pod = make_pod()
    pod["spec"]["tolerations"] = [{"key": "dedicated", "operator": "Exists"}]
    before = await client.create("pods", pod, "default")
    assert len(before["spec"]["tolerations"]) == 3 and before["spec"]["priority"] == 0
    patch = {"spec": {"tolerations": pod["spec"]["tolerations"]}}
    assert await client.patch("pods", "p", "default", patch, patch_type=PatchType.STRATEGIC) is before
    # Kubernetes, too, wants these back from whoever replaces a pod.
    added = ("serviceAccount", "serviceAccountName", "containers", "volumes")
    named = {field: before["spec"][field] for field in added}
    again = {**pod, "metadata": {"name": "p", "namespace": "default"}, "spec": {**pod["spec"], **named}}
    assert await client.update("pods", again) is before


@pytest.mark.parametrize(
    ("type_", "patch", "shown"),
    [
        (PatchType.STRATEGIC, {"daat": {}, "data": {"a": "b"}}, "map[daat:map[] data:map[a:b]]"),
        (PatchType.MERGE, {"daat": {"a": "b"}}, '{\\"apiVersion\\":\\"v1\\"'),
        (PatchType.JSON, [{"op": "add", "path": "/daat", "value": 1}], '\\"daat\\":1'),
    ],
)
async def test_unknown_fields_in_a_patch(
    registry: Registry, client: RegistryClient, ctx: RequestContext, type_: PatchType, patch: Any, shown: str
) -> None:
    before = await client.create("configmaps", make_map())
    maps = registry.resources["configmaps"]
    with pytest.raises(StatusError) as error:
        strict = WriteOptions(field_validation="Strict", duplicates=("data.a",))
        await maps.patch(ctx, "default", "m", PatchRequest(type_, patch), "", strict)
    assert (error.value.code, error.value.reason) == (422, "Invalid")
    assert error.value.message.startswith(' "" is invalid: patch: Invalid value: "')
    assert error.value.message.endswith('": strict decoding error: unknown field "daat", duplicate field "data.a"'), (
        error.value.message
    )
    assert shown in error.value.message
    assert await client.get("configmaps", "m", "default") is before
    entry = await maps.patch(ctx, "default", "m", PatchRequest(type_, patch), "", WriteOptions())
    assert ctx.warnings == ['unknown field "daat"']
    assert "daat" not in entry.object


async def test_a_patch_to_another_type_shows_the_patch(client: RegistryClient) -> None:
    await client.create("configmaps", make_map())
    with pytest.raises(StatusError) as error:
        await client.patch("configmaps", "m", "default", {"data": {"a": 1}}, patch_type=PatchType.STRATEGIC)
    assert error.value.code == 422
    assert error.value.details == {
        "causes": [
            {
                "field": "patch",
                "reason": "FieldValueInvalid",
                "message": 'Invalid value: "map[data:map[a:1]]": json: cannot unmarshal number into Go struct field '
                "ConfigMap.data of type string",
            }
        ]
    }


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


async def test_nobody_clears_the_observed_generation(client: RegistryClient) -> None:
    await client.create("pods", make_pod(), "default")
    await client.patch("pods", "p", "default", {"status": {"observedGeneration": 1}}, subresource="status")
    pod = await client.get("pods", "p", "default")
    status = {"phase": "Running", "conditions": []}
    after = await client.update("pods", {**pod, "status": status}, subresource="status")
    assert after["status"]["observedGeneration"] == 1 and after["status"]["phase"] == "Running"


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
