"""The life cycle that every runtime must pass: sandboxes, create, start, stop, ends and their reasons, removal."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest
from runtime_instance import DEADLINE, Instance, Pod

from podstead.linux import mounts
from podstead.node.runtime.base import (
    ContainerState,
    CreateFailed,
    Mount,
    NotFound,
    Resources,
    RuntimeFailure,
    Security,
)
from podstead.node.runtime.oci import OCIRuntime


async def test_recipe_with_relative_command_runs_and_leaves_nothing(instance: Instance, pod: Pod) -> None:
    runtime = pod.runtime
    container_id = await pod.run("bin/bash", "-c", "sleep 10000")
    status = await runtime.container_status(container_id)
    assert (status.state, status.name, status.attempt, status.pod_uid) == (ContainerState.RUNNING, "c1", 0, "u1")
    assert Path(f"/proc/{status.pid}").exists()
    await runtime.stop_container(container_id, 0)
    await runtime.remove_pod_sandbox(pod.sandbox.id)
    assert not any(instance.remains().values()), instance.remains()
    assert await runtime.list_containers() == await runtime.list_sandboxes() == []


async def test_end_is_told_once_with_code_times_and_log(pod: Pod) -> None:
    container_id = await pod.run("sh", "-c", "echo out; echo err >&2; exit 3")
    status = await pod.end(container_id)
    assert (status.state, status.exit_code, status.reason) == (ContainerState.EXITED, 3, "Error")
    assert status.started_at is not None
    assert status.finished_at is not None
    assert status.created_at <= status.started_at
    assert sorted(pod.instance.log().splitlines()) == ["err", "out"]
    assert status.pid == 0


async def test_success_is_completed(pod: Pod) -> None:
    status = await pod.end(await pod.run("true"))
    assert (status.exit_code, status.reason) == (0, "Completed")


async def test_stop_signal_lets_a_container_end_by_itself(pod: Pod) -> None:
    script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    container_id = await pod.run_until("ready", "sh", "-c", script)
    await pod.runtime.stop_container(container_id, DEADLINE)
    assert (await pod.runtime.container_status(container_id)).exit_code == 7
    assert "bye" in pod.instance.log()


async def test_grace_over_means_sigkill(pod: Pod) -> None:
    container_id = await pod.run("sleep", "10000")
    began = time.monotonic()
    await pod.runtime.stop_container(container_id, 0.2)
    status = await pod.runtime.container_status(container_id)
    assert 0.2 <= time.monotonic() - began < 5
    assert (status.exit_code, status.reason) == (137, "Error")


async def test_a_shorter_grace_overtakes_a_longer_one(pod: Pod) -> None:
    container_id = await pod.run("sleep", "10000")
    slow = asyncio.create_task(pod.runtime.stop_container(container_id, 1000))
    await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE):
        await pod.runtime.stop_container(container_id, 0)
        await slow


async def test_images_stop_signal_is_sent(instance: Instance, pod: Pod) -> None:
    from podstead.node.runtime.containers import stop_signal

    assert [stop_signal(text) for text in ("", "SIGQUIT", "quit", "3", "SIGRTMIN+3", "nonsense")] == [
        15,
        3,
        3,
        3,
        37,
        15,
    ]


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("nosuch", r'"nosuch": executable file not found in \$PATH'),
        ("/bin/nosuch", "no such file or directory"),
        ("/etc", r"permission denied|is a directory|is not a regular file"),  # by version
    ],
)
async def test_command_that_does_not_exist_is_told_and_leaves_nothing(pod: Pod, command: str, text: str) -> None:
    with pytest.raises(CreateFailed) as caught:
        await pod.create(command)
    assert re.search(text, str(caught.value))
    assert (caught.value.reason, caught.value.exit_code) == ("RunContainerError", 128)
    assert await pod.runtime.list_containers() == []
    await pod.runtime.remove_pod_sandbox(pod.sandbox.id)
    assert not any(pod.instance.remains().values())


async def test_unknown_image_and_user_are_told(pod: Pod) -> None:
    with pytest.raises(CreateFailed, match="not on this node"):
        await pod.create("true", image_id="b" * 64)
    with pytest.raises(CreateFailed, match="unable to find user nobody-here"):
        await pod.create("true", user="nobody-here")


async def test_what_is_gone_is_stopped_and_removed_without_complaint(runtime: OCIRuntime) -> None:
    await runtime.stop_container("f" * 64, 0)
    await runtime.remove_container("f" * 64)
    await runtime.stop_pod_sandbox("f" * 64)
    await runtime.remove_pod_sandbox("f" * 64)
    with pytest.raises(NotFound):
        await runtime.container_status("f" * 64)
    with pytest.raises(NotFound):
        await runtime.start_container("f" * 64)


async def test_containers_of_a_pod_share_network_ipc_hostname_and_shm(pod: Pod) -> None:
    first = await pod.run_until("pod", "sh", "-c", "echo here > /dev/shm/note; hostname; sleep 10000")
    text = await pod.output("sh", "-c", "cat /dev/shm/note; cat /etc/hostname; cat /etc/hosts", name="c2")
    assert text.splitlines() == ["here", "pod", "127.0.0.1 localhost"]
    second = await pod.run("sleep", "10000", name="c3")
    pids = [(await pod.runtime.container_status(one)).pid for one in (first, second)]
    for kind, same in (("net", True), ("ipc", True), ("uts", True), ("pid", False), ("mnt", False)):
        links = [Path(f"/proc/{pid}/ns/{kind}").readlink() for pid in pids]
        assert (links[0] == links[1]) is same, kind


async def test_start_waits_for_the_network_and_create_does_not(instance: Instance, runtime: OCIRuntime) -> None:
    instance.network.open.clear()
    pod = Pod(instance, runtime, await runtime.run_pod_sandbox(instance.sandbox()))
    container_id = await pod.create("true")
    starting = asyncio.create_task(runtime.start_container(container_id))
    done, _ = await asyncio.wait({starting}, timeout=0.05)
    assert not done
    instance.network.open.set()
    await starting
    assert (await pod.end(container_id)).exit_code == 0


async def test_network_that_fails_is_the_containers_reason(instance: Instance, runtime: OCIRuntime) -> None:
    instance.network.error = RuntimeFailure("no veth")
    pod = Pod(instance, runtime, await runtime.run_pod_sandbox(instance.sandbox()))
    container_id = await pod.create("true")
    with pytest.raises(CreateFailed, match="no veth"):
        await runtime.start_container(container_id)
    status = await runtime.container_status(container_id)
    assert (status.state, status.exit_code) == (ContainerState.EXITED, 128)
    assert "no veth" in status.message
    instance.network.error = None
    assert await pod.output("echo", "again", name="c2") == "again"


async def test_cancelled_create_leaves_something_that_can_be_removed(pod: Pod) -> None:
    creating = asyncio.create_task(pod.create("sleep", "10000"))
    await asyncio.sleep(0)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    (left,) = await pod.runtime.list_containers()
    await pod.runtime.remove_container(left.id)
    await pod.runtime.remove_pod_sandbox(pod.sandbox.id)
    assert not any(pod.instance.remains().values())


async def test_cancelled_sandbox_can_be_removed(instance: Instance, runtime: OCIRuntime) -> None:
    making = asyncio.create_task(runtime.run_pod_sandbox(instance.sandbox()))
    await asyncio.sleep(0)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    (left,) = await runtime.list_sandboxes()
    await runtime.remove_pod_sandbox(left.id)
    assert not any(instance.remains().values())


async def test_stopping_a_sandbox_kills_and_keeps_what_was_said(pod: Pod) -> None:
    container_id = await pod.run("sleep", "10000")
    await pod.runtime.stop_pod_sandbox(pod.sandbox.id)
    (sandbox,) = await pod.runtime.list_sandboxes()
    assert not sandbox.ready
    assert (await pod.runtime.container_status(container_id)).exit_code == 137
    with pytest.raises(CreateFailed, match="not ready"):
        await pod.create("true", name="c2")
    await pod.runtime.remove_pod_sandbox(pod.sandbox.id)
    assert not any(pod.instance.remains().values())


async def test_memory_limit_ends_a_container_as_oom_killed(pod: Pod) -> None:
    script = "x=$(yes | head -c 200000000); echo survived"
    status = await pod.end(await pod.run("bash", "-c", script, resources=Resources(memory_limit=32 << 20)))
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


async def test_bind_mounts_are_there_and_read_only_holds(pod: Pod, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "data").write_text("some data\n")
    mounted = (Mount("/tmp/xchange", volume), Mount("/tmp/data", volume, readonly=True))
    script = "cat /tmp/data/data; echo more > /tmp/xchange/more; touch /tmp/data/no 2>/dev/null || echo refused"
    assert await pod.output("sh", "-c", script, mounts=mounted) == "some data\nrefused"
    assert (volume / "more").read_text() == "more\n"


async def test_working_directory_environment_and_user(pod: Pod) -> None:
    script = 'id -u; id -g; id -G; pwd; echo "$HOME $HOSTNAME $GREETING $PATH"'
    text = await pod.output(
        "sh", "-c", script, user="web", working_dir="/var/new", env=(("GREETING", "a b"), ("PATH", "/bin"))
    )
    assert text.splitlines() == ["1000", "1001", "1001 2000", "/var/new", "/home/web pod a b /bin"]


async def test_privilege_is_what_was_asked_for(pod: Pod) -> None:
    show = (
        "sh",
        "-c",
        "while read k v; do case $k in CapEff:|NoNewPrivs:|Seccomp:) echo $v;; esac; done </proc/self/status",
    )
    assert (await pod.output(*show)).split() == ["00000000a80425fb", "0", "0"]
    none = Security(capabilities_drop=("ALL",), allow_privilege_escalation=False, seccomp="RuntimeDefault")
    assert (await pod.output(*show, security=none, name="c2")).split() == ["0000000000000000", "1", "2"]
    user = Security(run_as_user=1234, run_as_group=99, supplemental_groups=(5,))
    assert (await pod.output("sh", "-c", "id -u; id -g; id -G", security=user, name="c3")).split() == [
        "1234",
        "99",
        "99",
        "5",
    ]


async def test_read_only_root_and_privileged(pod: Pod) -> None:
    locked = Security(readonly_rootfs=True)
    assert await pod.output("sh", "-c", "touch /x 2>/dev/null || echo refused", security=locked) == "refused"
    script = "touch /sys/fs/cgroup/x 2>/dev/null; mount -t tmpfs t /tmp && echo mounted"
    assert await pod.output("sh", "-c", script, security=Security(privileged=True), name="c2") == "mounted"


async def test_many_at_once(instance: Instance, pod: Pod) -> None:
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(pod.run("sleep", "10000", name=f"c{number}")) for number in range(12)]
    pids = {(await pod.runtime.container_status(task.result())).pid for task in made}
    assert len(pids) == 12
    await pod.runtime.remove_pod_sandbox(pod.sandbox.id)
    assert not any(instance.remains().values())


async def test_run_directory_keeps_its_mounts_to_itself(instance: Instance, pod: Pod) -> None:
    container_id = await pod.run("sleep", "10000")
    pid = (await pod.runtime.container_status(container_id)).pid
    assert not [entry for entry in mounts.mount_table(pid) if entry.target.is_relative_to(instance.paths.run)]
