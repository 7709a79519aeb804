"""The life of a pod's containers: init containers, sidecars, hooks, restarts and ends, as the API shows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from podstead.node import stopping
from podstead.node.runtime.base import CreateFailed
from support.fakenode import FakeNode, fake_node, state, waiting

SIDECAR = {"restartPolicy": "Always"}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[FakeNode]:
    async with fake_node(tmp_path) as one:
        yield one


def init(*containers: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": f"i{number}", "image": "busybox:1", "imagePullPolicy": "IfNotPresent", **container}
        for number, container in enumerate(containers, start=1)
    ]


def init_state(pod: dict[str, Any], number: int = 0) -> dict[str, Any]:
    statuses = pod["status"].get("initContainerStatuses")
    return statuses[number]["state"] if statuses else {}


def started(node: FakeNode) -> list[str]:
    return [step for step in node.runtime.order if step.startswith("start")]


async def test_init_containers_run_to_their_end_one_by_one_before_the_others(node: FakeNode) -> None:
    async with node.running():
        await node.create(initContainers=init({}, {}))
        pod = await node.until(lambda pod: "running" in init_state(pod))
        assert waiting(pod) == "PodInitializing"
        node.runtime.end("i1")
        await node.until(lambda pod: "running" in init_state(pod, 1))
        assert started(node) == ["start i1", "start i2"]
        node.runtime.end("i2")
        pod = await node.running_pod()
    assert init_state(pod)["terminated"]["reason"] == "Completed"
    assert started(node)[-1] == "start c1"


async def test_an_init_container_that_fails_fails_a_pod_that_may_not_be_restarted(node: FakeNode) -> None:
    async with node.running():
        await node.create(initContainers=init({}, {}), restartPolicy="Never")
        await node.until(lambda pod: "running" in init_state(pod))
        node.runtime.end("i1", 3)
        pod = await node.until(lambda pod: pod["status"]["phase"] == "Failed")
    assert init_state(pod)["terminated"]["exitCode"] == 3
    assert waiting(pod) == "PodInitializing"


async def test_an_init_container_that_fails_is_tried_again_with_a_back_off(node: FakeNode) -> None:
    node.runtime.create_errors["i1"] = [CreateFailed("no"), CreateFailed("no")]
    async with node.running():
        await node.create(initContainers=init({}))
        await node.until(lambda pod: init_state(pod).get("waiting", {}).get("reason") == "CrashLoopBackOff")
        assert (await node.event("BackOff"))["involvedObject"]["fieldPath"] == "spec.initContainers{i1}"


async def test_a_sidecar_runs_beside_the_others_is_restarted_alone_and_ends_after_them(node: FakeNode) -> None:
    async with node.running():
        await node.create(initContainers=init(SIDECAR, SIDECAR), restartPolicy="Never")
        await node.running_pod()
        assert started(node) == ["start i1", "start i2", "start c1"]
        node.runtime.end("i1", 1)
        await node.until(lambda pod: pod["status"]["initContainerStatuses"][0]["restartCount"] == 1)
        node.runtime.end("c1")
        await node.until(lambda pod: pod["status"]["phase"] == "Succeeded")
    assert [step for step in node.runtime.order if step.startswith("stop")] == ["stop i2", "stop i1"]


async def test_a_deleted_pods_sidecars_end_last_first_after_the_containers(node: FakeNode) -> None:
    async with node.running():
        await node.create("p", {}, {}, initContainers=init(SIDECAR, SIDECAR), terminationGracePeriodSeconds=9)
        await node.running_pod()
        await node.client.delete("pods", "p", "default")
        await node.gone()
    stops = [step for step in node.runtime.order if step.startswith("stop")]
    assert sorted(stops[:2]) == ["stop c1", "stop c2"]
    assert stops[2:] == ["stop i2", "stop i1"]


async def test_a_new_sandbox_is_initialized_anew(node: FakeNode) -> None:
    async with node.running():
        await node.create(initContainers=init({}))
        await node.until(lambda pod: "running" in init_state(pod))
        node.runtime.end("i1")
        await node.running_pod()
    for sandbox in list(node.runtime.sandboxes):
        await node.runtime.stop_pod_sandbox(sandbox)
    node.runtime.end("c1", 137)
    node.agent = node.new_agent()
    async with node.running():
        pod = await node.until(lambda pod: "running" in init_state(pod))
        assert pod["status"]["initContainerStatuses"][0]["restartCount"] == 1
        node.runtime.end("i1")
        pod = await node.running_pod()
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 1


async def test_a_containers_own_rules_decide_on_its_restart(node: FakeNode) -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    async with node.running():
        await node.create("p", {"restartPolicy": "Never", "restartPolicyRules": rules}, restartPolicy="Always")
        await node.running_pod()
        node.runtime.end("c1", 42)
        await node.until(lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1 and state(pod))
        await node.running_pod()
        node.runtime.end("c1", 1)
        await node.until(lambda pod: pod["status"]["phase"] == "Failed")


async def test_a_back_off_is_kept_over_a_restart_of_the_server(node: FakeNode) -> None:
    async with node.running():
        await node.create()
        await node.running_pod()
        node.runtime.end("c1", 1)
        await node.until(
            lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1 and "running" in state(pod)
        )
    node.agent = node.new_agent()
    async with node.running():
        node.runtime.end("c1", 1)
        pod = await node.until(lambda pod: waiting(pod) == "CrashLoopBackOff")
    assert state(pod)["waiting"]["message"].startswith("back-off 10s restarting")


def hook(**handler: Any) -> dict[str, Any]:
    return {"lifecycle": handler}


def run(command: str) -> dict[str, Any]:
    return {"exec": {"command": [command]}}


async def test_a_post_start_hook_holds_back_the_next_container(node: FakeNode) -> None:
    async with node.running():
        await node.create("p", hook(postStart=run("greet")), {})
        await node.running_pod()
    assert [step for step in node.runtime.order if step[:4] in ("star", "exec")] == [
        "start c1",
        "exec greet",
        "start c2",
    ]


async def test_a_post_start_hook_that_fails_ends_its_container(node: FakeNode) -> None:
    node.runtime.exec_codes["greet"] = 7
    async with node.running():
        await node.create("p", hook(postStart=run("greet")), restartPolicy="Never")
        pod = await node.until(lambda pod: pod["status"]["phase"] == "Failed")
        assert (await node.event("FailedPostStartHook"))["message"] == "PostStartHook failed"
        assert (await node.event("Killing"))["message"] == "FailedPostStartHook"
    assert "terminated" in state(pod)


async def test_a_pod_is_deleted_while_its_post_start_hook_hangs(node: FakeNode) -> None:
    node.runtime.exec_codes["greet"] = -1
    async with node.running():
        await node.create("p", hook(postStart=run("greet")))
        await node.event("Started")
        await node.client.delete("pods", "p", "default")
        await node.gone()


async def test_a_socket_is_no_hook(node: FakeNode) -> None:
    async with node.running():
        await node.create("p", hook(postStart={"tcpSocket": {"port": 80}}), restartPolicy="Never")
        await node.event("FailedPostStartHook")
        await node.until(lambda pod: pod["status"]["phase"] == "Failed")


async def test_a_pre_stop_hook_comes_before_the_stop_signal_and_its_failure_is_told(node: FakeNode) -> None:
    node.runtime.exec_codes["bye"] = 1
    async with node.running():
        await node.create("p", hook(preStop=run("bye")))
        await node.running_pod()
        await node.client.delete("pods", "p", "default")
        await node.gone()
        assert (await node.event("FailedPreStopHook"))["message"] == "PreStopHook failed"
    assert node.runtime.order[-2:] == ["exec bye", "stop c1"]


async def test_a_pre_stop_hook_that_hangs_is_cut_by_the_grace(node: FakeNode) -> None:
    node.runtime.exec_codes["bye"] = -1
    async with node.running():
        await node.create("p", hook(preStop=run("bye")), terminationGracePeriodSeconds=1)
        await node.running_pod()
        await node.client.delete("pods", "p", "default")
        await node.gone()
    assert node.runtime.graces == [stopping.MINIMUM_GRACE]


async def test_a_second_delete_shortens_a_hook_that_is_not_begun_again(node: FakeNode) -> None:
    node.runtime.exec_codes["bye"] = -1
    async with node.running():
        await node.create("p", hook(preStop=run("bye")), terminationGracePeriodSeconds=1000)
        await node.running_pod()
        await node.client.delete("pods", "p", "default")
        await node.event("Killing")
        await node.client.delete("pods", "p", "default", grace_period_seconds=1)
        await node.gone()
    assert node.runtime.order.count("exec bye") == 1


async def test_a_pre_stop_sleep_is_over_with_its_container(node: FakeNode) -> None:
    async with node.running():
        await node.create("p", hook(preStop={"sleep": {"seconds": 600}}), terminationGracePeriodSeconds=1000)
        await node.running_pod()
        await node.client.delete("pods", "p", "default")
        await node.event("Killing")
        node.runtime.end("c1")
        async with asyncio.timeout(5):
            await node.gone()
