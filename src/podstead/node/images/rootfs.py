"""Root file systems of containers: an overlay of an image's layers below a directory that only the container writes.

podstead mounts it itself. The layers are handed over as /proc/self/fd/N, since mount(2) takes one page of options and
some hundred paths of layers are longer than that; so are `upper` and `work`, whose paths may hold a comma or a colon.
index=off, because with an index overlayfs claims `upper` and `work` for one mount (EBUSY while a dead container's
mount lingers in another namespace) and ties `upper` to its lower layers by file handle (ESTALE where they were pulled
again), and neither check is of use to directories that are made for one container and go with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

from podstead.linux import mounts
from podstead.linux.remove import MountInside, remove_tree
from podstead.node.images.usage import mounting
from podstead.node.runtime.base import CreateFailed, Image

P = ParamSpec("P")

_OPTIONS_LIMIT = 4095
_opening = threading.Lock()  # one mount at a time holds descriptors of all its layers


async def mount_rootfs(image: Image, container_dir: Path, target: Path, graph: Path | None = None) -> None:
    """Mount `image` at `target`, with what is written kept in `container_dir`/{upper,work}; makes the directories.

    No image is removed from the store at `graph` meanwhile. A caller that is cancelled gets control back when the
    mount has been made or has failed. Raises CreateFailed (CreateContainerError); then nothing is mounted.
    """
    await _in_thread(_mount, image, container_dir, target, graph)


async def unmount_rootfs(target: Path, container_dir: Path) -> None:
    """Unmount whatever lies on `target` and remove it, what `mount_rootfs` put into `container_dir`, and that
    directory if nothing else is in it. What is gone already is not an error; cancellation is as for `mount_rootfs`.

    Raises OSError if something is still mounted there: nothing is removed through a mount.
    """
    await _in_thread(_unmount, target, container_dir)


async def _in_thread(work: Callable[P, None], *arguments: P.args, **keywords: P.kwargs) -> None:
    task = asyncio.create_task(asyncio.to_thread(work, *arguments, **keywords))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
        raise


def _mount(image: Image, container_dir: Path, target: Path, graph: Path | None) -> None:
    try:
        with contextlib.nullcontext() if graph is None else mounting(graph):
            _make_and_mount(image, container_dir, target)
    except OSError as error:
        message = f"cannot mount image {image.id[:12]} at {target}: {error.filename}: {error.strerror}"
        raise CreateFailed(message, "CreateContainerError") from error


def _make_and_mount(image: Image, container_dir: Path, target: Path) -> None:
    upper, work, empty = container_dir / "upper", container_dir / "work", container_dir / "empty"
    for directory in (container_dir, work, target):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not image.layers:
        empty.mkdir(mode=0o755, exist_ok=True)
    layers = image.layers or (empty,)
    _make_upper(upper, layers[0])
    descriptors: list[int] = []
    with _opening:
        try:
            descriptors.extend(_open(path) for path in (upper, work, *layers))
            first, second, *lower = (f"/proc/self/fd/{descriptor}" for descriptor in descriptors)
            options = f"index=off,upperdir={first},workdir={second},lowerdir={':'.join(lower)}"
            if len(options) > _OPTIONS_LIMIT:
                raise CreateFailed(f"image {image.id[:12]} has too many layers ({len(layers)})", "CreateContainerError")
            mounts.mount("overlay", target, "overlay", data=options)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def _unmount(target: Path, container_dir: Path) -> None:
    while _umount_one(target):
        pass
    written = [container_dir / name for name in ("upper", "work", "empty")]
    left = mounts.mounts_below(container_dir)
    if left:
        raise OSError(errno.EBUSY, "still mounted, so nothing is removed", str(left[0]))
    for directory in written:
        try:
            remove_tree(directory)
        except MountInside as error:
            raise OSError(errno.EBUSY, "still mounted, so nothing is removed", str(error.path)) from error
    for directory in (target, container_dir):
        try:
            directory.rmdir()
        except OSError:
            pass  # gone, or it holds more, which is its owner's to remove


def _open(directory: Path) -> int:
    return os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _make_upper(upper: Path, top: Path) -> None:
    """The owner and mode of a container's `/` are those of the upper directory: take them from the image."""
    status = top.stat()
    upper.mkdir(mode=0o700, exist_ok=True)
    os.chown(upper, status.st_uid, status.st_gid)
    upper.chmod(status.st_mode & 0o7777)


def _umount_one(target: Path) -> bool:
    try:
        return mounts.umount(target)
    except OSError:
        return mounts.umount(target, lazy=True)  # a process that is just going away still has it open
