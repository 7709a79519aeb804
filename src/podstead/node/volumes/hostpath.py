"""hostPath: a file or directory of the node itself.

    holds it      the node's own file system; podstead makes what the type says is to be made, and removes nothing
    lives         as long as the node keeps it, whatever becomes of the pod
    loses it      whoever removes it on the node
    waits         where what is there is not of the type that the pod wants, or belongs to podstead itself

Source: Kubernetes documentation, "hostPath volume types".
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from podstead.node.volumes.base import VolumeError
from podstead.objects.pod import Pod
from podstead.objects.volumes import Volume

_DIRECTORY_MODE, _FILE_MODE = 0o755, 0o644
_KINDS: dict[str, tuple[Callable[[int], bool], str]] = {
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "Directory": (stat.S_ISDIR, "a directory"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
    "File": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


class HostPathPlugin:
    """`refused` are directories that no pod gets, nor anything in them: podstead's own."""

    kind = "hostPath"
    directory = "host-path"

    def __init__(self, refused: Sequence[Path]) -> None:
        self._refused = tuple(refused)

    def serves(self, volume: Volume) -> bool:
        return volume.host_path is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        """Return where the node has it, links resolved. Nothing is made at `path`. Raises VolumeError."""
        assert volume.host_path is not None
        source = volume.host_path
        return await asyncio.to_thread(self._find, Path(source.path), source.type)

    async def tear_down(self, path: Path) -> None:
        """Nothing was made for the pod alone."""

    def _find(self, path: Path, kind: str) -> Path:
        found = Path(os.path.realpath(path))
        self._check_foreign(path, found)
        try:
            _make(found, kind)
            found = Path(os.path.realpath(path))
            mode = found.stat().st_mode
        except OSError as error:
            if isinstance(error, FileNotFoundError) and kind in _KINDS and not kind.endswith("OrCreate"):
                raise _mismatch(path, kind) from error
            raise VolumeError(f"cannot use hostPath {path}: {error.strerror}") from error
        self._check_foreign(path, found)
        if kind in _KINDS and not _KINDS[kind][0](mode):
            raise _mismatch(path, kind)
        return found

    def _check_foreign(self, path: Path, found: Path) -> None:
        """Raise VolumeError where `found` is podstead's own, also by way of a bind mount of it."""
        own = [_identity(directory) for directory in self._refused]
        for above in (found, *found.parents):
            if above in self._refused or ((identity := _identity(above)) is not None and identity in own):
                raise VolumeError(f"hostPath {path} is refused: podstead keeps its own data there")


def _mismatch(path: Path, kind: str) -> VolumeError:
    return VolumeError(f"hostPath type check failed: {path} is not {_KINDS[kind][1]}")


def _make(path: Path, kind: str) -> None:
    """Make what is not there, where the type allows it. Without a type container runtimes make a directory."""
    if os.path.lexists(path):
        return
    if kind in ("", "DirectoryOrCreate"):
        missing = [one for one in (path, *path.parents) if not one.exists()]
        for directory in reversed(missing):
            directory.mkdir(exist_ok=True)
            directory.chmod(_DIRECTORY_MODE)
    elif kind == "FileOrCreate":
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
        try:
            os.fchmod(descriptor, _FILE_MODE)
        finally:
            os.close(descriptor)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
