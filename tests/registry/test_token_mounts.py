"""ServiceAccount admission: which containers find a token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from podstead.registry.client import RegistryClient
from support.registry import ADMIN, make_pod, open_registry

PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[RegistryClient]:
    async with open_registry(tmp_path / "state.db") as registry:
        yield registry.client(ADMIN)


async def created(client: RegistryClient, **spec: Any) -> Any:
    pod = make_pod()
    return (await client.create("pods", {**pod, "spec": {**pod["spec"], **spec}}, "default"))["spec"]


@pytest.mark.parametrize(
    ("of_account", "of_pod", "mounted"),
    [(None, None, True), (False, None, False), (False, True, True), (True, False, False)],
)
async def test_the_pod_decides_before_its_account(
    client: RegistryClient, of_account: bool | None, of_pod: bool | None, mounted: bool
) -> None:
    if of_account is not None:
        patch = {"automountServiceAccountToken": of_account}
        await client.patch("serviceaccounts", "default", "default", patch)
    spec = await created(client, **({} if of_pod is None else {"automountServiceAccountToken": of_pod}))
    assert bool(spec.get("volumes")) is mounted
    assert [mount["mountPath"] for mount in spec["containers"][0].get("volumeMounts", ())] == [PATH] * mounted


async def test_nothing_is_added_where_the_user_mounts_all_themselves(client: RegistryClient) -> None:
    mounts = [{"name": "mine", "mountPath": PATH}]
    container = {"name": "c", "image": "busybox", "volumeMounts": mounts}
    spec = await created(client, containers=[container], volumes=[{"name": "mine", "emptyDir": {}}])
    assert [volume["name"] for volume in spec["volumes"]] == ["mine"]


async def test_a_volume_that_was_copied_from_another_pod_is_used_again(client: RegistryClient) -> None:
    volume = {"name": "kube-api-access-abcde", "emptyDir": {}}
    spec = await created(client, volumes=[volume])
    assert [one["name"] for one in spec["volumes"]] == ["kube-api-access-abcde"]
    assert spec["containers"][0]["volumeMounts"] == [
        {"name": "kube-api-access-abcde", "readOnly": True, "mountPath": PATH}
    ]
