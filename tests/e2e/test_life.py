"""Init containers, sidecars, hooks and ends with real containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.instance import IMAGE, TestInstance, pod

LOOP = "while :; do sleep 0.05; done"


@pytest.fixture(autouse=True)
def no_pods_left(instance: TestInstance) -> Iterator[None]:
    yield
    instance.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")


def shell(name: str, script: str, **more: Any) -> dict[str, Any]:
    mounts = [{"name": "x", "mountPath": "/x"}]
    return {"name": name, "image": IMAGE, "command": ["sh", "-c", script], "volumeMounts": mounts, **more}


def shared(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return pod(name, *containers, volumes=[{"name": "x", "emptyDir": {}}], **spec)


def test_init_containers_and_a_sidecar_prepare_a_pod_and_the_sidecar_ends_last(instance: TestInstance) -> None:
    init = [
        shell("first", "echo first >> /x/log"),
        shell(
            "beside", f"echo beside >> /x/log; trap 'sed s/^/saw:/ /x/log; exit 0' TERM; {LOOP}", restartPolicy="Always"
        ),
        shell("second", "until grep -q beside /x/log; do sleep 0.02; done; echo second >> /x/log"),
    ]
    main = shell("main", "echo main >> /x/log")
    made = shared("prepared", main, initContainers=init, restartPolicy="Never", terminationGracePeriodSeconds=30)
    instance.create(made)
    instance.wait("prepared", "jsonpath={.status.phase}=Succeeded")
    assert instance.kubectl("logs", "prepared", "-c", "beside").stdout.split() == [
        "saw:first",
        "saw:beside",
        "saw:second",
        "saw:main",
    ]
    status = instance.get("pod", "prepared")["status"]
    assert [one["state"]["terminated"]["reason"] for one in status["initContainerStatuses"]] == ["Completed"] * 3
    assert instance.kubectl("get", "pod", "prepared", "--no-headers").stdout.split()[:3] == [
        "prepared",
        "0/2",
        "Completed",
    ]


def test_an_init_container_that_fails_is_shown_as_everywhere(instance: TestInstance) -> None:
    broken = shell("broken", "echo no; exit 3")
    instance.create(shared("unready", shell("main", "true"), initContainers=[broken], restartPolicy="Never"))
    instance.wait("unready", "jsonpath={.status.phase}=Failed")
    assert instance.kubectl("get", "pod", "unready", "--no-headers").stdout.split()[2] == "Init:Error"
    assert instance.kubectl("logs", "unready", "-c", "broken").stdout == "no\n"
    assert "is waiting to start: PodInitializing" in instance.kubectl("logs", "unready", "-c", "main").stderr


def test_hooks_run_in_the_container(instance: TestInstance) -> None:
    hooks = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo started > /x/log"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo stopping >> /x/log; cat /x/log > /proc/1/fd/1"]}},
        "stopSignal": "SIGUSR1",
    }
    main = shell("main", f"trap 'echo usr1; exit 0' USR1; echo armed; {LOOP}", lifecycle=hooks)
    spec = {"terminationGracePeriodSeconds": 30, "os": {"name": "linux"}}
    instance.create(shared("hooked", main, **spec))
    instance.wait("hooked")
    instance.until(lambda: "armed" in instance.kubectl("logs", "hooked").stdout)
    hold = '{"metadata": {"finalizers": ["example.com/hold"]}}'
    instance.kubectl("patch", "pod", "hooked", "--type=merge", "-p", hold, check=True)
    instance.kubectl("delete", "pod", "hooked", "--wait=false", check=True)
    try:
        instance.wait("hooked", "jsonpath={.status.phase}=Succeeded")
        terminated = instance.get("pod", "hooked")["status"]["containerStatuses"][0]["state"]["terminated"]
        assert terminated["exitCode"] == 0
    finally:
        release = '{"metadata": {"finalizers": null}}'
        instance.kubectl("patch", "pod", "hooked", "--type=merge", "-p", release, check=True)
    instance.kubectl("wait", "--for=delete", "pod/hooked", "--timeout=30s")


def test_containers_that_share_their_processes_see_each_other_and_begin_anew_with_the_first(
    instance: TestInstance,
) -> None:
    instance.create(shared("one", shell("a", LOOP), shell("b", "sleep 5000"), shareProcessNamespace=True))
    instance.wait("one")
    look = "cat /proc/1/cmdline; echo; ps -o args; (true &); sleep 0.2; grep -h State /proc/[0-9]*/status"
    seen = instance.kubectl("exec", "one", "-c", "a", "--", "sh", "-c", look).stdout
    assert seen.startswith("/pause")
    assert "sleep 5000" in seen
    assert "zombie" not in seen
    pids = instance.run("pgrep", "-x", "pause").stdout.split()
    own = [pid for pid in pids if f"podstead-{instance.name}/" in Path(f"/proc/{pid}/cgroup").read_text()]
    instance.run("kill", "-9", *own, check=True)

    def restarted() -> bool:
        statuses = instance.get("pod", "one")["status"]["containerStatuses"]
        return all(one["restartCount"] == 1 and one["ready"] for one in statuses)

    instance.until(restarted)
