"""pods/resize: new resources for a pod's containers, where the node has not started them or can change them."""

from __future__ import annotations

from typing import Any

import pytest

from podstead.objects.errors import StatusError
from podstead.objects.exchange import PatchType
from podstead.registry.client import RegistryClient
from support.registry import make_pod


def _resized(cpu: str) -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu, "memory": "64Mi"}}
    return {"spec": {"containers": [{"name": "c", "image": "another", "resources": resources}]}}


async def _pod(client: RegistryClient) -> dict[str, Any]:
    pod = make_pod()
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100m", "memory": "64Mi"}}
    return await client.create("pods", pod, "default")


async def _resize(client: RegistryClient, patch: Any) -> dict[str, Any]:
    return await client.patch("pods", "p", "default", patch, patch_type=PatchType.STRATEGIC, subresource="resize")


async def test_a_resize_changes_resources_and_nothing_else(client: RegistryClient) -> None:
    before = await _pod(client)
    patch = _resized("200m") | {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Failed"}}
    pod = await _resize(client, patch)
    container = pod["spec"]["containers"][0]
    assert (container["resources"]["requests"]["cpu"], container["image"]) == ("200m", "busybox:1")
    assert (pod["status"], pod["metadata"].get("labels")) == (before["status"], None)
    assert pod["metadata"]["generation"] == before["metadata"]["generation"] + 1


async def test_the_kind_of_service_stays(client: RegistryClient) -> None:
    await _pod(client)
    with pytest.raises(StatusError, match="Pod QOS Class may not change as a result of resizing"):
        limits = {"limits": {"cpu": "100m", "memory": "64Mi"}}
        await _resize(client, {"spec": {"containers": [{"name": "c", "resources": limits}]}})


async def test_a_node_that_cannot_resize_is_not_asked_to(client: RegistryClient) -> None:
    """Its containers' statuses say nothing of resources: as kubelets before resizing, podstead's node."""
    pod = await _pod(client)
    running = {
        "name": "c",
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        "ready": True,
        "restartCount": 0,
        "image": "busybox:1",
        "imageID": "",
    }
    await client.update(
        "pods", {**pod, "status": {"phase": "Running", "containerStatuses": [running]}}, subresource="status"
    )
    with pytest.raises(StatusError, match="spec: Forbidden: Pod running on node without support for resize"):
        await _resize(client, _resized("200m"))
