"""What pods take of the disk: volumes, writable layers, logs. Walking takes its time: a result holds a minute."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from podstead import clock
from podstead.node.runtime.base import ContainerStatus
from podstead.paths import Paths

_HOLDS = 60.0
_PREFIX = "kubernetes.io~"
# What has a place of its own elsewhere, or another's content: how full that is, is not the pod's doing.
_NOT_COUNTED = frozenset(("image", "nfs"))


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes and inodes: of the file system that it lies on, and used by itself."""

    capacity: int
    available: int
    used: int
    inodes: int
    inodes_free: int
    inodes_used: int


@dataclass(frozen=True, slots=True)
class PodSpace:
    """`volumes` by name; `layers` and `logs` by container name."""

    time: float
    volumes: Mapping[str, Space]
    layers: Mapping[str, Space]
    logs: Mapping[str, Space]


class Disk:
    """Measures one instance's pods."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._known: dict[str, tuple[float, PodSpace]] = {}

    async def measure(self, pods: Mapping[str, Sequence[ContainerStatus]]) -> dict[str, PodSpace]:
        """Return what each pod (by uid, with its containers) takes, as of a minute ago at most."""
        now = clock.monotonic()
        self._known = {uid: found for uid, found in self._known.items() if uid in pods and now - found[0] < _HOLDS}
        missing = {uid: statuses for uid, statuses in pods.items() if uid not in self._known}
        if missing:
            measured = await asyncio.to_thread(self._measure, missing)
            self._known |= {uid: (now, space) for uid, space in measured.items()}
        return {uid: space for uid, (_, space) in self._known.items()}

    def file_system(self) -> Space:
        """Return how full the disk is that the data directory is on."""
        return _space(self._paths.data, os.statvfs(self._paths.data), None)

    def images(self) -> Space:
        """Return how full the disk is that the images are on."""
        place = self._paths.image_graph if self._paths.image_graph.exists() else self._paths.data
        return _space(place, os.statvfs(place), None)

    def _measure(self, pods: Mapping[str, Sequence[ContainerStatus]]) -> dict[str, PodSpace]:
        return {uid: self._pod(uid, statuses) for uid, statuses in pods.items()}

    def _pod(self, uid: str, statuses: Sequence[ContainerStatus]) -> PodSpace:
        volumes, layers, logs = {}, {}, {}
        for path in self._paths.pod(uid).glob(f"volumes/{_PREFIX}*/*"):
            if path.parent.name.removeprefix(_PREFIX) in _NOT_COUNTED or path.name.startswith("."):
                continue
            if path.is_dir() and (space := _measured(path)) is not None:
                volumes[path.name] = space
        for status in statuses:
            # RUNTIME_STATE/rootfs/ID/upper is what the container has written: see Containers.writable_dir.
            layer = _measured(self._paths.runtime_state / "rootfs" / status.id)
            if layer is not None:
                layers[status.name] = layer
            if (log := _measured(status.log_path.parent)) is not None:
                logs[status.name] = log
        return PodSpace(clock.now().timestamp(), volumes, layers, logs)


def _measured(path: Path) -> Space | None:
    """Return what the tree at `path` takes; None where it is gone, or cannot be read."""
    try:
        system = os.statvfs(path)
        if os.path.ismount(path):
            return _space(path, system, None)
        return _space(path, system, _walk(path))
    except OSError:
        return None


def _space(path: Path, system: os.statvfs_result, tree: tuple[int, int] | None) -> Space:
    size = system.f_frsize
    whole = (system.f_blocks - system.f_bfree) * size, system.f_files - system.f_ffree
    used, inodes = tree if tree is not None else whole
    return Space(system.f_blocks * size, system.f_bavail * size, used, system.f_files, system.f_ffree, inodes)


def _walk(top: Path) -> tuple[int, int]:
    """Return bytes on disk and inodes below `top`, on its file system alone; a file with two names counts once."""
    device, seen, used = top.lstat().st_dev, set[int](), top.lstat().st_blocks * 512
    waiting, inodes = [str(top)], 1
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if status.st_dev != device or (status.st_nlink > 1 and status.st_ino in seen):
                continue
            directory = entry.is_dir(follow_symlinks=False)
            if status.st_nlink > 1 and not directory:
                seen.add(status.st_ino)
            used, inodes = used + status.st_blocks * 512, inodes + 1
            if directory:
                waiting.append(entry.path)
    return used, inodes
