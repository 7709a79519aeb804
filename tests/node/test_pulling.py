"""Images of a pod: what a user sees while they come, where they fail, and when they may not be pulled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podstead import clock
from podstead.node import pulling
from podstead.node.runtime.base import PullFailed, RuntimeFailure
from support.fakenode import FakeNode, fake_node, state, waiting


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[FakeNode]:
    async with fake_node(tmp_path) as one:
        yield one


async def test_an_image_that_is_there_is_not_pulled(node: FakeNode) -> None:
    async with node.running():
        await node.create()
        await node.running_pod()
        await node.event("Pulled", 'Container image "busybox:1" already present on machine')
    assert node.images.pulled == []


async def test_always_pulls_for_each_start(node: FakeNode) -> None:
    async with node.running():
        await node.create("p", {"imagePullPolicy": "Always"})
        await node.running_pod()
        await node.event("Pulled", 'Successfully pulled image "busybox:1" in ')
        node.runtime.end("c1", 1)
        await node.until(lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert node.images.pulled == ["busybox:1", "busybox:1"]


async def test_a_failed_pull_shows_its_error_then_that_it_backs_off(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "_SHOW_FAILURE", 1.0)
    node.images.errors = [PullFailed("no such host", "ErrImagePull")]
    async with node.running():
        await node.create("p", {"image": "far:1"})
        pod = await node.until(lambda pod: waiting(pod) == "ErrImagePull")
        assert state(pod)["waiting"]["message"] == "no such host"
        pod = await node.until(lambda pod: waiting(pod) == "ImagePullBackOff")
        assert state(pod)["waiting"]["message"] == 'Back-off pulling image "far:1": ErrImagePull: no such host'
        await node.event("Failed", 'Failed to pull image "far:1": no such host')
        await node.event("Failed", "Error: ErrImagePull")
        await node.event("BackOff", 'Back-off pulling image "far:1"')
    assert pod["status"]["phase"] == "Pending"
    assert node.images.pulled == ["far:1"]


async def test_a_name_that_is_none_says_so(node: FakeNode) -> None:
    node.images.errors = [PullFailed("couldn't parse image name", "InvalidImageName")]
    async with node.running():
        await node.create("p", {"image": "NO"})
        await node.until(lambda pod: waiting(pod) == "InvalidImageName")
        await node.event("Failed", "Error: InvalidImageName")


async def test_never_waits_for_an_image_that_somebody_brings(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not looked for again."""
    monkeypatch.setattr(pulling, "_LOOK_AGAIN", 0.01)
    async with node.running():
        await node.create("p", {"image": "own:1", "imagePullPolicy": "Never"})
        await node.until(lambda pod: waiting(pod) == "ErrImageNeverPull")
        node.images.present.add("own:1")
        await node.running_pod()
    assert node.images.pulled == []


async def test_a_corrected_image_is_pulled_at_once(node: FakeNode) -> None:
    node.images.errors = [PullFailed("not found", "ErrImagePull")]
    async with node.running():
        await node.create("p", {"image": "typo:1"})
        pod = await node.until(lambda pod: waiting(pod) == "ErrImagePull")
        containers = [{**pod["spec"]["containers"][0], "image": "right:1"}]
        await node.client.patch("pods", "p", "default", {"spec": {"containers": containers}})
        await node.running_pod()
    assert node.images.pulled == ["typo:1", "right:1"]


async def test_an_image_that_is_corrected_while_the_first_is_pulled(node: FakeNode) -> None:
    node.images.gate.clear()
    async with node.running():
        await node.create("p", {"image": "slow:1", "imagePullPolicy": "Always"})
        pod = await node.until(lambda pod: waiting(pod) == "ContainerCreating")
        containers = [{**pod["spec"]["containers"][0], "image": "right:1"}]
        await node.client.patch("pods", "p", "default", {"spec": {"containers": containers}})
        await node.event("Pulling", 'Pulling image "right:1"')
        node.images.gate.set()
        pod = await node.running_pod()
    assert pod["status"]["containerStatuses"][0]["image"] == "right:1"
    assert node.images.present == {"busybox:1", "right:1"}


async def test_a_fault_of_the_image_service_is_a_failed_pull(node: FakeNode) -> None:
    """It was pulled again at once, without end."""
    node.images.errors = [ValueError("a fault")] * 100
    async with node.running():
        await node.create("p", {"image": "far:1"})
        await node.until(lambda pod: waiting(pod) == "ErrImagePull")
    assert node.images.pulled == ["far:1"]


async def test_a_store_that_cannot_be_read_says_so(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreadable(reference: str) -> None:
        raise RuntimeFailure("the store is locked")

    monkeypatch.setattr(node.images, "image_status", unreadable)
    async with node.running():
        await node.create()
        pod = await node.until(lambda pod: waiting(pod) == "ImageInspectError")
    assert "the store is locked" in state(pod)["waiting"]["message"]


async def test_nothing_is_remembered_of_a_pod_that_is_gone(node: FakeNode) -> None:
    node.images.errors = [PullFailed("no", "ErrImagePull")]
    async with node.running():
        pod = await node.create("p", {"image": "far:1"})
        await node.until(lambda pod: waiting(pod) == "ErrImagePull")
        await node.client.delete("pods", "p", "default")
        await node.gone()
        key = f"{pod['metadata']['uid']}_far:1"
        assert node.agent._context.pull_backoff.remaining(key, clock.monotonic(), clock.monotonic()) == 0
