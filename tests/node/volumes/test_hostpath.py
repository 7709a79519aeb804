"""hostPath: what is there, what is made, what is refused."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from podstead.linux import mounts
from podstead.node.volumes.base import VolumeError
from podstead.node.volumes.hostpath import HostPathPlugin
from podstead.objects.pod import Pod
from podstead.objects.volumes import HostPath, Volume

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

NAMES = {
    "Directory": "a directory",
    "File": "a file",
    "Socket": "a socket file",
    "CharDevice": "a character device",
    "BlockDevice": "a block device",
}


async def find(path: Path, kind: str, *refused: Path) -> Path:
    volume = Volume(name="v", host_path=HostPath(path=str(path), type=kind))
    return await HostPathPlugin(refused).set_up(Pod(), volume, Path("/nowhere"))


@pytest.fixture
def things(tmp_path: Path) -> dict[str, Path]:
    """One of each kind."""
    made = {kind: tmp_path / kind for kind in NAMES}
    made["Directory"].mkdir()
    made["File"].touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(made["Socket"]))
    os.mknod(made["CharDevice"], stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(made["BlockDevice"], stat.S_IFBLK | 0o600, os.makedev(7, 0))
    return made


@pytest.mark.parametrize("kind", NAMES)
async def test_each_type_takes_its_own_and_names_what_is_not(things: dict[str, Path], kind: str) -> None:
    for other, path in things.items():
        if other == kind:
            assert await find(path, kind) == path
            assert await find(path, "") == path
            continue
        with pytest.raises(VolumeError, match=rf"^hostPath type check failed: {path} is not {NAMES[kind]}$"):
            await find(path, kind)
    absent = things[kind].with_name("absent")
    with pytest.raises(VolumeError, match=rf"^hostPath type check failed: {absent} is not {NAMES[kind]}$"):
        await find(absent, kind)
    assert not absent.exists()


async def test_what_is_missing_is_made_where_the_type_says_so(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        await find(tmp_path / "a/b", "DirectoryOrCreate")
        await find(tmp_path / "c", "")
        await find(tmp_path / "file", "FileOrCreate")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b", "c", "file")]
    assert modes == [0o755, 0o755, 0o755, 0o644]
    (tmp_path / "file").write_text("kept")
    assert (await find(tmp_path / "file", "FileOrCreate")).read_text() == "kept"
    with pytest.raises(VolumeError, match="is not a directory"):
        await find(tmp_path / "file", "DirectoryOrCreate")
    with pytest.raises(VolumeError, match="No such file or directory"):
        await find(tmp_path / "absent/file", "FileOrCreate")


async def test_podsteads_own_is_refused_whatever_way_leads_there(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    (data / "pki").mkdir(parents=True)
    (tmp_path / "link").symlink_to(data)
    (tmp_path / "bind").mkdir()
    mounts.bind(data, tmp_path / "bind")
    try:
        ways = ["data", "data/pki", "data/new", "link", "link/pki", "data/../data/pki", "bind", "bind/pki", "run/x"]
        for way in ways:
            with pytest.raises(VolumeError, match="podstead keeps its own data there"):
                await find(tmp_path / way, "DirectoryOrCreate", data, run)
        root = Path(f"/proc/{os.getpid()}/root{data}")
        with pytest.raises(VolumeError, match="podstead keeps its own data there"):
            await find(root, "", data, run)
    finally:
        mounts.umount(tmp_path / "bind")
    assert sorted(one.name for one in data.iterdir()) == ["pki"]
    assert await find(tmp_path, "Directory", data, run) == tmp_path
