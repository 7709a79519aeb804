from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_parts import MakeLayout, Registry, make_tar

from podstead.linux import mounts
from podstead.node.images.importer import Importer
from podstead.node.images.pull import Images
from podstead.node.images.rootfs import mount_rootfs, unmount_rootfs
from podstead.node.runtime.base import PullFailed
from podstead.paths import Paths

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
"""security.capability of a file with cap_net_bind_service=ep (linux/capability.h, vfs_cap_data revision 2)."""


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **fields: object) -> tuple[object, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def tar(*members: tuple[object, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            assert isinstance(info, tarfile.TarInfo)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Where a root file system is mounted."""
    target = tmp_path / "root"
    yield target
    while mounts.umount(target, lazy=True):
        pass


async def test_what_a_layer_can_hold_survives(
    images: Images, registry: Registry, make_layout: MakeLayout, tmp_path: Path, root: Path
) -> None:
    xattrs = {"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1"), "SCHILY.xattr.user.note": "mine"}
    lower = tar(
        member("gone", content=b"x"),
        member("opaque", tarfile.DIRTYPE, mode=0o755),
        member("opaque/old", content=b"x"),
        member("kept", content=b"x"),
    )
    upper = tar(
        member(".wh.gone"),
        member("opaque", tarfile.DIRTYPE, mode=0o755),
        member("opaque/.wh..wh..opq"),
        member("opaque/new", content=b"x"),
        member("bin", tarfile.DIRTYPE, mode=0o1777),
        member("bin/su", content=b"#!", mode=0o4755, uid=0, gid=7),
        member("bin/hard", tarfile.LNKTYPE, linkname="bin/su", mode=0o4755, gid=7),
        member("bin/ping", content=b"#!", mode=0o755, pax_headers=xattrs),
        member("null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        member("fifo", tarfile.FIFOTYPE, mode=0o600),
        member("link", tarfile.SYMTYPE, linkname="/etc/passwd"),
    )
    pulled = await images.pull_image(registry.push(make_layout(lower, upper), "holds:1"))
    await mount_rootfs(pulled, tmp_path / "own", root)
    assert sorted(path.name for path in root.iterdir()) == ["bin", "fifo", "kept", "link", "null", "opaque"]
    assert [path.name for path in (root / "opaque").iterdir()] == ["new"]
    setuid = (root / "bin/su").stat()
    assert (stat.S_IMODE(setuid.st_mode), setuid.st_gid, setuid.st_nlink) == (0o4755, 7, 2)
    assert (root / "bin/hard").stat().st_ino == setuid.st_ino
    assert stat.S_IMODE((root / "bin").stat().st_mode) == 0o1777
    assert os.getxattr(root / "bin/ping", "security.capability") == CAPABILITY
    assert os.getxattr(root / "bin/ping", "user.note") == b"mine"
    null = (root / "null").stat()
    assert stat.S_ISCHR(null.st_mode)
    assert null.st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO((root / "fifo").stat().st_mode)
    assert (root / "link").readlink() == Path("/etc/passwd")
    await unmount_rootfs(root, tmp_path / "own")


@pytest.mark.parametrize(
    "members",
    [
        [member("../escaped", content=b"x")],
        [member("a/../../../../escaped", content=b"x")],
        [member("{outside}/escaped", content=b"x")],
        [member("link", tarfile.SYMTYPE, linkname="{outside}"), member("link/escaped", content=b"x")],
        [member("link", tarfile.SYMTYPE, linkname="../../../../../.."), member("link/escaped", content=b"x")],
        [member("hard", tarfile.LNKTYPE, linkname="{outside}/precious"), member("hard", content=b"changed")],
        [member("hard", tarfile.LNKTYPE, linkname="../../precious")],
        [member("link", tarfile.SYMTYPE, linkname="{outside}"), member("link/.wh.precious")],
        [member("link", tarfile.SYMTYPE, linkname="{outside}"), member("link/.wh..wh..opq")],
        [member("../.wh.precious")],
    ],
    ids=["up", "up-inside", "absolute", "link", "link-up", "hard", "hard-up", "whiteout", "opaque", "whiteout-up"],
)
async def test_no_layer_reaches_outside(
    paths: Paths, make_layout: MakeLayout, tmp_path: Path, root: Path, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("untouched")
    (tmp_path / "precious").write_text("untouched")
    for info, _ in members:
        info.name = info.name.format(outside=outside)
        info.linkname = info.linkname.format(outside=outside)
    images = Images(paths)
    try:
        await Importer(paths).load(str(make_layout({"base": b"1"}, tar(*members))), "hostile")
    except Exception as error:
        assert "\n" not in str(error)
        assert await images.list_images() == []
    else:
        (image,) = await images.list_images()
        await mount_rootfs(image, tmp_path / "own", root)
        await unmount_rootfs(root, tmp_path / "own")
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_text() == (tmp_path / "precious").read_text() == "untouched"
    own = {paths.data, root}
    assert [path for path in tmp_path.rglob("escaped") if not own & set(path.parents)] == []
    assert not Path("/escaped").exists()


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        (make_tar({"a": b"x" * 5000})[:3000], {}),
        (b"no tar at all" * 100, {}),
        (make_tar({"a": b"1"}), {"raw_config": b'{"architecture":'}),
        (make_tar({"a": b"1"}), {"raw_config": b'{"architecture":"amd64","os":"linux","rootfs":7}'}),
        (make_tar({"a": b"1"}), {"raw_config": b"[]"}),
    ],
    ids=["cut", "no-tar", "config-cut", "config-wrong", "config-list"],
)
async def test_broken_images_say_so_in_one_line(
    images: Images, registry: Registry, make_layout: MakeLayout, layer: bytes, options: dict[str, bytes]
) -> None:
    registry_layout = make_layout({"base": b"1"}, layer, **options)
    name = registry.push(registry_layout, f"broken/{registry_layout.name}:1")
    with pytest.raises(PullFailed) as failed:
        await images.pull_image(name)
    assert str(failed.value).startswith(f"{name}: the image is broken: ")
    assert "\n" not in str(failed.value)
    assert failed.value.reason == "ErrImagePull"
    assert await images.list_images() == []
    assert await images.image_status(name) is None
