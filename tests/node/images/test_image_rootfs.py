from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from image_parts import MakeLayout

from podstead.linux import mounts
from podstead.node.images.importer import Importer
from podstead.node.images.rootfs import mount_rootfs, unmount_rootfs
from podstead.node.runtime.base import CreateFailed, Image, ImageConfig
from podstead.paths import Paths


@pytest.fixture
def places(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """(container directory, target) with characters that mean something to overlayfs."""
    target = tmp_path / "run" / "root,fs:1"
    yield tmp_path / "own,dir:1", target
    while mounts.umount(target, lazy=True):
        pass


def make_image(tmp_path: Path, *layers: dict[str, str]) -> Image:
    """An image of directories, the uppermost given first."""
    found = []
    for number, files in enumerate(layers):
        layer = tmp_path / f"layer{number}"
        layer.mkdir(mode=0o755)
        for name, content in files.items():
            (layer / name).write_text(content)
        found.append(layer)
    return Image("0" * 64, (), (), 0, ImageConfig(), tuple(found))


async def test_upper_layers_hide_lower_ones_and_writes_stay_out_of_them(
    tmp_path: Path, places: tuple[Path, Path]
) -> None:
    image = make_image(tmp_path, {"a": "upper"}, {"a": "lower", "b": "lower"})
    own, target = places
    await mount_rootfs(image, own, target)
    assert [(target / name).read_text() for name in "ab"] == ["upper", "lower"]
    (target / "b").write_text("mine")
    (target / "a").unlink()
    assert (image.layers[0] / "a").read_text() == "upper"
    assert (image.layers[1] / "b").read_text() == "lower"
    assert (own / "upper/b").read_text() == "mine"
    await unmount_rootfs(target, own)
    assert not own.exists()
    assert not target.exists()
    await unmount_rootfs(target, own)


async def test_the_root_directory_is_the_images(tmp_path: Path, places: tuple[Path, Path]) -> None:
    image = make_image(tmp_path, {})
    image.layers[0].chmod(0o1751)
    os.chown(image.layers[0], 5, 6)
    own, target = places
    await mount_rootfs(image, own, target)
    status = target.stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o1751, 5, 6)
    await unmount_rootfs(target, own)


async def test_containers_of_one_image_do_not_see_each_other(tmp_path: Path) -> None:
    image = make_image(tmp_path, {"a": "1"})
    roots = [tmp_path / "r1", tmp_path / "r2"]
    await asyncio.gather(*(mount_rootfs(image, tmp_path / f"own-{root.name}", root) for root in roots))
    (roots[0] / "a").write_text("2")
    assert (roots[1] / "a").read_text() == "1"
    await asyncio.gather(*(unmount_rootfs(root, tmp_path / f"own-{root.name}") for root in roots))


async def test_an_image_without_layers_is_empty(tmp_path: Path, places: tuple[Path, Path]) -> None:
    own, target = places
    await mount_rootfs(make_image(tmp_path), own, target)
    assert list(target.iterdir()) == []
    (target / "new").write_text("x")
    await unmount_rootfs(target, own)
    assert not own.exists()


async def test_127_layers_of_a_loaded_image(
    paths: Paths, make_layout: MakeLayout, tmp_path: Path, places: tuple[Path, Path]
) -> None:
    layout = make_layout(*({f"f{number}": b"x", "last": str(number).encode()} for number in range(127)))
    (image,) = await Importer(paths).load(str(layout), "many")
    assert len(image.layers) == 127
    own, target = places
    await mount_rootfs(image, own, target)
    assert len(list(target.iterdir())) == 128
    assert (target / "last").read_text() == "126"
    await unmount_rootfs(target, own)


async def test_a_root_file_system_in_use_goes_when_its_user_does(tmp_path: Path, places: tuple[Path, Path]) -> None:
    own, target = places
    await mount_rootfs(make_image(tmp_path, {"a": "1"}), own, target)
    with (target / "a").open() as user:
        await unmount_rootfs(target, own)
        assert user.read() == "1"
    assert not target.exists()


async def test_a_missing_layer_is_named_and_nothing_is_mounted(tmp_path: Path, places: tuple[Path, Path]) -> None:
    own, target = places
    image = make_image(tmp_path, {"a": "1"})
    gone = tmp_path / "gone"
    with pytest.raises(CreateFailed, match=f"{gone}: No such file"):
        await mount_rootfs(replace(image, layers=(*image.layers, gone)), own, target)
    assert mounts.mounts_below(tmp_path) == []
    await unmount_rootfs(target, own)
    assert not own.exists()


async def test_more_layers_than_mount_takes_are_refused(tmp_path: Path, places: tuple[Path, Path]) -> None:
    image = make_image(tmp_path, {"a": "1"})
    with pytest.raises(CreateFailed, match="too many layers"):
        await mount_rootfs(replace(image, layers=image.layers * 400), *places)


async def test_removal_follows_no_link_and_crosses_no_mount(tmp_path: Path, places: tuple[Path, Path]) -> None:
    own, target = places
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    await mount_rootfs(make_image(tmp_path, {"a": "1"}), own, target)
    (target / "link").symlink_to(outside)
    (own / "upper/mnt").mkdir()
    mounts.bind(outside, own / "upper/mnt")
    try:
        with pytest.raises(OSError, match="still mounted"):
            await unmount_rootfs(target, own)
    finally:
        mounts.umount(own / "upper/mnt")
    await unmount_rootfs(target, own)
    assert (outside / "precious").read_text() == "x"
    assert not own.exists()


async def test_a_cancelled_mount_can_be_unmounted(tmp_path: Path, places: tuple[Path, Path]) -> None:
    own, target = places
    task = asyncio.create_task(mount_rootfs(make_image(tmp_path, {"a": "1"}), own, target))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await unmount_rootfs(target, own)
    assert mounts.mounts_below(tmp_path) == []
    assert not own.exists()


async def test_a_container_that_wrote_a_thousand_levels_can_be_removed(
    tmp_path: Path, places: tuple[Path, Path]
) -> None:
    own, target = places
    await mount_rootfs(make_image(tmp_path, {}), own, target)
    above = os.open(own / "upper", os.O_PATH)
    for _ in range(3000):
        os.mkdir("d", dir_fd=above)
        below = os.open("d", os.O_PATH, dir_fd=above)
        os.close(above)
        above = below
    os.close(above)
    await unmount_rootfs(target, own)
    assert not own.exists()
