"""Volumes of a pod as its containers and the node find them: emptyDir on disk and in memory."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podstead.linux import mounts
from podstead.node.volumes import emptydir
from podstead.node.volumes import manager as manager_module
from podstead.node.volumes.base import VolumeError
from podstead.node.volumes.emptydir import memory_volume_size
from podstead.node.volumes.manager import VolumeManager
from podstead.node.volumes.removal import AT_ONCE, Remover
from podstead.objects.pod import Pod, from_object
from podstead.objects.volumes import Volume
from podstead.paths import Paths

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

DISK: dict[str, Any] = {}
MEMORY = {"medium": "Memory", "sizeLimit": "1Mi"}


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    yield Paths("volumes-test", tmp_path / "data", tmp_path / "run")
    for target in mounts.mounts_below(tmp_path):
        mounts.umount(target, lazy=True)


@pytest.fixture
def manager(paths: Paths) -> VolumeManager:
    return VolumeManager(paths)


def pod(*, uid: str = "uid-1", limits: list[str | None] | None = None, **volumes: dict[str, Any]) -> Pod:
    containers = [
        {"name": f"c{number}", "resources": {"limits": {"memory": limit}} if limit else {}}
        for number, limit in enumerate(limits or [None])
    ]
    sources = [{"name": name, "emptyDir": source} for name, source in volumes.items()]
    return from_object(
        {
            "metadata": {"name": "p", "namespace": "default", "uid": uid},
            "spec": {"containers": containers, "volumes": sources},
        }
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def mount_line(path: Path) -> str:
    lines = subprocess.run(["mount"], capture_output=True, text=True, check=True).stdout.splitlines()
    return next((line for line in lines if f" on {path} " in line), "")


async def test_a_disk_volume_is_where_the_kubelet_has_it_and_open_to_all(manager: VolumeManager, paths: Paths) -> None:
    previous = os.umask(0o077)
    try:
        found = await manager.set_up(pod(xchange=DISK))
    finally:
        os.umask(previous)
    assert found == {"xchange": paths.pods / "uid-1/volumes/kubernetes.io~empty-dir/xchange"}
    assert mode(found["xchange"]) == 0o777
    assert mode(paths.pods) == 0o750


async def test_a_memory_volume_is_one_tmpfs(manager: VolumeManager) -> None:
    path = (await manager.set_up(pod(cache=MEMORY)))["cache"]
    assert mount_line(path) == f"tmpfs on {path} type tmpfs (rw,relatime,size=1024k)"
    assert mode(path) == 0o777


async def test_a_pod_without_volumes_leaves_no_directory(manager: VolumeManager, paths: Paths) -> None:
    assert await manager.set_up(pod()) == {}
    assert not paths.pods.exists()


async def test_a_restarted_server_finds_volumes_undisturbed(manager: VolumeManager, paths: Paths) -> None:
    found = await manager.set_up(pod(disk=DISK, memory=MEMORY))
    for path in found.values():
        (path / "data").write_text("some data")
        path.chmod(0o1700)
    assert await VolumeManager(paths).set_up(pod(disk=DISK, memory=MEMORY)) == found
    assert len(mounts.mounts_below(paths.data)) == 1
    for path in found.values():
        assert (path / "data").read_text() == "some data"
        assert mode(path) == 0o1700


async def test_after_a_reboot_the_disk_is_kept_and_memory_is_empty(manager: VolumeManager, paths: Paths) -> None:
    found = await manager.set_up(pod(disk=DISK, memory=MEMORY))
    for path in found.values():
        (path / "data").write_text("some data")
    mounts.umount(found["memory"])
    await VolumeManager(paths).set_up(pod(disk=DISK, memory=MEMORY))
    assert (found["disk"] / "data").exists()
    assert list(found["memory"].iterdir()) == []
    assert "size=1024k" in mount_line(found["memory"])
    assert mode(found["memory"]) == 0o777


async def test_tear_down_leaves_nothing_and_may_be_repeated(manager: VolumeManager, paths: Paths) -> None:
    found = await manager.set_up(pod(disk=DISK, memory=MEMORY))
    for path in found.values():
        (path / "sub").mkdir()
        (path / "sub" / "data").write_text("some data")
    await manager.tear_down("uid-1")
    await manager.tear_down("uid-1")
    await manager.tear_down("never-seen")
    assert list(paths.pods.iterdir()) == []
    assert not mounts.mounts_below(paths.data)


async def test_tear_down_leaves_the_pods_other_files_and_other_pods(manager: VolumeManager, paths: Paths) -> None:
    await manager.set_up(pod(disk=DISK))
    other = await manager.set_up(pod(uid="uid-2", disk=DISK))
    (paths.pod("uid-1") / "etc-hosts").write_text("hosts")
    await manager.tear_down("uid-1")
    assert [entry.name for entry in paths.pod("uid-1").iterdir()] == ["etc-hosts"]
    assert other["disk"].is_dir()


async def test_links_out_of_a_volume_are_not_followed(manager: VolumeManager, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    found = await manager.set_up(pod(disk=DISK))
    (found["disk"] / "way-out").symlink_to(outside)
    await manager.tear_down("uid-1")
    assert (outside / "precious").read_text() == "keep"


@pytest.mark.parametrize("source", [DISK, MEMORY], ids=["disk", "memory"])
async def test_nothing_is_removed_while_something_is_mounted_inside(
    manager: VolumeManager, tmp_path: Path, source: dict[str, Any]
) -> None:
    path = (await manager.set_up(pod(v=source)))["v"]
    (path / "data").write_text("some data")
    (path / "mnt").mkdir()
    mounts.mount("none", path / "mnt", "tmpfs")
    with pytest.raises(VolumeError, match="is a mount point") as caught:
        await manager.tear_down("uid-1")
    assert caught.value.reason == "FailedUnMount"
    assert (path / "data").read_text() == "some data"
    mounts.umount(path / "mnt")
    await manager.tear_down("uid-1")
    assert not path.exists()


async def test_what_others_mounted_over_a_volume_is_not_unmounted(manager: VolumeManager, tmp_path: Path) -> None:
    path = (await manager.set_up(pod(v=DISK)))["v"]
    mounts.bind(tmp_path, path)
    with pytest.raises(VolumeError, match="is a mount point"):
        await manager.tear_down("uid-1")
    assert mounts.mounts_below(path) == [path]


async def test_a_busy_memory_volume_is_kept(manager: VolumeManager) -> None:
    path = (await manager.set_up(pod(v=MEMORY)))["v"]
    with (path / "open").open("w"), pytest.raises(VolumeError, match=r"cannot unmount .* busy"):
        await manager.tear_down("uid-1")
    await manager.tear_down("uid-1")
    assert not path.exists()


async def test_a_volume_is_kept_while_a_container_mounts_it(manager: VolumeManager, tmp_path: Path) -> None:
    path = (await manager.set_up(pod(v=DISK)))["v"]
    (path / "data").write_text("some data")
    target = tmp_path / "rootfs"
    target.mkdir()
    holder = subprocess.Popen(  # noqa: ASYNC220
        ["unshare", "-m", "--propagation", "private", "sh", "-c", f"mount --bind {path} {target}; echo ready; read x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert await asyncio.to_thread(holder.stdout.readline) == b"ready\n"
        with pytest.raises(VolumeError, match=f"still mounted by process {holder.pid}"):
            await manager.tear_down("uid-1")
        assert (path / "data").read_text() == "some data"
    finally:
        await asyncio.to_thread(holder.communicate, b"\n", 10)
    await manager.tear_down("uid-1")
    assert not path.exists()


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


def interrupted(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, *, after: bool) -> None:
    real = getattr(owner, name)

    def stop(*arguments: Any, **named: Any) -> Any:
        if after:
            real(*arguments, **named)
        raise Killed

    monkeypatch.setattr(owner, name, stop)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", ["mkdir", "chmod", "rename"])
async def test_killed_in_set_up(
    manager: VolumeManager, paths: Paths, monkeypatch: pytest.MonkeyPatch, call: str, after: bool
) -> None:
    await manager.set_up(pod(other=DISK))
    with monkeypatch.context() as patch:
        interrupted(patch, Path, call, after=after)
        with pytest.raises(Killed):
            emptydir._make(paths.volume("uid-1", "empty-dir", "v"), False, 0)
    found = await VolumeManager(paths).set_up(pod(other=DISK, v=DISK))
    assert mode(found["v"]) == 0o777
    await manager.tear_down("uid-1")
    assert list(paths.pods.iterdir()) == []


@pytest.mark.parametrize("after", [False, True])
async def test_killed_around_the_mount(
    manager: VolumeManager, paths: Paths, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    with monkeypatch.context() as patch:
        interrupted(patch, mounts, "mount_tmpfs", after=after)
        with pytest.raises(Killed):
            await manager.set_up(pod(v=MEMORY))
    path = (await VolumeManager(paths).set_up(pod(v=MEMORY)))["v"]
    assert mounts.mounts_below(path) == [path]
    assert mode(path) == 0o777
    await manager.tear_down("uid-1")
    assert list(paths.pods.iterdir()) == []


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("owner", "call"),
    [(mounts, "umount"), (Path, "rename"), (manager_module, "remove_tree"), (Path, "rmdir")],
    ids=["umount", "rename", "remove", "rmdir"],
)
async def test_killed_in_tear_down(
    manager: VolumeManager, paths: Paths, monkeypatch: pytest.MonkeyPatch, owner: Any, call: str, after: bool
) -> None:
    found = await manager.set_up(pod(disk=DISK, memory=MEMORY))
    (found["disk"] / "data").write_text("some data")
    with monkeypatch.context() as patch:
        interrupted(patch, owner, call, after=after)
        with pytest.raises(Killed):
            await manager.tear_down("uid-1")
    following = VolumeManager(paths)
    assert following.orphans([]) == ["uid-1"]
    await following.tear_down("uid-1")
    assert list(paths.pods.iterdir()) == []
    assert not mounts.mounts_below(paths.data)


async def test_half_a_volume_is_not_taken_for_one(
    manager: VolumeManager, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = (await manager.set_up(pod(v=DISK)))["v"]
    (path / "data").write_text("some data")
    with monkeypatch.context() as patch:
        interrupted(patch, manager_module, "remove_tree", after=True)
        with pytest.raises(Killed):
            await manager.tear_down("uid-1")
        patch.undo()
        interrupted(patch, Path, "rename", after=True)
        with pytest.raises(Killed):
            await manager.tear_down("uid-1")
    assert list((await manager.set_up(pod(v=DISK)))["v"].iterdir()) == []


async def test_a_large_volume_is_removed_by_a_process_of_its_own(manager: VolumeManager, paths: Paths) -> None:
    path = (await manager.set_up(pod(v=DISK)))["v"]
    for number in range(AT_ONCE + 10):
        (path / str(number)).touch()
    (path / "link").symlink_to(paths.data.parent)
    (path / "inner").mkdir()
    await manager.tear_down("uid-1")
    assert list(paths.pods.iterdir()) == []


async def test_a_process_of_its_own_stops_at_a_mount_point_too(tmp_path: Path) -> None:
    (tmp_path / "tree/inner").mkdir(parents=True)
    mounts.mount("none", tmp_path / "tree/inner", "tmpfs")
    (tmp_path / "tree/inner/file").touch()
    try:
        with pytest.raises(VolumeError, match="tree/inner is a mount point: unmount it first"):
            await Remover().remove(tmp_path / "tree")
        assert (tmp_path / "tree/inner/file").exists()
    finally:
        mounts.umount(tmp_path / "tree/inner")


async def test_orphans_are_pods_that_nobody_knows(manager: VolumeManager, paths: Paths) -> None:
    assert manager.orphans([]) == []
    await manager.set_up(pod(uid="known", v=DISK))
    await manager.set_up(pod(uid="lost", v=DISK))
    (paths.pods / "no-volumes").mkdir()
    assert manager.orphans({"known"}) == ["lost"]


async def test_a_cancelled_set_up_does_not_meet_the_tear_down(
    manager: VolumeManager, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, started, release = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    real = mounts.mount_tmpfs

    def slow(*arguments: Any, **named: Any) -> None:
        loop.call_soon_threadsafe(started.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(10)
        real(*arguments, **named)

    monkeypatch.setattr(mounts, "mount_tmpfs", slow)
    setting_up = asyncio.create_task(manager.set_up(pod(v=MEMORY)))
    await asyncio.wait_for(started.wait(), 10)
    setting_up.cancel()
    tearing_down = asyncio.create_task(manager.tear_down("uid-1"))
    release.set()
    await tearing_down
    with pytest.raises(asyncio.CancelledError):
        await setting_up
    assert list(paths.pods.iterdir()) == []
    assert not mounts.mounts_below(paths.data)


async def test_failures_name_the_volume(manager: VolumeManager, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VolumeError, match='SetUp failed for volume "huge" : emptyDir medium "HugePages"') as caught:
        await manager.set_up(pod(disk=DISK, huge={"medium": "HugePages"}))
    assert caught.value.reason == "FailedMount"

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mounts, "mount_tmpfs", full)
    with pytest.raises(VolumeError, match=r'volume "memory" : .*No space left'):
        await manager.set_up(pod(memory=MEMORY))


async def test_a_volume_without_a_plugin_is_refused(manager: VolumeManager) -> None:
    strange = from_object({"metadata": {"uid": "u"}, "spec": {"volumes": [{"name": "strange"}]}})
    with pytest.raises(VolumeError, match='no volume plugin matched: volume "strange"'):
        await manager.set_up(strange)


@pytest.mark.parametrize(
    ("size_limit", "limits", "allocatable", "expected"),
    [
        ("64Mi", [None], 0, 64 << 20),
        ("64Mi", ["32Mi"], 0, 32 << 20),
        ("64Mi", ["32Mi", "40Mi"], 0, 64 << 20),
        (None, ["32Mi", "40Mi"], 0, 72 << 20),
        (None, ["32Mi", None], 0, 0),
        (None, ["32Mi", None], 1 << 30, 1 << 30),
        ("2Gi", [None], 1 << 30, 1 << 30),
        ("0", [None], 1 << 30, 1 << 30),
    ],
)
def test_size_of_a_memory_volume(
    size_limit: str | None, limits: list[str | None], allocatable: int, expected: int
) -> None:
    source = {"medium": "Memory"} | ({"sizeLimit": size_limit} if size_limit else {})
    subject = pod(limits=limits, v=source)
    volume: Volume = subject.spec.volumes[0]
    assert memory_volume_size(subject, volume, allocatable) == expected
