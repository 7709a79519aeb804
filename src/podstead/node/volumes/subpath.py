"""subPath: a file or directory in a volume, bound to a place of its own that containers are then given.

Whoever writes into the volume may swap names and links at any time. So what is found is held by a descriptor (openat2,
never out of the volume) and that very file is bound, by /proc/self/fd: nothing is looked up twice. The place is

    RUN/v/UID/VOLUME/CONTAINER/INDEX

in podstead's run directory, which is a shared mount: what is unmounted there goes from copies of the mount table too.
Blocking: call from a thread.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from podstead.linux import mounts
from podstead.linux.beneath import open_beneath
from podstead.linux.remove import MountInside, remove_tree
from podstead.node.volumes.base import VolumeError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class NotMade(OSError):
    """A directory that was missing could not be made."""


def bind(volume: Path, sub_path: str, target: Path, *, make: bool = True) -> None:
    """Have `target` show what `volume` has at `sub_path`; with `make` directories are made there if nothing is.

    A directory that is made has the mode of the volume. What `target` shows already is left if it is still the same.
    Raises OSError: EXDEV if the path leads out of the volume, NotMade.
    """
    root = os.open(volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        source = _find(root, volume, sub_path, make)
    finally:
        os.close(root)
    try:
        _bind(source, target)
    finally:
        os.close(source)


def release(directory: Path) -> None:
    """Unmount and remove all places below `directory`; raises VolumeError. What they showed is not touched."""
    if not directory.is_dir():
        return
    try:
        for target in mounts.mounts_below(directory):
            mounts.umount(target, lazy=True)
        remove_tree(directory)
    except MountInside as error:
        raise VolumeError(f"{error}: unmount it first", "FailedUnMount") from error
    except OSError as error:
        raise VolumeError(f"cannot release {directory}: {error.strerror}", "FailedUnMount") from error


def _bind(source: int, target: Path) -> None:
    wanted = os.fstat(source)
    if target.parent.is_dir() and os.path.lexists(target):
        found = target.lstat()
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return
    while mounts.umount(target, lazy=True):
        pass
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_place(target, directory=stat.S_ISDIR(wanted.st_mode))
    mounts.mount(f"/proc/self/fd/{source}", target, flags=mounts.MS_BIND | mounts.MS_REC)


def _make_place(target: Path, *, directory: bool) -> None:
    """Make something to mount over; what was there for another kind of file is empty and goes."""
    if os.path.lexists(target) and target.is_dir() != directory:
        target.rmdir() if target.is_dir() else target.unlink()
    if directory:
        target.mkdir(mode=0o700, exist_ok=True)
    else:
        target.touch(mode=0o600)


def _find(root: int, volume: Path, sub_path: str, make: bool) -> int:
    """Return a descriptor (O_PATH) of what is at `sub_path`."""
    names = [name for name in sub_path.split("/") if name not in ("", ".")]
    if ".." in names:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), sub_path)
    path = "/".join(names) or "."
    try:
        return open_beneath(root, path, os.O_PATH)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return _by_absolute_link(root, volume, path)
        if error.errno != errno.ENOENT or not make:
            raise
    try:
        return _make_directories(root, names, stat.S_IMODE(os.fstat(root).st_mode))
    except OSError as error:
        raise NotMade(error.errno, error.strerror, error.filename) from error


def _by_absolute_link(root: int, volume: Path, path: str) -> int:
    """An absolute link may lead back into the volume, as in the node's own directories: the kubelet follows it."""
    base = Path(os.path.realpath(volume))
    found = Path(os.path.realpath(base / path))
    if not found.is_relative_to(base):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    # Whatever has changed since: no link is followed any more.
    return open_beneath(root, str(found.relative_to(base)), os.O_PATH, symlinks=False)


def _make_directories(root: int, names: list[str], mode: int) -> int:
    """Make what is missing of a path of directories; what is there is entered, by links within the volume too."""
    here = os.open(f"/proc/self/fd/{root}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for count, name in enumerate(names, start=1):
            try:
                below = open_beneath(root, "/".join(names[:count]), os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                below = _make_directory(here, name, mode)
            os.close(here)
            here = below
        return os.open(f"/proc/self/fd/{here}", os.O_PATH | os.O_CLOEXEC)
    finally:
        os.close(here)


def _make_directory(parent: int, name: str, mode: int) -> int:
    """Make one directory and open that; a link that was put in its place is refused (ELOOP, EEXIST)."""
    os.mkdir(name, 0o700, dir_fd=parent)
    made = open_beneath(parent, name, _DIRECTORY, symlinks=False)
    try:
        os.fchmod(made, mode)
    except BaseException:
        os.close(made)
        raise
    return made
