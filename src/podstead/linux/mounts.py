"""mount(2) and umount2(2), and what /proc/self/mountinfo says. Blocking: call from a thread where it may take long."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 4096, 16384, 1 << 17, 1 << 18, 1 << 19, 1 << 20
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
_EINVAL, _ENOENT = 22, 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]


def _fail(path: Path | str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), str(path))


def mount(source: str | Path, target: str | Path, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2); raises OSError. `data` is at most a page (4,095 bytes)."""
    arguments = os.fsencode(source), os.fsencode(target), fstype.encode() or None, flags, data.encode() or None
    if _libc.mount(*arguments) != 0:
        _fail(target)


def bind(source: str | Path, target: str | Path, *, readonly: bool = False, recursive: bool = False) -> None:
    """Bind `source` to `target`; raises OSError, and leaves nothing behind if only the read-only step fails."""
    mount(source, target, flags=MS_BIND | (MS_REC if recursive else 0))
    if readonly:
        try:
            mount("none", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)
        except OSError:
            umount(target)
            raise


def umount(target: str | Path, *, lazy: bool = False) -> bool:
    """Unmount without following a link; returns False if nothing was mounted there, raises OSError otherwise."""
    if _libc.umount2(os.fsencode(target), UMOUNT_NOFOLLOW | (MNT_DETACH if lazy else 0)) == 0:
        return True
    if ctypes.get_errno() not in (_EINVAL, _ENOENT):
        _fail(target)
    return False


def make_own_mount(directory: Path) -> None:
    """Make `directory` a shared mount of its own, once: what is mounted below stays out of its parent."""
    directory.mkdir(parents=True, exist_ok=True)
    if not any(entry.target == directory for entry in mount_table()):
        mount(directory, directory, flags=MS_BIND)
        mount("none", directory, flags=MS_PRIVATE)
    mount("none", directory, flags=MS_SHARED)


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of mountinfo(5)."""

    mount_id: int
    target: Path
    fstype: str
    source: str
    options: str


def mount_table(pid: int | str = "self") -> list[MountEntry]:
    """Return the mounts that process `pid` sees, in the kernel's order (later ones lie over earlier ones)."""
    entries = []
    for line in Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        fields, (fstype, source, *_) = left.split(" "), right.split(" ")
        target = Path(_unescape(fields[4]))
        entries.append(MountEntry(int(fields[0]), target, fstype, _unescape(source), fields[5]))
    return entries


def mounts_below(directory: Path) -> list[Path]:
    """Return mount points at or below `directory`, innermost first: the order to unmount in."""
    found = [entry.target for entry in mount_table() if entry.target.is_relative_to(directory)]
    return list(reversed(found))


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
