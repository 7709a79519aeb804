"""emptyDir: a directory on the node's disk, or one tmpfs, that lives as long as the pod."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from podstead.linux import mounts
from podstead.node.volumes import ownership
from podstead.node.volumes.base import VolumeError
from podstead.node.volumes.tmpfs import is_tmpfs_root, unmount
from podstead.objects.pod import Pod
from podstead.objects.volumes import Volume

_MODE = 0o777


class EmptyDirPlugin:
    """`memory_allocatable` (bytes) is the size of a Memory volume that nothing else limits; 0 leaves that to the
    kernel, which takes half of the machine's memory."""

    kind = "emptyDir"
    directory = "empty-dir"

    def __init__(self, memory_allocatable: int = 0) -> None:
        self._memory_allocatable = memory_allocatable

    def serves(self, volume: Volume) -> bool:
        return volume.empty_dir is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        """See VolumePlugin. After a reboot the disk's volume is as it was, and a Memory one is empty, made again."""
        assert volume.empty_dir is not None
        medium = volume.empty_dir.medium
        if medium not in ("", "Memory"):
            raise VolumeError(f'emptyDir medium "{medium}" is not supported')
        size = memory_volume_size(pod, volume, self._memory_allocatable) if medium == "Memory" else 0
        mode = _MODE if volume.empty_dir.mode is None else volume.empty_dir.mode
        group = pod.spec.security_context.fs_group
        await asyncio.to_thread(_make, path, medium == "Memory", size, mode, group)
        return path

    async def tear_down(self, path: Path) -> None:
        """Unmount the tmpfs, if it is one. What others mounted there is left, and refused by name."""
        await asyncio.to_thread(unmount, path)


def memory_volume_size(pod: Pod, volume: Volume, allocatable: int) -> int:
    """Return the size in bytes of a Memory volume: the least of sizeLimit, the pod's memory limit and what the node can
    give (KEP-1967); 0 for none of them."""
    limits = [volume.empty_dir.size_bytes if volume.empty_dir is not None else 0, pod_memory_limit(pod), allocatable]
    return min((limit for limit in limits if limit > 0), default=0)


def pod_memory_limit(pod: Pod) -> int:
    """Return the sum of the containers' memory limits in bytes, 0 unless all of them have one."""
    limits = [container.resources.limit("memory") for container in pod.spec.containers]
    amounts = [limit.value() for limit in limits if limit is not None]
    return sum(amounts) if len(amounts) == len(limits) and all(amounts) else 0


def _make(path: Path, memory: bool, size: int, mode: int = _MODE, group: int | None = None) -> None:
    """The directory appears under its name with its mode and group, never before: one that is found is complete.

    So a mode that a container has set since is not mistaken for one that a crash left behind.
    """
    if group is not None:
        mode = ownership.mode_for(mode, directory=True)
    if not path.is_dir():
        draft = path.with_name(f".{path.name}.new")
        draft.mkdir(exist_ok=True)
        if group is not None and not memory:
            os.chown(draft, -1, group)
        draft.chmod(0o700 if memory else mode)
        draft.rename(path)
    if memory and not is_tmpfs_root(path):
        mounts.mount_tmpfs(path, size=size, mode=mode, group=group or 0)
