"""Files that change all at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podstead.node.volumes import atomic
from podstead.node.volumes.atomic import File


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
