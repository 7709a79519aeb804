"""Removal of trees that somebody hostile or unlucky has written."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from podstead.linux import mounts, remove
from podstead.linux.remove import MountInside, remove_tree

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "doomed"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "file").write_text("x")
    (root / "a" / "b" / "file").write_text("y")
    return root


@pytest.fixture
def mounted(tree: Path, tmp_path: Path) -> Iterator[Path]:
    """The tree with a directory of the same file system bound into it: st_dev does not tell it apart."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    point = tree / "a" / "b" / "mnt"
    point.mkdir()
    mounts.bind(outside, point)
    yield point
    mounts.umount(point, lazy=True)


def test_removes_everything(tree: Path) -> None:
    remove_tree(tree)
    assert not tree.exists()


def test_nothing_there_is_no_error(tmp_path: Path) -> None:
    remove_tree(tmp_path / "no")
    remove_tree(tmp_path / "no" / "such")


def test_keep_root_keeps_only_the_root(tree: Path) -> None:
    remove_tree(tree, keep_root=True)
    assert list(tree.iterdir()) == []


def test_a_file_and_a_link_are_removed_themselves(tree: Path) -> None:
    link = tree.parent / "link"
    link.symlink_to(tree)
    remove_tree(link)
    assert not link.is_symlink()
    assert (tree / "a" / "file").exists()
    remove_tree(tree / "a" / "file")
    assert not (tree / "a" / "file").exists()


def test_keep_root_refuses_a_link(tree: Path) -> None:
    link = tree.parent / "link"
    link.symlink_to(tree)
    with pytest.raises(NotADirectoryError):
        remove_tree(link, keep_root=True)
    assert (tree / "a" / "file").exists()


def test_symlinks_are_not_followed(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    (tree / "a" / "out").symlink_to(outside)
    (tree / "up").symlink_to("..")
    (tree / "dangling").symlink_to("/no/such")
    remove_tree(tree)
    assert not tree.exists()
    assert (outside / "precious").read_text() == "keep"


def test_special_files_and_odd_names(tree: Path) -> None:
    os.mkfifo(tree / "fifo")
    (tree / os.fsdecode(b"\xff\xfe dir\n")).mkdir()
    (tree / ("n" * 255)).touch()
    remove_tree(tree)
    assert not tree.exists()


@needs_root
def test_stops_at_a_mount_point_and_leaves_it_alone(mounted: Path, tree: Path) -> None:
    with pytest.raises(MountInside) as caught:
        remove_tree(tree)
    assert caught.value.path == mounted
    assert (mounted / "precious").read_text() == "keep"
    mounts.umount(mounted)
    remove_tree(tree)
    assert not tree.exists()


@needs_root
def test_without_openat2_mount_points_are_known_by_their_id(
    mounted: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remove, "_open_beneath", remove._open_checked)
    with pytest.raises(MountInside) as caught:
        remove_tree(tree)
    assert caught.value.path == mounted
    assert (mounted / "precious").read_text() == "keep"
    mounts.umount(mounted)
    remove_tree(tree)
    assert not tree.exists()


@needs_root
def test_a_mounted_root_is_not_touched(mounted: Path) -> None:
    for keep_root in (False, True):
        with pytest.raises(MountInside) as caught:
            remove_tree(mounted, keep_root=keep_root)
        assert caught.value.path == mounted
    assert (mounted / "precious").read_text() == "keep"


@needs_root
def test_a_file_that_is_a_mount_point_is_left(tree: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("keep")
    mounts.bind(source, tree / "a" / "file")
    try:
        with pytest.raises(MountInside) as caught:
            remove_tree(tree)
        assert caught.value.path == tree / "a" / "file"
    finally:
        mounts.umount(tree / "a" / "file")
    assert source.read_text() == "keep"


def test_ten_thousand_levels_with_few_open_files(tmp_path: Path) -> None:
    root = tmp_path / "deep"
    root.mkdir()
    descriptor = os.open(root, os.O_RDONLY)
    for _ in range(10_000):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_open_files() + 60, hard))
    try:
        remove_tree(root)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not root.exists()


def test_many_subdirectories_with_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remove, "_PENDING_NAMES", 7)
    for number in range(300):
        (tmp_path / "wide" / f"d{number}" / "inner").mkdir(parents=True)
    remove_tree(tmp_path / "wide")
    assert not (tmp_path / "wide").exists()


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_leaves_no_descriptor_open(tree: Path) -> None:
    before = _open_files()
    remove_tree(tree)
    assert _open_files() == before


def _set_flags(path: Path, flags: int) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, remove._FS_IOC_SETFLAGS, struct.pack("=q", flags))
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EPERM):
            pytest.skip("no file flags here")
        raise
    finally:
        os.close(descriptor)


@needs_root
def test_immutable_and_append_only_do_not_stop_it(tree: Path) -> None:
    _set_flags(tree / "a" / "b" / "file", remove._FS_IMMUTABLE_FL)
    _set_flags(tree / "a" / "b", remove._FS_APPEND_FL)
    _set_flags(tree / "a", remove._FS_IMMUTABLE_FL)
    remove_tree(tree)
    assert not tree.exists()


@needs_root
def test_flags_outside_of_the_tree_stay(tree: Path) -> None:
    _set_flags(tree.parent, remove._FS_IMMUTABLE_FL)
    try:
        with pytest.raises(PermissionError):
            remove_tree(tree)
        assert tree.is_dir()
        with pytest.raises(PermissionError):
            (tree.parent / "new").touch()
    finally:
        _set_flags(tree.parent, 0)


def test_somebody_else_removes_the_same_tree(tmp_path: Path) -> None:
    root = tmp_path / "shared"
    for number in range(400):
        directory = root / f"d{number}"
        directory.mkdir(parents=True)
        for inner in range(5):
            (directory / f"f{inner}").touch()
    others = [threading.Thread(target=remove_tree, args=(root,)) for _ in range(3)]
    for other in others:
        other.start()
    remove_tree(root)
    for other in others:
        other.join(30)
    assert not root.exists()


def test_somebody_who_goes_on_filling_is_given_up_on(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.rmdir

    def busy(name: str, *, dir_fd: int | None = None) -> None:
        descriptor = os.open(os.path.join(name, "again"), os.O_CREAT | os.O_WRONLY, dir_fd=dir_fd)  # noqa: PTH118
        os.close(descriptor)
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", busy)
    with pytest.raises(OSError) as caught:
        remove_tree(tree)
    assert caught.value.errno == errno.ENOTEMPTY


@needs_root
def test_a_mount_of_another_namespace_only_does_not_stop_it(tree: Path) -> None:
    script = f"mount --bind {tree}/a/b {tree}/a/b && echo ready && read line"
    holder = subprocess.Popen(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        remove_tree(tree)
        assert not tree.exists()
    finally:
        holder.communicate(b"\n", timeout=10)
