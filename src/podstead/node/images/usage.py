"""Which images containers use, so that none of their layers is removed: podstead's mounts are unknown to the store.

A container's record is written before its root file system is mounted. Who mounts holds the lock shared, who removes
holds it alone and reads the records meanwhile: either the record is seen, or the mount comes after the removal and
fails because a layer is not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec

from podstead.paths import Paths

_LOCK = "use.lock"


class _Record(msgspec.Struct):
    """The part of a runtime's container record that matters here."""

    name: str
    pod_uid: str
    image_id: str


class VolumeRecord(msgspec.Struct):
    """Which image a pod's volume of type image is of; the volume's file beside its mount."""

    volume: str
    pod_uid: str
    image_id: str


_decode = msgspec.json.Decoder(_Record).decode
_decode_volume = msgspec.json.Decoder(VolumeRecord).decode


def images_in_use(paths: Paths) -> dict[str, list[str]]:
    """Return image ids and what uses each: containers (`container NAME of pod UID`), those that have ended too, and
    volumes."""
    found: dict[str, list[str]] = {}
    for path in (paths.runtime_state / "containers").glob("*.json"):
        try:
            record = _decode(path.read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            continue  # removed just now, or cut short by a power failure: such a container does not run
        found.setdefault(record.image_id, []).append(f"container {record.name} of pod {record.pod_uid}")
    for path in paths.pods.glob("*/volumes/kubernetes.io~image/.*.json"):
        try:
            volume = _decode_volume(path.read_bytes())
        except (OSError, msgspec.DecodeError):
            continue
        found.setdefault(volume.image_id, []).append(f"volume {volume.volume} of pod {volume.pod_uid}")
    return found


@contextlib.contextmanager
def mounting(graph: Path) -> Iterator[None]:
    """Hold off removals of images from the store at `graph`. Blocks while one goes on."""
    descriptor = _lock(graph, fcntl.LOCK_SH)
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def removing(graph: Path) -> AsyncIterator[None]:
    """Hold off mounts and other removals. Waits while one of them goes on."""
    task = asyncio.create_task(asyncio.to_thread(_lock, graph, fcntl.LOCK_EX))
    try:
        await asyncio.shield(task)
        yield
    finally:
        os.close(await task)


def _lock(graph: Path, how: int) -> int:
    """Return a descriptor that holds the lock."""
    graph.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(graph / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
