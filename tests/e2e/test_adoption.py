"""A server that is killed and started again: what ran goes on running, what ended has ended, nothing is left over."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from support.instance import TestInstance, pod

pytestmark = pytest.mark.vm


def kill_server(instance: TestInstance) -> None:
    """End the server as a crash does, and wait until it is gone."""
    server = instance.server()
    os.kill(server["pid"], signal.SIGKILL)
    instance.until(lambda: has_ended(server["pid"]))


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone, or only waits to be reaped by whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def identity(instance: TestInstance, name: str) -> tuple[Any, ...]:
    """Return what must not change: container ID, restart count, the pid that the container's own process has."""
    status = instance.get("pod", name)["status"]
    container = status["containerStatuses"][0]
    running = container["state"]["running"]["startedAt"]
    return container["containerID"], container["restartCount"], running, status["podIP"], host_pid(container)


def host_pid(container: dict[str, Any]) -> str:
    identity = container["containerID"].rpartition("/")[2]
    procs = list(Path("/sys/fs/cgroup").glob(f"**/{identity}/cgroup.procs"))
    pids = procs[0].read_text().split()
    return next(pid for pid in pids if _is_first(pid))


def _is_first(pid: str) -> bool:
    """Whether a process is number 1 in its container."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return "NSpid" in status and status.partition("NSpid:")[2].splitlines()[0].split()[-1] == "1"


def test_running_containers_are_adopted(own_instance: TestInstance) -> None:
    instance = own_instance
    writing = {"command": ["sh", "-c", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done"]}
    manifest = pod(
        "steady",
        {
            **writing,
            "volumeMounts": [{"name": "disk", "mountPath": "/disk"}, {"name": "memory", "mountPath": "/memory"}],
        },
        volumes=[{"name": "disk", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory"}}],
    )
    instance.create(manifest)
    instance.wait("steady")
    instance.kubectl("exec", "steady", "--", "sh", "-c", "echo kept > /disk/f; echo kept > /memory/f", check=True)
    before = identity(instance, "steady")
    kill_server(instance)
    assert "running already" not in instance.up().stdout
    instance.wait("steady")
    assert identity(instance, "steady") == before
    kept = instance.kubectl("exec", "steady", "--", "cat", "/disk/f", "/memory/f", check=True).stdout
    assert kept == "kept\nkept\n"
    lines = instance.kubectl("logs", "steady").stdout.splitlines()
    assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]
    instance.kubectl("delete", "pod", "steady", check=True)


def test_what_ended_or_was_deleted_meanwhile_is_settled(own_instance: TestInstance) -> None:
    instance = own_instance
    instance.create(
        pod("ends", {"command": ["sh", "-c", "while [ ! -e /go ]; do sleep 0.01; done; exit 5"]}, restartPolicy="Never")
    )
    instance.create(pod("killed"))
    for name in ("ends", "killed"):
        instance.wait(name)
    ends = host_pid(instance.get("pod", "ends")["status"]["containerStatuses"][0])
    killed = host_pid(instance.get("pod", "killed")["status"]["containerStatuses"][0])
    kill_server(instance)
    Path(f"/proc/{ends}/root/go").touch()
    os.kill(int(killed), signal.SIGKILL)
    instance.until(lambda: has_ended(int(ends)) and has_ended(int(killed)))
    instance.up()
    instance.wait("ends", "jsonpath={.status.phase}=Failed")
    assert instance.get("pod", "ends")["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 5
    instance.wait("killed", "jsonpath={.status.containerStatuses[0].restartCount}=1")
    instance.wait("killed")
    last = instance.get("pod", "killed")["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert last["exitCode"] == 137


def test_a_container_that_lost_its_monitor_is_restarted(own_instance: TestInstance) -> None:
    """Without its conmon a container has no log and no exit code: it is not adopted."""
    instance = own_instance
    instance.create(pod("orphan"))
    instance.wait("orphan")
    container = instance.get("pod", "orphan")["status"]["containerStatuses"][0]
    main = int(host_pid(container))
    monitor = int(Path(f"/proc/{main}/stat").read_text().rpartition(")")[2].split()[1])
    assert "conmon" in Path(f"/proc/{monitor}/comm").read_text()
    kill_server(instance)
    os.kill(monitor, signal.SIGKILL)
    instance.up()
    instance.wait("orphan", "jsonpath={.status.containerStatuses[0].restartCount}=1")
    instance.wait("orphan")
    assert has_ended(main)


def test_pods_come_back_after_down_and_up(own_instance: TestInstance) -> None:
    instance = own_instance
    manifest = pod(
        "returns",
        {"volumeMounts": [{"name": "disk", "mountPath": "/disk"}]},
        volumes=[{"name": "disk", "emptyDir": {}}],
    )
    instance.create(manifest)
    instance.wait("returns")
    instance.kubectl("exec", "returns", "--", "sh", "-c", "echo kept > /disk/f", check=True)
    instance.down()
    assert instance.leftovers() == []
    instance.up()
    instance.wait("returns", "jsonpath={.status.containerStatuses[0].restartCount}=1")
    instance.wait("returns")
    assert instance.kubectl("exec", "returns", "--", "cat", "/disk/f").stdout == "kept\n"


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.08, 0.15])
def test_a_crash_in_the_middle_of_a_start_is_healed(own_instance: TestInstance, delay: float) -> None:
    """Killed at some moment of a pod's start: afterwards each container runs once, and the pod can be deleted."""
    instance = own_instance
    instance.create(pod("half", {}, {}, volumes=[{"name": "v", "emptyDir": {}}]))
    import time

    time.sleep(delay)
    kill_server(instance)
    instance.up()
    instance.wait("half")
    status = instance.get("pod", "half")["status"]
    for container in status["containerStatuses"]:
        identity = container["containerID"].rpartition("/")[2]
        assert len(list(Path(f"/run/podstead/{instance.name}/c").glob(identity))) == 1
    assert len(list(Path(f"/run/podstead/{instance.name}/c").iterdir())) == 2
    instance.kubectl("delete", "pod", "half", check=True)
    instance.until(lambda: not list(Path(f"/run/podstead/{instance.name}/c").iterdir()))
