"""Volumes through which mounts propagate (mountPropagation): a volume of the pod becomes a shared mount of its own.

What a privileged container mounts below a Bidirectional volume shows on the node and in the pod's other containers. It
came from the pod, so it is unmounted with the volume; what others have mounted in a volume is not. Blocking.
"""

from __future__ import annotations

import threading
from pathlib import Path

from podstead.linux import mounts
from podstead.node.volumes.base import VolumeError

SLAVE, SHARED = "rslave", "rshared"
_one_at_a_time = threading.Lock()


def share(volume: Path) -> None:
    """Make the volume a shared mount, once, and note it; raises OSError."""
    with _one_at_a_time:
        _note(volume).touch()
        mounts.make_own_mount(volume)


def unshare(volume: Path) -> None:
    """Take back what `share` did, and what was mounted below through it; raises VolumeError."""
    note = _note(volume)
    if not note.exists():
        return
    try:
        for target in mounts.mounts_below(volume):
            # The pod's containers have ended: if something else has a file open there, it keeps it.
            mounts.umount(target, lazy=True)
    except OSError as error:
        raise VolumeError(f"cannot unmount {error.filename}: {error.strerror}", "FailedUnMount") from error
    note.unlink()


def check_propagates(source: Path, propagation: str) -> None:
    """Raise VolumeError unless the mount that `source` is on can pass mounts on as `propagation` asks.

    The words are containerd's.
    """
    holder = max(
        (entry for entry in mounts.mount_table() if source.is_relative_to(entry.target)),
        key=lambda entry: len(entry.target.parts),
    )
    if holder.peer_group or (propagation == SLAVE and holder.slave):
        return
    kind = "a shared mount" if propagation == SHARED else "a shared or slave mount"
    text = f'path "{source}" is mounted on "{holder.target}" but it is not {kind}'
    raise VolumeError(text, "CreateContainerError")


def _note(volume: Path) -> Path:
    return volume.with_name(f".{volume.name}.shared")
