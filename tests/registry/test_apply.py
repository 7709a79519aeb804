"""Server-side apply and managedFields through the registry."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from podstead.objects.errors import StatusError
from podstead.objects.exchange import PatchType
from podstead.registry.client import RegistryClient
from podstead.registry.options import PatchRequest, RequestContext, WriteOptions
from podstead.registry.registry import Registry
from podstead.registry.scale import patch_scale
from support.registry import make_map, make_pod

Object = dict[str, Any]


class Applier:
    """Applies as one manager, in the namespace default."""

    def __init__(self, registry: Registry, ctx: RequestContext, name: str) -> None:
        self._registry = registry
        self._ctx = ctx
        self._name = name

    async def __call__(
        self, plural: str, config: Object, subresource: str = "", *, force: bool | None = None, dry_run: bool = False
    ) -> tuple[Object, bool]:
        body = msgspec.json.encode(config)
        options = WriteOptions(field_manager=self._name, dry_run=dry_run)
        entry, created = await self._registry.resources[plural].patch_or_create(
            self._ctx,
            "default",
            config["metadata"]["name"],
            PatchRequest(PatchType.APPLY, body, force),
            subresource,
            options,
        )
        return entry.object, created


@pytest.fixture
def me(registry: Registry, ctx: RequestContext) -> Applier:
    return Applier(registry, ctx, "me")


@pytest.fixture
def other(registry: Registry, ctx: RequestContext) -> Applier:
    return Applier(registry, ctx, "other")


def config(data: dict[str, str] | None = None, **metadata: Any) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", **metadata}, "data": data or {"a": "1"}}


def entries(obj: Object) -> list[tuple[str, str, str, Object]]:
    return [
        (entry["manager"], entry["operation"], entry.get("subresource", ""), entry["fieldsV1"])
        for entry in obj["metadata"].get("managedFields", ())
    ]


async def test_every_write_is_tracked(registry: Registry, client: RegistryClient, ctx: RequestContext) -> None:
    created = await client.create("configmaps", make_map(data={"a": "1"}))
    assert entries(created) == [("admin", "Update", "", {"f:data": {".": {}, "f:a": {}}})]
    patched = await registry.resources["configmaps"].patch(
        ctx, "default", "m", PatchRequest(PatchType.MERGE, {"data": {"b": "1"}}), "", WriteOptions(field_manager="two")
    )
    assert entries(patched.object)[1:] == [("two", "Update", "", {"f:data": {"f:b": {}}})]
    again = await client.update("configmaps", make_map(data={"a": "1", "b": "1"}))
    assert again["metadata"]["resourceVersion"] == str(patched.revision)


async def test_a_status_is_owned_through_its_subresource(client: RegistryClient) -> None:
    await client.create("pods", make_pod(), "default")
    status = {"status": {"phase": "Running", "podIP": "10.0.0.1"}, "spec": {"nodeName": "ignored"}}
    pod = await client.patch("pods", "p", "default", status, subresource="status")
    assert entries(pod)[1] == ("admin", "Update", "status", {"f:status": {"f:phase": {}, "f:podIP": {}}})
    # What the object itself cannot change is not owned by who tries.
    tried = await client.patch(
        "pods", "p", "default", {"status": {"phase": "Failed"}, "metadata": {"labels": {"a": "b"}}}
    )
    assert "f:status" not in entries(tried)[0][3] and tried["status"]["phase"] == "Running"


async def test_an_apply_creates_and_then_changes(me: Applier, other: Applier) -> None:
    first, created = await me("configmaps", config())
    assert created and entries(first) == [("me", "Apply", "", {"f:data": {"f:a": {}}})]
    same, created = await me("configmaps", config())
    assert not created and same["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    await other("configmaps", config({"b": "1"}))
    with pytest.raises(StatusError) as error:
        await other("configmaps", config({"a": "2", "b": "1"}))
    assert error.value.code == 409
    tried, _ = await other("configmaps", config({"a": "2", "b": "1"}), force=True, dry_run=True)
    assert tried["data"] == {"a": "2", "b": "1"}
    forced, _ = await other("configmaps", config({"a": "2", "b": "1"}), force=True)
    assert entries(forced) == [("other", "Apply", "", {"f:data": {"f:a": {}, "f:b": {}}})]


async def test_an_applied_status(client: RegistryClient, me: Applier) -> None:
    await client.create("pods", make_pod(), "default")
    applied, _ = await me(
        "pods",
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p"},
            "spec": {"nodeName": "ignored"},
            "status": {"message": "m"},
        },
        "status",
    )
    assert applied["status"]["message"] == "m" and "nodeName" not in applied["spec"]
    assert ("me", "Apply", "status", {"f:status": {"f:message": {}}}) in entries(applied)


@pytest.mark.parametrize(
    ("metadata", "code", "words"),
    [
        ({"resourceVersion": "1"}, 409, "the object has been modified"),
        ({"uid": "u"}, 409, "UID in precondition: u"),
        ({"namespace": "kube-system"}, 400, "does not match the namespace on the request (default)"),
        ({"labels": {"-": "x"}}, 422, 'ConfigMap "m" is invalid: metadata.labels'),
        ({"managedFields": [{}]}, 400, "metadata.managedFields must be nil"),
    ],
)
async def test_what_an_apply_refuses(me: Applier, metadata: Object, code: int, words: str) -> None:
    await me("configmaps", config())
    with pytest.raises(StatusError) as error:
        await me("configmaps", config(**metadata))
    assert (error.value.code, words in error.value.message) == (code, True), error.value.message


async def test_a_revision_or_uid_is_of_an_object_that_is_there(me: Applier) -> None:
    for metadata in ({"resourceVersion": "7"}, {"uid": "u"}):
        with pytest.raises(StatusError) as error:
            await me("configmaps", config(**metadata))
        assert error.value.code == 409


async def test_ten_thousand_small_objects_stay_small(client: RegistryClient) -> None:
    """The list of a small object is a small part of its bytes."""
    created = await client.create("configmaps", make_map(data={f"key-{number}": "x" * 200 for number in range(5)}))
    assert len(msgspec.json.encode(created["metadata"]["managedFields"])) < 250


async def test_an_applied_scale_is_owned_by_who_applied_it(
    registry: Registry, client: RegistryClient, ctx: RequestContext
) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template, "replicas": 1}
    await client.create("deployments.apps", {"metadata": {"name": "d"}, "spec": spec}, "default")
    core = registry.resources["deployments.apps"].core
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 3}}
    options = WriteOptions(field_manager="hpa")
    with pytest.raises(StatusError) as error:
        await patch_scale(core, ctx, "default", "d", PatchRequest(PatchType.APPLY, scale), options)
    assert error.value.message == ('Apply failed with 1 conflict: conflict with "admin" using apps/v1: .spec.replicas')
    request = PatchRequest(PatchType.APPLY, scale, force=True)
    shown = await patch_scale(core, ctx, "default", "d", request, options)
    assert shown.object["spec"] == {"replicas": 3}
    deployment = await client.get("deployments.apps", "d", "default")
    assert ("hpa", "Apply", "scale", {"f:spec": {"f:replicas": {}}}) in entries(deployment)
    # Non-pointer structs of the API's types are there always: no "." of their own.
    assert entries(deployment)[1][3]["f:spec"]["f:strategy"] == {
        "f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}},
        "f:type": {},
    }
