"""What volumes in memory have in common: whether the tmpfs is there, and how it goes away. Blocking."""

from __future__ import annotations

import os
from pathlib import Path

from podstead.linux import mounts
from podstead.node.volumes.base import VolumeError


def is_tmpfs_root(path: Path) -> bool:
    """Whether something is mounted at `path` that is a file system of its own: ours, for only the node works here."""
    return os.lstat(path).st_dev != os.lstat(path.parent).st_dev


def unmount(path: Path) -> None:
    """Unmount the tmpfs at `path`, if there is one. Raises VolumeError, naming what others have mounted there."""
    here = [entry for entry in mounts.mount_table() if entry.target.is_relative_to(path)]
    foreign = next((entry for entry in here if entry.target != path or entry.fstype != "tmpfs"), None)
    if foreign is not None:
        raise VolumeError(f"{foreign.target} is a mount point ({foreign.fstype}): unmount it first", "FailedUnMount")
    for _ in here:
        try:
            mounts.umount(path)
        except OSError as error:
            raise VolumeError(f"cannot unmount {path}: {error.strerror}", "FailedUnMount") from error
