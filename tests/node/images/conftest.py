"""Fixtures of the image tests: a registry, images made by hand, and an image store that leaves nothing behind."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from image_parts import MakeLayout, Registry, make_tar

from podstead.linux import mounts
from podstead.node.images.layout import architecture
from podstead.node.images.pull import Images
from podstead.paths import Paths


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    started = Registry(tmp_path_factory.mktemp("registry"))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def make_layout(tmp_path_factory: pytest.TempPathFactory) -> MakeLayout:
    """Make an OCI layout: one layer for each dict of file names and contents."""

    def make(*layers: dict[str, bytes], config: dict[str, Any] | None = None) -> Path:
        directory = tmp_path_factory.mktemp("oci")
        blobs = directory / "blobs/sha256"
        blobs.mkdir(parents=True)

        def put(content: bytes, kind: str) -> dict[str, Any]:
            digest = hashlib.sha256(content).hexdigest()
            (blobs / digest).write_bytes(content)
            media_type = f"application/vnd.oci.image.{kind}"
            return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

        plain = [make_tar(files) for files in layers]
        diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in plain]
        described = {
            "architecture": architecture(),
            "os": "linux",
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": put(json.dumps(described).encode(), "config.v1+json"),
            "layers": [put(gzip.compress(layer, 1, mtime=0), "layer.v1.tar+gzip") for layer in plain],
        }
        index = {"schemaVersion": 2, "manifests": [put(json.dumps(manifest).encode(), "manifest.v1+json")]}
        (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (directory / "index.json").write_text(json.dumps(index))
        return directory

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
