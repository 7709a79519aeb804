"""Files that change all at once."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from podstead.node.volumes import atomic
from podstead.node.volumes.atomic import File
from support.killing import dies_at


def shown(directory: Path) -> dict[str, str]:
    names = [entry for entry in directory.iterdir() if not entry.name.startswith("..")]
    files = [file for name in names for file in ([name] if name.is_file() else name.rglob("*")) if file.is_file()]
    return {str(file.relative_to(directory)): file.read_text() for file in files}


def test_files_appear_behind_links_with_their_modes(tmp_path: Path) -> None:
    previous = os.umask(0o077)
    try:
        assert atomic.write(tmp_path, {"a": File(b"1", 0o640), "d/e/f": File(b"2")})
    finally:
        os.umask(previous)
    assert shown(tmp_path) == {"a": "1", "d/e/f": "2"}
    assert (tmp_path / "a").readlink() == Path("..data/a") and (tmp_path / "d").readlink() == Path("..data/d")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "d/e").stat().st_mode & 0o777 == 0o755


def test_a_new_set_replaces_the_old_one_whole(tmp_path: Path) -> None:
    atomic.write(tmp_path, {"a": File(b"1"), "gone": File(b"x")})
    before = (tmp_path / "..data").readlink()
    with (tmp_path / "a").open() as reading:
        assert atomic.write(tmp_path, {"a": File(b"2"), "d/b": File(b"3")})
        assert reading.read() == "1"
    assert shown(tmp_path) == {"a": "2", "d/b": "3"}
    assert (tmp_path / "..data").readlink() != before
    assert len([entry for entry in tmp_path.iterdir() if entry.name.startswith("..2")]) == 1


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    files = {"a": File(b"1"), "d/b": File(b"2")}
    atomic.write(tmp_path, files)
    before = (tmp_path / "..data").readlink()
    assert not atomic.write(tmp_path, files)
    assert (tmp_path / "..data").readlink() == before
    assert atomic.write(tmp_path, {**files, "a": File(b"1", 0o600)}), "another mode"


def test_what_a_crash_left_is_cleaned(tmp_path: Path) -> None:
    atomic.write(tmp_path, {"a": File(b"1")})
    (tmp_path / "..2020_01_01_00_00_00.000000001").mkdir()
    (tmp_path / "..data_tmp").symlink_to("..2020_01_01_00_00_00.000000001")
    (tmp_path / "a").unlink()
    atomic.write(tmp_path, {"a": File(b"1")})
    assert shown(tmp_path) == {"a": "1"}
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "..data", "..x/y", "a\0b"])
def test_no_file_leaves_the_volume(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError):
        atomic.write(tmp_path, {path: File(b"1")})
    assert list(tmp_path.iterdir()) == []


def test_a_crash_between_any_two_system_calls_leaves_a_whole_set(tmp_path: Path) -> None:
    """After each, the volume shows all of the old set or all of the new one, and the next write ends what was begun."""
    old = {"a": File(b"old"), "gone": File(b"old"), "d/e": File(b"old")}
    new = {"a": File(b"new"), "d/e": File(b"new"), "fresh/x": File(b"new")}
    call, seen = 0, set[str]()
    while True:
        volume = tmp_path / str(call)
        volume.mkdir()
        atomic.write(volume, old)
        died = dies_at(call, partial(atomic.write, volume, new))
        data = (volume / "..data").resolve()
        found = {str(file.relative_to(data)): file.read_text() for file in data.rglob("*") if file.is_file()}
        assert found in (dict.fromkeys(old, "old"), dict.fromkeys(new, "new")), call
        seen.add(found["a"])
        atomic.write(volume, new)
        assert shown(volume) == dict.fromkeys(new, "new")
        assert len(list(volume.iterdir())) == 5, "..data, the set, and three names"
        if not died:
            break
        call += 1
    assert seen == {"old", "new"} and call > 20


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_pods_group_may_read_it_all(tmp_path: Path) -> None:
    atomic.write(tmp_path, {"a": File(b"1", 0o400), "d/b": File(b"2", 0o600, user=1000)}, group=2000)
    for name, mode, user in (("a", 0o440, 0), ("d/b", 0o640, 1000), ("d", 0o2755, 0)):
        status = (tmp_path / name).stat()
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (mode, user, 2000), name
    assert tmp_path.stat().st_mode & 0o2550 == 0o2550 and tmp_path.stat().st_gid == 2000
    assert not atomic.write(tmp_path, {"a": File(b"1", 0o400), "d/b": File(b"2", 0o600, user=1000)}, group=2000)
    assert atomic.write(tmp_path, {"a": File(b"1", 0o400), "d/b": File(b"2", 0o600, user=1000)}, group=2001)
