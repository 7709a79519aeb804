"""fsGroup: whose a volume is, and that nothing outside of it is touched."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from podstead.node.volumes import ownership
from podstead.node.volumes.ownership import ALWAYS, ON_ROOT_MISMATCH

GROUP = 4711


def look(path: Path) -> tuple[int, str]:
    found = path.lstat()
    return found.st_gid, oct(stat.S_IMODE(found.st_mode))


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    root = tmp_path / "volume"
    (root / "inner").mkdir(parents=True, mode=0o700)
    (root / "inner/file").touch(0o600)
    (root / "inner/file").chmod(0o600)
    (root / "program").touch()
    (root / "program").chmod(0o4755)
    root.chmod(0o755)
    return root


def test_the_group_can_use_all_of_it(volume: Path) -> None:
    ownership.apply(volume, GROUP)
    assert look(volume) == (GROUP, "0o2775")
    assert look(volume / "inner") == (GROUP, "0o2770")
    assert look(volume / "inner/file") == (GROUP, "0o660")
    assert look(volume / "program") == (GROUP, "0o4775")
    (volume / "inner/later").touch()
    assert (volume / "inner/later").stat().st_gid == GROUP


def test_what_is_read_only_stays_so(volume: Path) -> None:
    ownership.apply(volume, GROUP, readonly=True)
    assert look(volume / "inner/file") == (GROUP, "0o640")
    assert look(volume) == (GROUP, "0o2755")


def test_links_lead_nowhere(volume: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch(0o600)
    before = look(outside), look(outside / "file")
    (volume / "link").symlink_to(outside)
    (volume / "file-link").symlink_to(outside / "file")
    (volume / "dangling").symlink_to("/nowhere/at/all")
    os.mkfifo(volume / "pipe")
    ownership.apply(volume, GROUP)
    assert (look(outside), look(outside / "file")) == before
    assert {(volume / name).lstat().st_gid for name in ("link", "file-link", "dangling", "pipe")} == {GROUP}
    (tmp_path / "elsewhere").symlink_to(volume)
    with pytest.raises(OSError, match="Not a directory"):
        ownership.apply(tmp_path / "elsewhere", GROUP)


@pytest.mark.parametrize(("policy", "changed"), [(ALWAYS, True), (ON_ROOT_MISMATCH, False)])
def test_a_tree_that_was_done_before_is_gone_through_only_if_asked(volume: Path, policy: str, changed: bool) -> None:
    ownership.apply(volume, GROUP, policy=policy)
    assert (volume / "inner/file").stat().st_gid == GROUP
    os.chown(volume / "inner/file", -1, 0)
    ownership.apply(volume, GROUP, policy=policy)
    assert ((volume / "inner/file").stat().st_gid == GROUP) is changed
