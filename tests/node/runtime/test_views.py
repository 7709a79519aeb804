"""What an OCI runtime sees of the mounts, and that it keeps nothing mounted that others unmount."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from runtime_instance import Instance, Pod

from podstead.linux import mounts, namespaces
from podstead.node.runtime.base import ExecConfig, Mount
from podstead.node.runtime.views import MountViews


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A memory volume, shared as the host's mounts are under systemd."""
    directory = tmp_path / "volume"
    directory.mkdir()
    mounts.mount_tmpfs(directory)
    mounts.mount("none", directory, flags=mounts.MS_SHARED)
    try:
        yield directory
    finally:
        while mounts.umount(directory, lazy=True):
            pass


def _table(namespace: int) -> list[Path]:
    return namespaces.in_mounts(namespace, lambda: [entry.target for entry in mounts.mount_table("thread-self")])


async def test_views_have_what_they_say_and_the_server_stays_where_it_is(tmp_path: Path, volume: Path) -> None:
    hidden, run = tmp_path / "hidden", tmp_path / "run"
    for directory in (hidden, run):
        directory.mkdir()
        mounts.mount_tmpfs(directory)
    mounts.mount("none", run, flags=mounts.MS_SHARED)
    (run / "below").mkdir()
    mounts.mount_tmpfs(run / "below")
    own = Path("/proc/self/ns/mnt").readlink()
    views = MountViews(run, hidden)
    try:
        await views.prepare()
        async with views.whole() as path:
            whole = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        assert {volume, run, run / "below", Path("/proc")} <= set(_table(whole))
        assert hidden not in _table(whole)
        system = _table(views.system)
        assert {Path("/"), Path("/proc"), run} <= set(system)
        assert not {hidden, volume, run / "below"} & set(system)
        assert {hidden, volume, run / "below"} <= {entry.target for entry in mounts.mount_table()}
        # What is unmounted in the instance's own directory goes there too.
        mounts.umount(run / "below")
        assert run / "below" not in _table(whole)
        os.close(whole)
        assert Path("/proc/self/ns/mnt").readlink() == own
    finally:
        views.close()
        for directory in (run / "below", run, hidden):
            mounts.umount(directory, lazy=True)


async def test_nothing_else_holds_a_volume_while_containers_and_commands_run(pod: Pod, volume: Path) -> None:
    sleeper = await pod.run("sleep", "10000")
    other = (await pod.runtime.container_status(sleeper)).pid
    commands = [await pod.runtime.exec(sleeper, ExecConfig(["sleep", "9999"]))]
    try:
        user = await pod.run("sleep", "10000", name="c2", mounts=(Mount("/data", volume),))
        pid = (await pod.runtime.container_status(user)).pid
        # Only of these two: another instance that creates a container sees all mounts of the machine for a moment.
        assert {pid, other} & set(mounts.processes_mounting(volume)) == {pid}
        await pod.runtime.stop_container(user, 0)
        commands.append(await pod.runtime.exec(sleeper, ExecConfig(["sleep", "9999"])))
        assert not {pid, other} & set(mounts.processes_mounting(volume))
    finally:
        # They end with their container, which the pod's fixture removes.
        for process in commands:
            process.kill()


async def test_what_is_mounted_in_a_volume_later_is_seen_where_that_was_asked_for(
    instance: Instance, pod: Pod, volume: Path
) -> None:
    (volume / "inner").mkdir()
    asked = (Mount("/follows", volume, propagation="rslave"), Mount("/stays", volume))
    container = await pod.run("sleep", "10000", mounts=asked)
    mounts.mount_tmpfs(volume / "inner")
    (volume / "inner/note").touch()
    read, write = os.pipe()
    process = await pod.runtime.exec(container, ExecConfig(["sh", "-c", "ls /*/inner"], False, -1, write))
    os.close(write)
    assert await process.wait() == 0
    assert (await asyncio.to_thread(os.read, read, 4096)).decode().split() == [
        "/follows/inner:",
        "note",
        "/stays/inner:",
    ]
    os.close(read)
    mounts.umount(volume / "inner")
    await pod.runtime.remove_pod_sandbox(pod.sandbox.id)
    assert not any(instance.remains().values())
