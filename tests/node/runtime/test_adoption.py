"""A server killed with SIGKILL at any point: the next one adopts what lives and cleans the rest."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from runtime_instance import DEADLINE, Instance, Pod

from podstead.linux import mounts
from podstead.node.runtime.base import AttachStream, ContainerState, ExecConfig
from podstead.node.runtime.containers import MONITOR_LOST
from podstead.node.runtime.oci import OCIRuntime
from podstead.node.runtime.records import ContainerRecord

SERVER = Path(__file__).with_name("crashing_server.py")
SLEEP = ("sleep", "10000")
LISTENER = ("bash", "-c", "trap 'exit 9' TERM; echo up; while read line; do echo got $line; done")


def crash(instance: Instance, *args: str, count: int = 0, moment: str = "after", start: bool = True) -> dict[str, Any]:
    """Run a server until it dies where it is told to; returns the ids that it told."""
    order = {
        "name": instance.paths.name,
        "data": str(instance.paths.data),
        "run": str(instance.paths.run),
        "layer": str(instance.images.image.layers[0]),
        "wanted": instance.wanted,
        "args": args,
        "count": count,
        "moment": moment,
        "start": start,
    }
    argv, env = [sys.executable, str(SERVER), json.dumps(order)], {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=env) as server:
        try:
            assert server.stdout is not None
            told = server.stdout.readline() if _readable(server.stdout.fileno()) else b""
        finally:
            server.kill()
        assert server.wait(DEADLINE) == -signal.SIGKILL
    found: dict[str, Any] = json.loads(told) if told else {}
    return found


@asynccontextmanager
async def next_server(instance: Instance) -> AsyncIterator[OCIRuntime]:
    runtime = instance.make_runtime()
    await runtime.start()
    try:
        yield runtime
    finally:
        for container in await runtime.list_containers():
            await runtime.stop_container(container.id, 0)
        await runtime.close()


async def test_running_container_is_adopted_with_pid_log_streams_and_exec(instance: Instance) -> None:
    before = crash(instance, *LISTENER)
    async with next_server(instance) as runtime:
        (sandbox,) = await runtime.list_sandboxes()
        (status,) = await runtime.list_containers()
        assert (sandbox.id, sandbox.ready) == (before["sandbox"], True)
        assert (status.id, status.pid, status.state) == (before["container"], before["pid"], ContainerState.RUNNING)
        stream = await runtime.attach(status.id)
        await stream.write(b"word\n")
        await _seen(stream, "got word")
        assert instance.log().splitlines() == ["up", "got word"]
        process = await runtime.exec(status.id, ExecConfig(["sh", "-c", "exit 6"]))
        assert await process.wait() == 6
        pod = Pod(instance, runtime, sandbox)
        stopping = asyncio.create_task(runtime.stop_container(status.id, DEADLINE))
        assert (await pod.end(status.id)).exit_code == 9
        await stopping
        assert await pod.output("echo", "new", name="c2") == "new"
        await runtime.remove_pod_sandbox(sandbox.id)
        assert not any(instance.remains().values()), instance.remains()


async def test_another_runtime_goes_on_with_what_the_first_one_made(instance: Instance) -> None:
    before = crash(instance, *LISTENER)
    first, instance.wanted = instance.wanted, "runc" if instance.wanted == "crun" else "crun"
    async with next_server(instance) as runtime:
        assert runtime.name == instance.wanted != first
        (sandbox,), (status,) = await runtime.list_sandboxes(), await runtime.list_containers()
        assert (status.id, status.pid, status.state) == (before["container"], before["pid"], ContainerState.RUNNING)
        pod = Pod(instance, runtime, sandbox)
        other = await pod.run("sleep", "10000", name="c2")
        for container_id in (status.id, other):
            assert await (await runtime.exec(container_id, ExecConfig(["sh", "-c", "exit 6"]))).wait() == 6
        roots = instance.paths.runtime_root
        assert (roots / first / status.id).exists()
        assert (roots / instance.wanted / other).exists()
        await runtime.stop_container(status.id, 0)
        await runtime.remove_pod_sandbox(sandbox.id)
        assert not any(instance.remains().values()), instance.remains()


async def test_down_needs_no_runtime_that_works(instance: Instance) -> None:
    crash(instance, *SLEEP)
    instance.wanted = "/nowhere/crun"
    runtime = instance.make_runtime()
    await runtime.adopt()
    for sandbox in await runtime.list_sandboxes():
        await runtime.remove_pod_sandbox(sandbox.id)
    await runtime.close()
    assert not any(instance.remains().values()), instance.remains()


async def test_adopting_twice_changes_nothing(instance: Instance) -> None:
    before = crash(instance, *SLEEP)
    for _ in range(2):
        runtime = instance.make_runtime()
        await runtime.start()
        (status,) = await runtime.list_containers()
        assert (status.id, status.pid) == (before["container"], before["pid"])
        await runtime.close()
    async with next_server(instance) as runtime:
        assert (await runtime.list_containers())[0].state is ContainerState.RUNNING


async def test_end_while_no_server_ran_is_read_from_the_exit_file(instance: Instance) -> None:
    before = crash(instance, "bash", "-c", "read line; exit 9")
    monitor = _record(instance, before["container"]).monitor
    assert monitor is not None
    descriptor = os.pidfd_open(monitor.pid)
    os.kill(before["pid"], signal.SIGKILL)
    assert _readable(descriptor)
    os.close(descriptor)
    async with next_server(instance) as runtime:
        (status,) = await runtime.list_containers()
        assert (status.state, status.exit_code, status.reason) == (ContainerState.EXITED, 137, "Error")
        assert status.message == ""


async def test_running_without_its_monitor_is_killed_and_says_so(instance: Instance) -> None:
    before = crash(instance, *SLEEP)
    _kill_monitor(instance, before["container"])
    async with next_server(instance) as runtime:
        (status,) = await runtime.list_containers()
        assert (status.exit_code, status.reason, status.message) == (137, "Error", MONITOR_LOST)
        assert not _alive(before["pid"])
        await runtime.remove_pod_sandbox(before["sandbox"])
        assert not any(instance.remains().values()), instance.remains()


async def test_monitor_lost_while_the_server_runs(instance: Instance, pod: Pod) -> None:
    container_id = await pod.run(*SLEEP)
    pid = (await pod.runtime.container_status(container_id)).pid
    _kill_monitor(instance, container_id)
    status = await pod.end(container_id)
    assert (status.exit_code, status.message) == (137, MONITOR_LOST)
    assert not _alive(pid)


async def test_created_without_its_monitor_is_gone(instance: Instance) -> None:
    before = crash(instance, *SLEEP, start=False)
    _kill_monitor(instance, before["container"])
    async with next_server(instance) as runtime:
        assert await runtime.list_containers() == []
        assert not _alive(before["pid"])
        await runtime.remove_pod_sandbox(before["sandbox"])
        assert not any(instance.remains().values()), instance.remains()


async def test_created_with_its_monitor_can_still_be_started(instance: Instance) -> None:
    before = crash(instance, "echo", "late", start=False)
    async with next_server(instance) as runtime:
        (status,) = await runtime.list_containers()
        assert status.state is ContainerState.CREATED
        await runtime.start_container(before["container"])
        (sandbox,) = await runtime.list_sandboxes()
        assert (await Pod(instance, runtime, sandbox).end(status.id)).exit_code == 0
        assert instance.log() == "late"


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("count", range(1, 8))
async def test_death_at_any_record_leaves_what_can_be_adopted_or_removed(
    instance: Instance, count: int, moment: str
) -> None:
    """Seven records are written on the way: sandbox making, ready; container creating, monitored, created, starting,
    running."""
    assert not crash(instance, *SLEEP, count=count, moment=moment)
    async with next_server(instance) as runtime:
        for status in await runtime.list_containers():
            assert _alive(status.pid)
            if status.state is ContainerState.CREATED:
                await runtime.start_container(status.id)
            assert (await runtime.container_status(status.id)).state is ContainerState.RUNNING
        sandboxes = await runtime.list_sandboxes()
        for sandbox in sandboxes:
            if sandbox.ready:
                assert await Pod(instance, runtime, sandbox).output("echo", "fine", name="c2") == "fine"
            await runtime.remove_pod_sandbox(sandbox.id)
        assert not any(instance.remains().values()), instance.remains()


async def test_reboot_ends_everything_and_all_remains_can_be_removed(instance: Instance) -> None:
    before = crash(instance, *SLEEP)
    _reboot(instance, before["pid"])
    async with next_server(instance) as runtime:
        (sandbox,) = await runtime.list_sandboxes()
        (status,) = await runtime.list_containers()
        assert not sandbox.ready
        assert (status.state, status.exit_code) == (ContainerState.EXITED, 137)
        await runtime.remove_pod_sandbox(sandbox.id)
        assert not any(instance.remains().values()), instance.remains()


async def test_remains_that_are_in_use_do_not_keep_the_server_from_starting(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = crash(instance, *SLEEP, start=False)
    _kill_monitor(instance, before["container"])

    async def busy(target: Path, container_dir: Path) -> None:
        raise OSError(16, "busy", str(target))

    with monkeypatch.context() as patch:
        patch.setattr(instance.images, "unmount_rootfs", busy)
        async with next_server(instance) as runtime:
            (status,) = await runtime.list_containers()
            assert status.state is ContainerState.EXITED
            assert "not settled" in caplog.text
    async with next_server(instance) as runtime:
        assert await runtime.list_containers() == []


async def test_what_has_no_record_is_cleaned(instance: Instance) -> None:
    crash(instance, *SLEEP)
    for kind in ("sandboxes", "containers"):
        for path in (instance.paths.runtime_state / kind).iterdir():
            path.write_text("")
    async with next_server(instance) as runtime:
        assert await runtime.list_sandboxes() == await runtime.list_containers() == []
        await _gone(instance)
        assert not any(instance.remains().values()), instance.remains()


def _record(instance: Instance, container_id: str) -> ContainerRecord:
    path = instance.paths.runtime_state / "containers" / f"{container_id}.json"
    return msgspec.json.decode(path.read_bytes(), type=ContainerRecord)


def _kill_monitor(instance: Instance, container_id: str) -> None:
    monitor = _record(instance, container_id).monitor
    assert monitor is not None
    descriptor = os.pidfd_open(monitor.pid)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    assert _readable(descriptor)
    os.close(descriptor)


def _reboot(instance: Instance, pid: int) -> None:
    """What a reboot does where /run is a plain disk: processes and mounts go, files stay, the boot has a new name."""
    for victim in [*instance.processes(), pid]:
        descriptor = os.pidfd_open(victim)
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        assert _readable(descriptor)
        os.close(descriptor)
    for path in mounts.mounts_below(instance.paths.run):
        mounts.umount(path, lazy=True)
    for entry in instance.paths.exits.iterdir():
        entry.unlink()
    for kind in ("sandboxes", "containers"):
        for path in (instance.paths.runtime_state / kind).glob("*.json"):
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            path.write_text(path.read_text().replace(boot, "an-earlier-boot"))


def _alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped by the host's init does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(DEADLINE * 1000))


async def _gone(instance: Instance) -> None:
    """Wait for the monitors of containers that were killed."""
    for pid in instance.processes():
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        assert await asyncio.to_thread(_readable, descriptor)
        os.close(descriptor)


async def _seen(stream: AttachStream, word: str) -> None:
    text = ""
    async with asyncio.timeout(DEADLINE):
        async for _, data in stream.output():
            text += data.decode()
            if word in text:
                return
    pytest.fail(f"{word!r} not in {text!r}")
