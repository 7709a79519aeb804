"""Who a container's process is, from hostile files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podstead.node.runtime.base import CreateFailed, Security
from podstead.node.runtime.users import ProcessUser, resolve

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
# comment:x:5:5::/:
broken
web:x:1000:1001:w:/home/web:/bin/sh
7:x:70:71::/seven:
"""
GROUP = "root:x:0:\nweb:x:1001:\nlogs:x:2000:other,web\nempty:x:3000:\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return tmp_path


@pytest.mark.parametrize(
    ("user", "wanted"),
    [
        ("", ProcessUser(0, 0, (), "/root")),
        ("web", ProcessUser(1000, 1001, (2000,), "/home/web")),
        ("1000", ProcessUser(1000, 1001, (2000,), "/home/web")),
        ("web:logs", ProcessUser(1000, 2000, (), "/home/web")),
        ("web:4000", ProcessUser(1000, 4000, (), "/home/web")),
        ("5555", ProcessUser(5555, 0, (), "/")),
        ("5555:6666", ProcessUser(5555, 6666, (), "/")),
        ("7", ProcessUser(70, 71, (), "/seven")),
    ],
)
def test_user_of_the_image(root: Path, user: str, wanted: ProcessUser) -> None:
    assert resolve(root, user, Security()) == wanted


def test_ids_of_the_pod_go_first(root: Path) -> None:
    security = Security(run_as_user=1000, supplemental_groups=(9, 2000))
    assert resolve(root, "root:empty", security) == ProcessUser(1000, 1001, (9, 2000), "/home/web")
    security = Security(run_as_user=42, run_as_group=43)
    assert resolve(root, "web", security) == ProcessUser(42, 43, (), "/")


@pytest.mark.parametrize("user", ["nobody-here", "web:nogroup", "-1", "4294967296", "²"])
def test_what_is_not_there_is_told(root: Path, user: str) -> None:
    with pytest.raises(CreateFailed, match="unable to find"):
        resolve(root, user, Security())


def test_links_do_not_leave_the_root(root: Path) -> None:
    outside = root.parent / "outside"
    outside.write_text("web:x:0:0::/stolen:\n")
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to(f"../../../../../../../..{outside}")
    with pytest.raises(CreateFailed):
        resolve(root, "web", Security())
    (root / "real").write_text(PASSWD)
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to("/real")
    assert resolve(root, "web", Security()).uid == 1000


def test_a_pipe_in_place_of_the_file_does_not_hold_us_up(root: Path) -> None:
    (root / "etc/passwd").unlink()
    os.mkfifo(root / "etc/passwd")
    assert resolve(root, "0", Security()) == ProcessUser(0, 0, (), "/root")
