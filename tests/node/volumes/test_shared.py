"""Volumes through which mounts propagate, and volumes of images: killed at any point, the next start heals them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podstead.linux import mounts
from podstead.node.images.usage import VolumeRecord, images_in_use
from podstead.node.volumes import image, shared
from podstead.node.volumes.manager import VolumeManager
from podstead.objects.pod import Pod, from_object
from podstead.paths import Paths

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Killed(BaseException):
    """Stands for a SIGKILL."""


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    yield Paths("test", tmp_path / "data", tmp_path / "run")
    for target in mounts.mounts_below(tmp_path):
        mounts.umount(target, lazy=True)


def a_pod(**source: Any) -> Pod:
    metadata = {"name": "p", "namespace": "default", "uid": "uid-1"}
    return from_object({"metadata": metadata, "spec": {"containers": [], "volumes": [{"name": "v", **source}]}})


def deadly(patch: pytest.MonkeyPatch, where: Any, name: str, *, after: bool) -> None:
    real = getattr(where, name)

    def call(*arguments: Any, **keywords: Any) -> Any:
        if after:
            real(*arguments, **keywords)
        raise Killed

    patch.setattr(where, name, call)


@pytest.mark.parametrize("medium", ["", "Memory"])
async def test_a_shared_volume_goes_with_what_was_mounted_through_it(paths: Paths, medium: str) -> None:
    manager = VolumeManager(paths)
    volume = (await manager.set_up(a_pod(emptyDir={"medium": medium})))["v"]
    (volume / "file").touch()
    shared.share(volume)
    shared.share(volume)
    assert (volume / "file").exists()
    assert next(entry for entry in reversed(mounts.mount_table()) if entry.target == volume).peer_group
    (volume / "m").mkdir()
    mounts.mount("none", volume / "m", "tmpfs")
    await VolumeManager(paths).tear_down("uid-1")
    assert list(paths.pods.iterdir()) == []
    assert not mounts.mounts_below(paths.data)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", ["mount", "make_own_mount", "umount", "mounts_below"])
async def test_sharing_is_healed(paths: Paths, monkeypatch: pytest.MonkeyPatch, call: str, after: bool) -> None:
    manager = VolumeManager(paths)
    volume = (await manager.set_up(a_pod(emptyDir={})))["v"]
    with monkeypatch.context() as patch:
        deadly(patch, mounts, call, after=after)
        with pytest.raises(Killed):
            shared.share(volume)
            shared.unshare(volume)
    shared.share(volume)
    (volume / "file").touch()
    await VolumeManager(paths).tear_down("uid-1")
    assert list(paths.pods.iterdir()) == []
    assert not mounts.mounts_below(paths.data)


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    made = [tmp_path / "layer:2", tmp_path / "layer,1"]
    for layer in made:
        layer.mkdir()
        (layer / "which").write_text(layer.name)
        (layer / layer.name).touch()
    return made


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", ["os.open", "Path.replace", "Path.mkdir", "mounts.mount"])
async def test_a_volume_of_an_image_is_healed(
    paths: Paths, layers: list[Path], monkeypatch: pytest.MonkeyPatch, call: str, after: bool
) -> None:
    manager = VolumeManager(paths)
    volume = (await manager.set_up(a_pod(image={"reference": "x"})))["v"]
    record = VolumeRecord("v", "uid-1", "a" * 64)
    paths.image_graph.mkdir(parents=True)
    owner, name = call.split(".")
    with monkeypatch.context() as patch:
        deadly(patch, {"os": os, "Path": Path, "mounts": mounts}[owner], name, after=after)
        with pytest.raises(Killed):
            image.mount_image(volume, record, layers, paths.image_graph)
    image.mount_image(volume, record, layers, paths.image_graph)
    image.mount_image(volume, record, layers, paths.image_graph)
    assert (volume / "which").read_text() == "layer:2"
    assert sorted(one.name for one in volume.iterdir()) == ["layer,1", "layer:2", "which"]
    with pytest.raises(OSError, match="Read-only"):
        (volume / "new").touch()
    assert len([entry for entry in mounts.mount_table() if entry.target == volume]) == 1
    assert images_in_use(paths) == {"a" * 64: ["volume v of pod uid-1"]}
    assert image.resolved(volume) == "a" * 64
    await VolumeManager(paths).tear_down("uid-1")
    assert list(paths.pods.iterdir()) == []
    assert images_in_use(paths) == {}
    assert (layers[0] / "which").exists()


async def test_an_image_without_layers_is_an_empty_volume(paths: Paths) -> None:
    manager = VolumeManager(paths)
    volume = (await manager.set_up(a_pod(image={"reference": "x"})))["v"]
    for _ in range(2):
        image.mount_image(volume, VolumeRecord("v", "uid-1", "a" * 64), [], paths.image_graph)
    assert len(mounts.mounts_below(volume)) == 1
    assert list(volume.iterdir()) == []
    with pytest.raises(OSError, match="Read-only"):
        (volume / "new").touch()
    await manager.tear_down("uid-1")
    assert list(paths.pods.iterdir()) == []
