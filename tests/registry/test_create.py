"""What a create sets, keeps and refuses."""

from __future__ import annotations

import asyncio
import copy
import json
import re

import pytest

from podstead.objects.errors import StatusError
from podstead.objects.exchange import PatchType
from podstead.registry.client import RegistryClient
from podstead.registry.options import PatchRequest, RequestContext, WriteOptions
from podstead.registry.registry import Registry
from support.registry import make_map, make_pod


async def test_a_pod_gets_what_the_server_sets(client: RegistryClient) -> None:
    pod = await client.create("pods", make_pod(), "default")
    metadata = pod["metadata"]
    assert re.fullmatch(r"[0-9a-f-]{36}", metadata["uid"])
    assert metadata["namespace"] == "default" and metadata["generation"] == 1
    assert metadata["creationTimestamp"].endswith("Z")
    assert pod["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    spec = pod["spec"]
    assert (spec["serviceAccountName"], spec["priority"], spec["preemptionPolicy"]) == (
        "default",
        0,
        "PreemptLowerPriority",
    )
    assert {one["key"]: one["tolerationSeconds"] for one in spec["tolerations"]} == {
        "node.kubernetes.io/not-ready": 300,
        "node.kubernetes.io/unreachable": 300,
    }


async def test_what_a_client_sends_is_not_changed_in_place(client: RegistryClient) -> None:
    pod = make_pod()
    before = copy.deepcopy(pod)
    await client.create("pods", pod, "default")
    assert pod == before


async def test_the_encoded_bytes_are_the_object_with_its_revision(registry: Registry, client: RegistryClient) -> None:
    """A value that looks like the place of the resourceVersion stays what it is."""
    trick = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":""'
    await client.create("configmaps", make_map("m", {"a": trick, "resourceVersion": ""}, annotations={"x": trick}))
    entry = await registry.resources["configmaps"].get("default", "m")
    decoded = json.loads(entry.encoded)
    assert decoded == entry.object
    assert decoded["metadata"]["resourceVersion"] == str(entry.revision) == str(registry.revision)
    assert decoded["data"] == {"a": trick, "resourceVersion": ""} and decoded["metadata"]["annotations"] == {"x": trick}
    assert list(decoded)[:3] == ["apiVersion", "kind", "metadata"]


async def test_a_name_is_generated(client: RegistryClient) -> None:
    made = await asyncio.gather(
        *(client.create("configmaps", {"metadata": {"generateName": "x-", "namespace": "default"}}) for _ in range(20))
    )
    names = {one["metadata"]["name"] for one in made}
    assert len(names) == 20
    assert all(re.fullmatch("x-[bcdfghjklmnpqrstvwxz2456789]{5}", name) for name in names)


async def test_no_name_can_be_generated(client: RegistryClient, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter("a" * 9)
    monkeypatch.setattr("podstead.objects.meta.generate_name", lambda base: base + next(names))
    wanted = {"metadata": {"generateName": "x-", "namespace": "default"}}
    await client.create("configmaps", wanted)
    with pytest.raises(StatusError) as error:
        await client.create("configmaps", wanted)
    assert (error.value.code, error.value.reason) == (409, "AlreadyExists")
    assert error.value.message == (
        'configmaps "x-a" already exists, the server was not able to generate a unique name for the object'
    )
    # Where one of them is free, nobody notices the others.
    names = iter("aaab")
    assert (await client.create("configmaps", wanted))["metadata"]["name"] == "x-b"


async def test_an_owner_is_named_once(registry: Registry, ctx: RequestContext) -> None:
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1"}
    made = await registry.resources["configmaps"].create(ctx, "default", make_map(ownerReferences=[owner, owner]))
    assert made.object["metadata"]["ownerReferences"] == [owner]
    assert ctx.warnings[-1].startswith(".metadata.ownerReferences contains duplicate entries; API server dedups")
    assert ctx.warnings[-1].endswith("duplicate UID(s) observed: 1")
    patch = PatchRequest(PatchType.MERGE, {"metadata": {"ownerReferences": [owner, owner]}})
    await registry.resources["configmaps"].patch(ctx, "default", "m", patch)
    assert "contains duplicate entries after mutating admission happens; API server" in ctx.warnings[-1]


async def test_a_namespace_gets_its_finalizer_phase_and_label(client: RegistryClient) -> None:
    namespace = await client.create("namespaces", {"metadata": {"generateName": "n-"}})
    assert namespace["spec"] == {"finalizers": ["kubernetes"]} and namespace["status"] == {"phase": "Active"}
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": namespace["metadata"]["name"]}


async def test_string_data_becomes_data(client: RegistryClient) -> None:
    secret = {"metadata": {"name": "s"}, "data": {"a": "YQ==", "b": "Yg=="}, "stringData": {"b": "new", "c": "ä"}}
    made = await client.create("secrets", secret, "default")
    assert made["data"] == {"a": "YQ==", "b": "bmV3", "c": "w6Q="} and "stringData" not in made
    assert made["type"] == "Opaque"


@pytest.mark.parametrize(
    ("resource", "obj", "namespace", "code", "text"),
    [
        ("pods", make_pod(), "nowhere", 404, 'namespaces "nowhere" not found'),
        ("pods", make_pod(namespace="other"), "default", 400, "does not match the namespace sent on the request"),
        ("pods", make_pod(resourceVersion="7"), "default", 400, "resourceVersion should not be set"),
        ("pods", make_pod("Bad_Name"), "default", 422, "metadata.name: Invalid value"),
        ("pods", {"kind": "Pod", "metadata": {}, "spec": {}}, "default", 422, "name or generateName is required"),
        ("pods", {**make_pod(), "kind": "ConfigMap"}, "default", 400, "cannot be handled as a Pod"),
        ("pods", {**make_pod(), "apiVersion": "v2"}, "default", 400, "does not match the expected API version"),
        ("pods", [], "default", 400, "unrecognized"),
        ("pods", {**make_pod(), "spec": {"containers": [{}]}}, "default", 422, "containers[0].name: Required value"),
        ("pods", make_pod(ownerReferences=[{}]), "default", 422, "metadata.ownerReferences.kind: Invalid value"),
        ("pods", {**make_pod(), "spec": {"containers": 1}}, "default", 400, "cannot unmarshal number"),
        ("namespaces", {"metadata": {"name": "n", "namespace": "default"}}, "", 400, "does not match the namespace"),
    ],
)
async def test_bad_input_is_answered_by_name(
    registry: Registry, ctx: RequestContext, resource: str, obj: object, namespace: str, code: int, text: str
) -> None:
    with pytest.raises(StatusError) as error:
        await registry.resources[resource].create(ctx, namespace, obj)  # type: ignore[arg-type]
    assert (error.value.code, text in error.value.message) == (code, True), error.value.message


async def test_the_same_name_twice_is_409(client: RegistryClient) -> None:
    outcomes = await asyncio.gather(
        *(client.create("pods", make_pod(), "default") for _ in range(5)), return_exceptions=True
    )
    lost = [outcome for outcome in outcomes if isinstance(outcome, StatusError)]
    assert len(lost) == 4
    assert {(error.code, error.reason, error.message) for error in lost} == {
        (409, "AlreadyExists", 'pods "p" already exists')
    }


async def test_an_unknown_field_warns_or_is_refused(registry: Registry, ctx: RequestContext) -> None:
    obj = {**make_map(), "spoon": 1}
    entry = await registry.resources["configmaps"].create(ctx, "default", obj)
    assert "spoon" not in entry.object and ctx.warnings == ['unknown field "spoon"']
    with pytest.raises(StatusError, match='strict decoding error: unknown field "spoon"'):
        await registry.resources["configmaps"].create(ctx, "default", obj, WriteOptions(field_validation="Strict"))


async def test_dry_run_writes_nothing(registry: Registry, ctx: RequestContext) -> None:
    before = registry.revision
    entry = await registry.resources["pods"].create(ctx, "default", make_pod(), WriteOptions(dry_run=True))
    assert entry.object["metadata"]["uid"] and "resourceVersion" not in entry.object["metadata"]
    assert json.loads(entry.encoded) == entry.object
    assert registry.revision == before
    with pytest.raises(StatusError, match="already exists"):
        await registry.resources["namespaces"].create(
            ctx, "", {"metadata": {"name": "default"}}, WriteOptions(dry_run=True)
        )


async def test_a_pod_needs_a_service_account_that_exists(client: RegistryClient) -> None:
    pod = make_pod()
    pod["spec"]["serviceAccountName"] = "robot"
    with pytest.raises(StatusError) as error:
        await client.create("pods", pod, "default")
    assert error.value.code == 403
    assert error.value.message == (
        'pods "p" is forbidden: error looking up service account default/robot: serviceaccount "robot" not found'
    )


async def test_a_pod_waits_a_moment_for_the_account_of_a_new_namespace(client: RegistryClient) -> None:
    await client.create("namespaces", {"metadata": {"name": "new"}})
    pod = asyncio.create_task(client.create("pods", make_pod(), "new"))
    await asyncio.sleep(0)
    assert not pod.done()
    await client.create("serviceaccounts", {"metadata": {"name": "default"}}, "new")
    assert (await asyncio.wait_for(pod, 10))["spec"]["serviceAccountName"] == "default"


async def test_priority_is_not_the_users_to_set(client: RegistryClient) -> None:
    pod = make_pod()
    pod["spec"]["priority"] = 5
    with pytest.raises(StatusError, match=r"integer value of priority \(5\) must not be provided"):
        await client.create("pods", pod, "default")
