"""A pod's imagePullSecrets on the node: what the pull is given, and what a user sees where a secret is missing."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from podstead.node import pulling
from podstead.node.runtime.base import RegistryAuth
from support.fakenode import FakeNode, fake_node, waiting


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[FakeNode]:
    async with fake_node(tmp_path) as one:
        yield one


def login(name: str, registry: str) -> dict[str, Any]:
    content = json.dumps({"auths": {registry: {"username": "me", "password": "pass"}}})
    data = {".dockerconfigjson": base64.b64encode(content.encode()).decode()}
    return {"metadata": {"name": name}, "type": "kubernetes.io/dockerconfigjson", "data": data}


async def test_the_secrets_that_are_there_are_given_and_the_missing_ones_named(node: FakeNode) -> None:
    await node.client.create("secrets", login("here", "a.io"), "default")
    async with node.running():
        secrets = [{"name": "gone"}, {"name": "here"}, {"name": "lost"}]
        await node.create("p", {"image": "a.io/x:1"}, imagePullSecrets=secrets)
        await node.running_pod()
        await node.event(
            "FailedToRetrieveImagePullSecret",
            "Unable to retrieve some image pull secrets (gone, lost); attempting to pull the image may not succeed.",
        )
    assert node.images.auths == [RegistryAuth("a.io", "me", "pass", "secret default/here")]


async def test_an_accounts_secrets_are_its_pods(node: FakeNode) -> None:
    await node.client.create("secrets", login("team", "a.io"), "default")
    await node.client.patch("serviceaccounts", "default", "default", {"imagePullSecrets": [{"name": "team"}]})
    async with node.running():
        await node.create("p", {"image": "a.io/x:1"})
        pod = await node.running_pod()
    assert pod["spec"]["imagePullSecrets"] == [{"name": "team"}]
    assert [auth.origin for auth in node.images.auths] == ["secret default/team"]


async def test_a_long_pull_tells_how_far_it_is(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling, "_PROGRESS_INTERVAL", 0.0)
    node.images.gate.clear()
    async with node.running():
        await node.create("p", {"image": "a.io/large:1"})
        await node.event("Pulling", 'Pulling image "a.io/large:1"')
        await node.until(lambda pod: waiting(pod) == "ContainerCreating" and node.images.progress is not None)
        assert node.images.progress is not None
        node.images.progress(120_000_000, 480_000_000)
        await node.event("Pulling", 'Pulling image "a.io/large:1": 120 of 480 MB')
        node.images.gate.set()
        await node.running_pod()
