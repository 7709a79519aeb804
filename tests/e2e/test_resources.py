"""What pods may use, with real containers: limits, resize, what does not fit, and those who take more than they may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.instance import IMAGE, TestInstance, pod

ROOT = Path("/sys/fs/cgroup")
UNIFIED = (ROOT / "cgroup.controllers").exists()


@pytest.fixture(autouse=True)
def no_pods_left(instance: TestInstance) -> Iterator[None]:
    yield
    instance.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")


def shell(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": IMAGE, "command": ["sh", "-c", script], **more}


def _group(instance: TestInstance, name: str) -> Path:
    """The memory cgroup of a pod, wherever it is below the instance's."""
    uid = instance.get("pod", name)["metadata"]["uid"]
    (found,) = (ROOT if UNIFIED else ROOT / "memory").glob(f"podstead-{instance.name}/**/pod{uid}")
    return found


def _limit(group: Path) -> int:
    return int((group / ("memory.max" if UNIFIED else "memory.limit_in_bytes")).read_text())


def test_a_resize_changes_the_cgroups_of_a_running_pod(instance: TestInstance) -> None:
    limits = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}
    instance.create(pod("resized", shell("c", "sleep 1000", resources=limits)))
    instance.wait("resized")
    group = _group(instance, "resized")
    assert group.parent.name == "burstable"
    assert _limit(group) == 64 << 20
    larger = {"limits": {"memory": "96Mi"}, "requests": {"memory": "48Mi"}}
    patch = json.dumps({"spec": {"containers": [{"name": "c", "resources": larger}]}})
    instance.kubectl("patch", "pod", "resized", "--subresource=resize", "-p", patch, check=True)
    instance.wait("resized", "jsonpath={.status.containerStatuses[0].resources.limits.memory}=96Mi")
    (status,) = instance.get("pod", "resized")["status"]["containerStatuses"]
    assert (status["restartCount"], status["allocatedResources"]["memory"]) == (0, "48Mi")
    container = group / status["containerID"].partition("://")[2]
    assert (_limit(container), _limit(group)) == (96 << 20, 96 << 20)
    too_much = json.dumps({"spec": {"containers": [{"name": "c", "resources": {"requests": {"memory": "95Mi"}}}]}})
    instance.kubectl("patch", "pod", "resized", "--subresource=resize", "-p", too_much, check=True)
    instance.wait("resized", "jsonpath={.status.containerStatuses[0].allocatedResources.memory}=95Mi")


def test_what_the_node_cannot_hold(instance: TestInstance) -> None:
    asks = {"requests": {"cpu": "1000"}}
    instance.create(pod("waits", shell("c", "sleep 1000", resources=asks)))
    (node,) = instance.get("nodes")["items"]
    instance.create(pod("bound", shell("c", "sleep 1000", resources=asks), nodeName=node["metadata"]["name"]))
    instance.wait("waits", "condition=PodScheduled=False")
    (condition,) = instance.get("pod", "waits")["status"]["conditions"]
    assert condition["message"] == "0/1 nodes are available: 1 Insufficient cpu."
    instance.wait("bound", "jsonpath={.status.phase}=Failed")
    assert instance.get("pod", "bound")["status"]["reason"] == "OutOfcpu"
    assert instance.kubectl("get", "pod", "bound", "--no-headers").stdout.split()[:3] == ["bound", "0/1", "OutOfcpu"]


def test_who_takes_too_much_memory_ends_alone(instance: TestInstance) -> None:
    hog = {"name": "hog", "image": IMAGE, "command": ["dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1"]}
    limited = {**hog, "resources": {"limits": {"memory": "16Mi"}}}
    instance.create(pod("hungry", limited, shell("calm", "sleep 1000"), restartPolicy="Never"))
    instance.wait("hungry", 'jsonpath={.status.containerStatuses[?(@.name=="hog")].state.terminated.reason}=OOMKilled')
    calm, hog_status = sorted(instance.get("pod", "hungry")["status"]["containerStatuses"], key=lambda one: one["name"])
    assert hog_status["state"]["terminated"]["exitCode"] == 137
    assert "running" in calm["state"]


def test_a_command_that_is_a_directory(instance: TestInstance) -> None:
    instance.create(pod("folder", {"name": "c", "image": IMAGE, "command": ["/tmp"]}, restartPolicy="Never"))
    instance.wait("folder", "jsonpath={.status.phase}=Failed")
    (status,) = instance.get("pod", "folder")["status"]["containerStatuses"]
    terminated = status["state"]["terminated"]
    assert terminated["reason"] in ("StartError", "ContainerCannotRun")
    assert terminated["exitCode"] in (126, 128)
    assert "/tmp" in terminated["message"]


def test_what_a_first_process_leaves_behind_goes_with_it(instance: TestInstance) -> None:
    """It forks twice, so that what runs is nobody's child, and ends."""
    forks = "i=0; while [ $i -lt 50 ]; do (sleep 31415 & ) & i=$((i+1)); done; wait; exit 0"
    instance.create(pod("daemon", shell("c", forks), restartPolicy="Never"))
    instance.wait("daemon", "jsonpath={.status.phase}=Succeeded")
    assert instance.run("pgrep", "-f", "sleep 31415").stdout == ""


def test_a_taint_ends_the_pods_that_do_not_tolerate_it(instance: TestInstance) -> None:
    tolerations = [{"key": "down", "operator": "Exists"}]
    for name, more in (("weak", {}), ("strong", {"tolerations": tolerations})):
        instance.create(pod(name, shell("c", "sleep 1000"), terminationGracePeriodSeconds=0, **more))
        instance.wait(name)
    try:
        instance.kubectl("taint", "node", "--all", "down=:NoExecute", check=True)
        instance.kubectl("wait", "pod", "weak", "--for=delete", "--timeout=20s", check=True)
        assert instance.get("pod", "strong")["status"]["phase"] == "Running"
    finally:
        instance.kubectl("taint", "node", "--all", "down-", check=True)


def test_what_is_reserved_is_kept_for_the_next_start(own_instance: TestInstance) -> None:
    def memory(kind: str) -> int:
        (node,) = own_instance.get("nodes")["items"]
        return int(node["status"][kind]["memory"].removesuffix("Ki"))

    assert memory("allocatable") == memory("capacity")
    own_instance.podstead("down", check=True)
    own_instance.up("--system-reserved", "memory=1Gi")
    own_instance.podstead("down", check=True)
    own_instance.up()
    assert memory("capacity") - memory("allocatable") == 1 << 20
    refused = own_instance.up("--system-reserved", "pods=3", check=False)
    assert 'cannot reserve "pods"' in refused.stderr
