"""Mounts, made and taken away in a directory of the test's own."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from podstead.linux import mounts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for target in mounts.mounts_below(tmp_path):
        mounts.umount(target, lazy=True)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _entry(target: Path) -> mounts.MountEntry:
    return next(entry for entry in reversed(mounts.mount_table()) if entry.target == target)


def test_bind_readonly(place: Path) -> None:
    source, target = place / "source", place / "target"
    source.mkdir()
    target.mkdir()
    mounts.bind(source, target, readonly=True)
    with pytest.raises(OSError, match="Read-only"):
        (target / "file").touch()
    (source / "file").touch()
    assert (target / "file").exists()


def test_umount_of_nothing_is_false(place: Path) -> None:
    assert not mounts.umount(place / "missing")
    assert not mounts.umount(place)


def test_umount_does_not_follow_a_link(place: Path) -> None:
    mounts.bind(place, place)
    link = place / "link"
    link.symlink_to(place)
    assert not mounts.umount(link)
    assert _entry(place)


def test_errors_name_the_target(place: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        mounts.mount("none", place / "missing", "tmpfs")


@pytest.mark.parametrize("name", ["two words", "tab\there", "back\\slash", "new\nline", "hash#", "\\040", "ümlaut"])
def test_odd_names_are_read_back(place: Path, name: str) -> None:
    target = place / name
    target.mkdir()
    mounts.mount(name, target, "tmpfs")
    assert _entry(target).source == name
    assert mounts.mounts_below(target) == [target]


def test_mounts_below_innermost_first_and_not_the_neighbour(place: Path) -> None:
    outer, inner, neighbour = place / "a", place / "a" / "b", place / "ab"
    for target in (outer, neighbour):
        target.mkdir()
        mounts.mount("none", target, "tmpfs")
    inner.mkdir()
    mounts.mount("none", inner, "tmpfs")
    mounts.mount("none", inner, "tmpfs")
    found = mounts.mounts_below(outer)
    assert found == [inner, inner, outer]
    for target in found:
        assert mounts.umount(target)


def test_tmpfs_looks_as_kubernetes_makes_it(place: Path) -> None:
    mounts.mount_tmpfs(place, size=1 << 20)
    lines = subprocess.run(["mount"], capture_output=True, text=True, check=True).stdout.splitlines()
    line = next(line for line in lines if f" on {place} " in line)
    assert line == f"tmpfs on {place} type tmpfs (rw,relatime,size=1024k)"
    assert stat.S_IMODE(place.stat().st_mode) == 0o777


def test_tmpfs_ends_at_its_size(place: Path) -> None:
    mounts.mount_tmpfs(place, size=1 << 20)
    with pytest.raises(OSError, match="No space left"), (place / "file").open("wb", buffering=0) as file:
        for _ in range(3):
            file.write(bytes(1 << 20))


def test_tmpfs_without_a_place_leaves_nothing(place: Path) -> None:
    descriptors = _open_files()
    with pytest.raises(FileNotFoundError):
        mounts.mount_tmpfs(place / "missing", size=1 << 20)
    assert _open_files() == descriptors
    assert not mounts.mounts_below(place)


def test_own_mount_is_made_once_and_shared(place: Path) -> None:
    own = place / "own"
    mounts.make_own_mount(own)
    group = _entry(own).peer_group
    assert group != 0
    mounts.make_own_mount(own)
    assert mounts.mounts_below(own) == [own]
    assert _entry(own).peer_group == group


def test_own_mount_leaves_a_shared_parents_group(place: Path) -> None:
    """As after a crash between bind and private: what is mounted below must not appear in the parent too."""
    mounts.bind(place, place)
    mounts.mount("none", place, flags=mounts.MS_PRIVATE)
    mounts.mount("none", place, flags=mounts.MS_SHARED)
    own = place / "own"
    own.mkdir()
    mounts.bind(own, own)
    assert _entry(own).peer_group == _entry(place).peer_group
    mounts.make_own_mount(own)
    assert _entry(own).peer_group not in (0, _entry(place).peer_group)


def test_finds_who_mounts_a_directory_in_another_namespace(place: Path) -> None:
    volume, other, target = place / "volume", place / "volume2", place / "target"
    for directory in (volume, other, target):
        directory.mkdir()
    script = f"mount --bind {volume} {target} && echo ready && read line"
    holder = subprocess.Popen(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        assert mounts.processes_mounting(volume) == [holder.pid]
        assert mounts.processes_mounting(other) == []
    finally:
        holder.communicate(b"\n", timeout=10)
    assert mounts.processes_mounting(volume) == []
