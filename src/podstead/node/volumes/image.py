"""image: the files of an image, read-only and not executable (KEP-4639).

    holds it      the node's image store
    lives         as long as the pod; the image is resolved once for a pod, and kept in the store as long as that
    loses it      nothing: it is pulled again for the next pod
    waits         while the image is pulled, or cannot be (ErrImagePull, ErrImageNeverPull), as for a container's own

    pods/UID/volumes/kubernetes.io~image/NAME          the mount
    pods/UID/volumes/kubernetes.io~image/.NAME.json    which image it is of: written before anything is mounted

The pod's worker finds the image, as a pull must not hold up the other volumes; `mount_image` is called for it then.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from podstead.linux import mounts
from podstead.node.images.usage import VolumeRecord, mounting
from podstead.node.volumes.base import VolumeError
from podstead.objects.pod import Pod
from podstead.objects.volumes import Volume

_FLAGS = mounts.MS_RDONLY | mounts.MS_NOEXEC | mounts.MS_NOSUID | mounts.MS_NODEV
_OPTIONS_LIMIT = 4095


class ImageVolumePlugin:
    """See VolumePlugin."""

    kind = "image"
    directory = "image"

    def serves(self, volume: Volume) -> bool:
        return volume.image is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        """Make the directory; the image comes when it is known."""
        path.mkdir(mode=0o755, exist_ok=True)
        return path

    async def tear_down(self, path: Path) -> None:
        """Unmount the image; its record goes with the directory around it."""
        try:
            while await asyncio.to_thread(mounts.umount, path):
                pass
        except OSError as error:
            raise VolumeError(f"cannot unmount {path}: {error.strerror}", "FailedUnMount") from error


def resolved(path: Path) -> str:
    """Return the id of the image that the volume at `path` is of, empty if none was found for it yet."""
    try:
        return msgspec.json.decode(_record(path).read_bytes(), type=VolumeRecord).image_id
    except (OSError, msgspec.DecodeError):
        return ""


def mount_image(path: Path, record: VolumeRecord, layers: Sequence[Path], graph: Path) -> None:
    """Mount the image of `record` at `path`, unless that is done. Blocking. Raises OSError; then nothing is mounted.

    `layers` are its layers' directories, the uppermost first; no image is removed from the store at `graph` meanwhile.
    """
    with mounting(graph):
        note = _record(path)
        fresh = note.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(record))
        fresh.replace(note)
        if not mounts.mounts_below(path):
            _mount(path, layers)


def _mount(path: Path, layers: Sequence[Path]) -> None:
    empty = path.with_name(f".{path.name}.empty")
    empty.mkdir(exist_ok=True)
    empty.chmod(0o755)
    descriptors: list[int] = []
    try:
        # Without an upper directory overlayfs wants two at least; paths may hold a colon and be too many for a page.
        descriptors.extend(os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for layer in (*layers, empty))
        lower = ":".join(f"/proc/self/fd/{descriptor}" for descriptor in descriptors)
        if len(lower) + len("lowerdir=") > _OPTIONS_LIMIT:
            raise OSError(None, f"the image has too many layers ({len(layers)})", str(path))
        if not layers:
            mounts.mount(empty, path, flags=mounts.MS_BIND)
            mounts.mount("none", path, flags=mounts.MS_BIND | mounts.MS_REMOUNT | _FLAGS)
        else:
            mounts.mount("overlay", path, "overlay", flags=_FLAGS, data=f"lowerdir={lower}")
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _record(path: Path) -> Path:
    return path.with_name(f".{path.name}.json")
