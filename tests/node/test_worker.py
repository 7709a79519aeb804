"""A pod's life on its node, as the API shows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from podstead import clock
from podstead.node import starting
from podstead.node.runtime.base import CreateFailed, RuntimeFailure
from podstead.node.volumes.base import VolumeError
from support.fakenode import NODE, FakeNode, fake_node, state, waiting


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[FakeNode]:
    async with fake_node(tmp_path) as one:
        yield one


async def test_a_pod_runs_and_tells_who_and_where_it_is(node: FakeNode) -> None:
    async with node.running():
        await node.create()
        pod = await node.running_pod()
    status = pod["status"]
    assert (status["podIP"], status["hostIP"]) == ("10.0.0.9", "192.0.2.1")
    assert status["containerStatuses"][0]["restartCount"] == 0
    assert {one["type"]: one["status"] for one in status["conditions"]} == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
        "PodScheduled": "True",
    }


async def test_containers_start_in_the_order_of_the_spec(node: FakeNode) -> None:
    async with node.running():
        await node.create("p", {"name": "b"}, {"name": "a"}, {"name": "c"})
        await node.running_pod()
    assert [step for step in node.runtime.order if step.startswith("start")] == ["start b", "start a", "start c"]


async def test_a_container_waits_for_the_image_of_the_one_before_it(node: FakeNode) -> None:
    node.images.gate.clear()
    async with node.running():
        await node.create("p", {"image": "late:1"}, {})
        await node.until(lambda pod: waiting(pod, 1) == "ContainerCreating")
        assert not [step for step in node.runtime.order if step.startswith("create")]
        node.images.gate.set()
        await node.running_pod()
    assert [step for step in node.runtime.order if step.startswith("start")] == ["start c1", "start c2"]


async def test_a_pod_that_may_not_be_restarted_succeeds_or_fails(node: FakeNode) -> None:
    async with node.running():
        await node.create("good", restartPolicy="Never")
        await node.running_pod("good")
        node.runtime.end("c1", 0)
        good = await node.until(lambda pod: pod["status"]["phase"] == "Succeeded", "good")
        await node.create("bad", restartPolicy="Never")
        await node.running_pod("bad")
        node.runtime.end("c1", 3)
        bad = await node.until(lambda pod: pod["status"]["phase"] == "Failed", "bad")
    assert state(good)["terminated"]["reason"] == "Completed"
    assert state(bad)["terminated"] | {"exitCode": 3, "reason": "Error"} == state(bad)["terminated"]
    conditions = {one["type"]: one for one in good["status"]["conditions"]}
    assert conditions["Ready"]["reason"] == "PodCompleted"
    assert conditions["PodReadyToStartContainers"]["status"] == "False"


async def test_a_crashing_container_is_restarted_once_at_once_then_backs_off(node: FakeNode) -> None:
    async with node.running():
        await node.create()
        await node.running_pod()
        node.runtime.end("c1", 1)
        again = await node.until(lambda pod: _restarts(pod) == 1)
        assert again["status"]["phase"] == "Running"
        await node.until(lambda pod: "running" in state(pod))
        node.runtime.end("c1", 1)
        pod = await node.until(lambda pod: waiting(pod) == "CrashLoopBackOff")
        assert "back-off 10s restarting failed container=c1" in state(pod)["waiting"]["message"]
        assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1
        await node.event("BackOff", "Back-off restarting failed container c1 in pod p_default(")


async def test_a_restart_that_waits_for_its_image_counts_once(node: FakeNode) -> None:
    """Each pass counted before: `imagePullPolicy: Always` doubled the back-off of a crash loop."""
    async with node.running():
        await node.create("p", {"imagePullPolicy": "Always"})
        await node.running_pod()
        node.images.gate.clear()
        node.runtime.end("c1", 1)
        await node.until(lambda pod: waiting(pod) == "ContainerCreating")
        node.images.gate.set()
        pod = await node.until(lambda pod: "running" in state(pod))
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 1


async def test_another_image_restarts_the_container_whatever_the_policy(node: FakeNode) -> None:
    node.images.present.add("busybox:2")
    async with node.running():
        await node.create("p", {}, {}, restartPolicy="Never", terminationGracePeriodSeconds=7)
        before = await node.running_pod()
        await _set_image(node, before, "busybox:2")
        pod = await node.until(lambda pod: pod["status"]["containerStatuses"][0]["image"] == "busybox:2")
        event = await node.event("Killing")
    assert event["message"] == "Container c1 definition changed, will be restarted"
    assert node.runtime.graces == [7.0]
    first, second = pod["status"]["containerStatuses"]
    assert (first["restartCount"], second["restartCount"]) == (1, 0)
    assert first["lastState"]["terminated"]["exitCode"] == 137
    assert second["containerID"] == before["status"]["containerStatuses"][1]["containerID"]
    assert pod["status"]["phase"] == "Running"


async def test_another_image_ends_the_back_off(node: FakeNode) -> None:
    node.images.present.add("busybox:2")
    async with node.running():
        await node.create()
        before = await node.running_pod()
        node.runtime.end("c1", 1)
        await node.until(lambda pod: _restarts(pod) == 1 and "running" in state(pod))
        node.runtime.end("c1", 1)
        await node.until(lambda pod: waiting(pod) == "CrashLoopBackOff")
        await _set_image(node, before, "busybox:2")
        await node.until(lambda pod: "running" in state(pod))


def _restarts(pod: dict[str, Any]) -> int:
    count: int = pod["status"]["containerStatuses"][0]["restartCount"]
    return count


async def _set_image(node: FakeNode, pod: dict[str, Any], image: str) -> None:
    first, *others = pod["spec"]["containers"]
    await node.client.patch("pods", "p", "default", {"spec": {"containers": [{**first, "image": image}, *others]}})


async def test_a_command_that_does_not_exist_is_told_in_the_state(node: FakeNode) -> None:
    node.runtime.create_errors["c1"] = [CreateFailed('exec: "nope": executable file not found in $PATH')]
    async with node.running():
        await node.create(restartPolicy="Never")
        pod = await node.until(lambda pod: pod["status"]["phase"] == "Failed")
    terminated = state(pod)["terminated"]
    assert (terminated["reason"], terminated["exitCode"]) == ("StartError", 128)
    assert "executable file not found" in terminated["message"]


async def test_a_start_that_fails_is_tried_again_with_a_back_off(node: FakeNode) -> None:
    node.runtime.start_errors["c1"] = [CreateFailed("no") for _ in range(5)]
    async with node.running():
        await node.create()
        pod = await node.until(lambda pod: waiting(pod) == "CrashLoopBackOff")
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"] == "StartError"
    assert len(node.runtime.start_errors["c1"]) == 3


async def test_a_pod_whose_volumes_fail_says_so_and_can_be_deleted(node: FakeNode) -> None:
    node.volumes.errors = [VolumeError("no room") for _ in range(9)]
    async with node.running():
        await node.create()
        await node.until(lambda pod: waiting(pod) == "ContainerCreating")
        assert (await node.event("FailedMount"))["message"] == "no room"
        await node.client.delete("pods", "p", "default")
        await node.gone()
    assert node.runtime.sandboxes == {}


async def test_a_pod_that_waits_for_the_network_shows_it_and_can_be_deleted(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "_PATIENCE", 0.0)
    async with node.running(network=False):
        node.agent.network_failed("no nft")
        await node.create()
        await node.until(lambda pod: waiting(pod) == "ContainerCreating")
        await node.create("q")
        await node.client.delete("pods", "p", "default")
        await node.gone()
        assert node.runtime.order == []
        node.agent.network_is_ready()
        await node.running_pod("q")


async def test_a_pod_is_deleted_while_its_image_is_pulled(node: FakeNode) -> None:
    node.images.gate.clear()
    async with node.running():
        await node.create("p", {"image": "late:1"})
        await node.until(lambda pod: waiting(pod) == "ContainerCreating")
        await node.client.delete("pods", "p", "default")
        await node.gone()
    assert node.runtime.containers == {}
    assert not node.paths.pods.exists() or not list(node.paths.pods.iterdir())


async def test_a_pod_deleted_with_grace_is_stopped_with_it(node: FakeNode) -> None:
    async with node.running():
        await node.create(terminationGracePeriodSeconds=9)
        await node.running_pod()
        await node.client.delete("pods", "p", "default")
        await node.gone()
        assert (await node.event("Killing"))["message"] == "Stopping container c1"
    assert [round(grace) for grace in node.runtime.graces] == [9]


async def test_a_second_delete_shortens_the_grace(node: FakeNode) -> None:
    node.runtime.deaf = True
    async with node.running():
        await node.create(terminationGracePeriodSeconds=1000)
        await node.running_pod()
        await node.client.delete("pods", "p", "default")
        await node.event("Killing")
        await node.client.delete("pods", "p", "default", grace_period_seconds=0)
        await node.gone()
        while node.runtime.sandboxes:
            await asyncio.sleep(0)
    assert node.runtime.graces[-1] == 0


async def test_a_pod_may_be_made_again_under_its_name_at_once(node: FakeNode) -> None:
    """As a StatefulSet does after a forced deletion: the old one's end touches nothing of the new one."""
    async with node.running():
        await node.create()
        first = await node.running_pod()
        await node.client.delete("pods", "p", "default", grace_period_seconds=0)
        second = await node.create()
        pod = await node.running_pod()
        async with asyncio.timeout(5):
            while len(node.runtime.sandboxes) > 1:
                await asyncio.sleep(0)
    assert pod["metadata"]["uid"] == second["metadata"]["uid"] != first["metadata"]["uid"]
    assert [one.uid for one in node.runtime.sandboxes.values()] == [second["metadata"]["uid"]]


async def test_a_pod_that_a_finalizer_holds_is_ended_and_left_alone(node: FakeNode) -> None:
    async with node.running():
        await node.create()
        await node.running_pod()
        await node.client.patch("pods", "p", "default", {"metadata": {"finalizers": ["example.com/hold"]}})
        await node.client.delete("pods", "p", "default", grace_period_seconds=1)
        ended = await node.until(lambda pod: pod["status"]["phase"] == "Failed")
        await node.client.patch("pods", "p", "default", {"metadata": {"labels": {"seen": "yes"}}})
        await node.client.patch("pods", "p", "default", {"metadata": {"finalizers": None}})
        await node.gone()
    assert state(ended)["terminated"]["exitCode"] == 137


async def test_a_deadline_ends_the_pod_even_while_it_waits_for_its_volumes(node: FakeNode) -> None:
    node.volumes.gate.clear()
    async with node.running():
        await node.create(activeDeadlineSeconds=1)
        pod = await node.until(lambda pod: pod["status"]["phase"] == "Failed")
    assert pod["status"]["reason"] == "DeadlineExceeded"
    assert pod["status"]["message"] == "Pod was active on the node longer than the specified deadline"


async def test_a_deadline_set_later_counts_from_the_start(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    async with node.running():
        await node.create()
        await node.running_pod()
        real = clock.now
        monkeypatch.setattr(clock, "now", lambda: real() + timedelta(seconds=60))
        await node.client.patch("pods", "p", "default", {"spec": {"activeDeadlineSeconds": 30}})
        await node.until(lambda pod: pod["status"].get("reason") == "DeadlineExceeded")


async def test_a_fault_in_one_pod_harms_no_other(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = node.runtime.run_pod_sandbox

    async def faulty(config):  # type: ignore[no-untyped-def]
        if config.name == "bad":
            raise KeyError("a fault")
        return await broken(config)

    monkeypatch.setattr(node.runtime, "run_pod_sandbox", faulty)
    async with node.running():
        await node.create("bad")
        assert (await node.event("FailedSync"))["involvedObject"]["name"] == "bad"
        await node.create("good")
        await node.running_pod("good")


async def test_a_runtime_that_lost_the_sandbox_is_told_as_a_waiting_reason(node: FakeNode) -> None:
    node.runtime.create_errors["c1"] = [RuntimeFailure("no such sandbox")]
    async with node.running():
        await node.create()
        pod = await node.until(lambda pod: waiting(pod) == "CreateContainerError")
    assert state(pod)["waiting"]["message"] == "no such sandbox"


async def test_the_next_server_adopts_what_runs(node: FakeNode) -> None:
    async with node.running():
        await node.create()
        before = await node.running_pod()
    node.agent = node.new_agent()
    async with node.running():
        await node.create("q")
        await node.running_pod("q")
        after = await node.pod()
    assert after["status"] == before["status"]


async def test_what_ended_while_no_server_ran_is_told(node: FakeNode) -> None:
    async with node.running():
        await node.create(restartPolicy="Never")
        await node.running_pod()
    node.runtime.end("c1", 0)
    node.agent = node.new_agent()
    async with node.running():
        await node.until(lambda pod: pod["status"]["phase"] == "Succeeded")
    assert node.runtime.order.count("sandbox p") == 1


async def test_a_container_whose_record_is_lost_counts_as_restarted(node: FakeNode) -> None:
    async with node.running():
        await node.create()
        await node.running_pod()
    node.runtime.containers.clear()
    node.agent = node.new_agent()
    async with node.running():
        await node.until(lambda pod: _restarts(pod) == 1)
        pod = await node.running_pod()
    last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("ContainerStatusUnknown", 137)


async def test_a_pod_deleted_while_no_server_ran_is_removed(node: FakeNode) -> None:
    async with node.running():
        await node.create()
        pod = await node.running_pod()
    await node.client.delete("pods", "p", "default", grace_period_seconds=0)
    node.agent = node.new_agent()
    async with node.running():
        async with asyncio.timeout(5):
            while list(node.paths.pods.iterdir()):
                await asyncio.sleep(0)
    assert node.runtime.sandboxes == {}
    assert pod["metadata"]["uid"] in node.volumes.torn_down


async def test_a_pod_marked_failed_by_somebody_is_ended_and_its_containers_told(node: FakeNode) -> None:
    async with node.running():
        await node.create()
        await node.running_pod()
        mark = {"status": {"phase": "Failed", "reason": "Evicted"}}
        await node.client.patch("pods", "p", "default", mark, subresource="status")
        pod = await node.until(lambda pod: "terminated" in state(pod))
    assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "Evicted")


async def test_a_pod_of_another_node_is_left_alone(node: FakeNode) -> None:
    async with node.running():
        await node.create("other", nodeName="elsewhere")
        await node.create("mine", nodeName=NODE)
        await node.running_pod("mine")
        assert (await node.pod("other"))["status"]["phase"] == "Pending"
    assert node.runtime.order[0] == "sandbox mine"
