"""Fixtures of the image tests: a registry, images made by hand, and an image store that leaves nothing behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from image_parts import MakeLayout, Registry, make_tar, write_layout

from podstead.linux import mounts
from podstead.node.images.pull import Images
from podstead.paths import Paths


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    started = Registry(tmp_path_factory.mktemp("registry"))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def make_layout(tmp_path_factory: pytest.TempPathFactory) -> MakeLayout:
    """Make an OCI layout: one layer for each dict of file names and contents, or of each tar given as bytes."""

    def make(*layers: dict[str, bytes] | bytes, config: dict[str, Any] | None = None, **options: Any) -> Path:
        plain = [layer if isinstance(layer, bytes) else make_tar(layer) for layer in layers]
        return write_layout(tmp_path_factory.mktemp("oci"), plain, config or {}, **options)

    return make


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    yield Paths("images-test", tmp_path / "data", tmp_path / "run")
    left = mounts.mounts_below(tmp_path)
    for target in left:
        mounts.umount(target, lazy=True)
    assert left == [], "mounts stayed behind"


@pytest.fixture
async def images(paths: Paths) -> AsyncIterator[Images]:
    service = Images(paths)
    yield service
    await service.close()
    transfers = paths.image_graph / "transfers"
    assert not transfers.exists() or list(transfers.iterdir()) == []
