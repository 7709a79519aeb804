"""Sub-paths of volumes: what is made, what is bound, and that nothing a container does leads out of its volume."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from podstead.linux import mounts
from podstead.linux.beneath import open_beneath
from podstead.node.volumes import subpath

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

ATTACK_SECONDS = float(os.environ.get("PODSTEAD_TEST_ATTACK_SECONDS", "2"))
_RENAME_EXCHANGE, _AT_FDCWD, _SYS_RENAMEAT2 = 2, -100, 316


class Killed(BaseException):
    """Stands for a SIGKILL: nothing of the code under test may catch it."""


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "volume"
    made.mkdir()
    made.chmod(0o2775)
    yield made
    for target in mounts.mounts_below(tmp_path):
        mounts.umount(target, lazy=True)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    made = tmp_path / "outside"
    made.mkdir()
    (made / "secret").write_text("mine")
    return made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "run/v/uid/volume/container/0"


def bound(target: Path) -> bool:
    return any(entry.target == target for entry in mounts.mount_table())


def test_missing_directories_get_the_volumes_mode(volume: Path, target: Path) -> None:
    before = os.umask(0o077)
    try:
        subpath.bind(volume, "a//./b", target)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((volume / one).stat().st_mode) for one in ("a", "a/b")] == [0o2775, 0o2775]
    (target / "file").write_text("text")
    assert (volume / "a/b/file").read_text() == "text"


def test_a_file_is_bound_as_a_file(volume: Path, target: Path) -> None:
    (volume / "file").write_text("text")
    subpath.bind(volume, "file", target)
    assert target.read_text() == "text"


def test_the_same_again_is_left_and_another_is_bound_anew(volume: Path, target: Path) -> None:
    subpath.bind(volume, "a", target)
    before = mounts.mount_table()
    subpath.bind(volume, "a", target)
    assert mounts.mount_table() == before
    (volume / "a").rename(volume / "old")
    (volume / "a").write_text("a file now")
    subpath.bind(volume, "a", target)
    assert target.read_text() == "a file now"
    assert len([entry for entry in mounts.mount_table() if entry.target == target]) == 1


def test_links_within_the_volume_are_followed(volume: Path, target: Path) -> None:
    (volume / "real").mkdir()
    (volume / "link").symlink_to("real")
    (volume / "absolute").symlink_to(volume / "real")
    for name in ("link/made", "absolute"):
        subpath.bind(volume, name, target)
    assert (volume / "real/made").is_dir()
    (target / "file").touch()
    assert (volume / "real/file").exists()


@pytest.mark.parametrize("path", ["../outside", "out", "out/secret", "deep/out", "up", "proc/self/root/etc"])
def test_nothing_leads_out(volume: Path, outside: Path, target: Path, path: str) -> None:
    (volume / "out").symlink_to(outside)
    (volume / "deep").mkdir()
    (volume / "deep/out").symlink_to("../../outside")
    (volume / "up").symlink_to("..")
    (volume / "proc").symlink_to("/proc")
    with pytest.raises(OSError) as failed:
        subpath.bind(volume, path, target)
    assert failed.value.errno in (errno.EXDEV, errno.ELOOP)
    assert not bound(target)


@pytest.mark.parametrize("path", ["out/made", "dangling", "dangling/made", "file/made"])
def test_nothing_is_made_outside(volume: Path, outside: Path, target: Path, path: str) -> None:
    (volume / "out").symlink_to(outside)
    (volume / "dangling").symlink_to(outside / "new")
    (volume / "file").touch()
    with pytest.raises(OSError):
        subpath.bind(volume, path, target)
    assert [one.name for one in outside.iterdir()] == ["secret"]


def test_a_magic_link_is_not_followed(volume: Path) -> None:
    root = os.open("/proc/self", os.O_PATH)
    try:
        with pytest.raises(OSError) as failed:
            open_beneath(root, "root", os.O_PATH)
    finally:
        os.close(root)
    assert failed.value.errno in (errno.ELOOP, errno.EXDEV)


SWAP = f"""
import ctypes, os, sys
call, one, other = ctypes.CDLL(None).syscall, os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2])
while True:
    call({_SYS_RENAMEAT2}, {_AT_FDCWD}, one, {_AT_FDCWD}, other, {_RENAME_EXCHANGE})
"""


def test_a_race_of_a_directory_and_a_link_is_never_lost(volume: Path, outside: Path, target: Path) -> None:
    """A container swaps what the sub-path names with a link out of the volume; minutes of it by an environment flag."""
    (volume / "d").mkdir()
    (volume / "l").symlink_to(outside)
    attacker = subprocess.Popen([sys.executable, "-c", SWAP, str(volume / "d"), str(volume / "l")])
    inode = (outside.stat().st_dev, outside.stat().st_ino)
    done = refused = 0
    try:
        end = time.monotonic() + ATTACK_SECONDS
        while time.monotonic() < end or not (done and refused):
            assert time.monotonic() < end + 20, "the race was never won and lost"
            name = ("d", "d/made", "d/secret")[(done + refused) % 3]
            try:
                subpath.bind(volume, name, target)
            except OSError:
                refused += 1
                continue
            done += 1
            found = target.stat()
            assert (found.st_dev, found.st_ino) != inode
            if target.is_file():
                assert target.read_text() != "mine"
            subpath.release(target.parent)
    finally:
        attacker.kill()
        attacker.wait()
    assert [one.name for one in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "mine"


def test_release_leaves_what_was_shown(volume: Path, target: Path) -> None:
    (volume / "file").write_text("text")
    subpath.bind(volume, "made", target)
    subpath.bind(volume, "file", target.with_name("1"))
    (target / "kept").touch()
    base = target.parents[2]
    subpath.release(base)
    subpath.release(base)
    assert not base.exists()
    assert (volume / "made/kept").exists()
    assert (volume / "file").read_text() == "text"


CALLS = ["os.mkdir", "os.fchmod", "mounts.mount", "Path.mkdir", "mounts.umount", "subpath.remove_tree"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_killed_at_any_point_the_next_start_heals(
    volume: Path, target: Path, monkeypatch: pytest.MonkeyPatch, call: str, after: bool
) -> None:
    """Set up and taken away, killed before or after each call that changes something, then all of it done again."""
    owner, name = call.split(".")
    where = {"os": os, "mounts": mounts, "Path": Path, "subpath": subpath}[owner]
    real, killed = getattr(where, name), []

    def deadly(*arguments: object, **keywords: object) -> object:
        if after:
            real(*arguments, **keywords)
        killed.append(name)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(where, name, deadly)
        with pytest.raises(Killed):
            subpath.bind(volume, "a/b", target)
            subpath.release(target.parents[2])
    assert killed
    subpath.bind(volume, "a/b", target)
    (target / "file").write_text("text")
    assert (volume / "a/b/file").read_text() == "text"
    assert len([entry for entry in mounts.mount_table() if entry.target == target]) == 1
    subpath.release(target.parents[2])
    assert not bound(target)
    assert (volume / "a/b/file").exists()
