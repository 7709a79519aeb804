"""mount(2) and umount2(2), and what /proc/self/mountinfo says. Blocking: call from a thread where it may take long."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 4096, 16384, 1 << 17, 1 << 18, 1 << 19, 1 << 20
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
_EINVAL, _ENOENT, _ENOSYS = 22, 2, 38
_SYS_MOVE_MOUNT, _SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 429, 430, 431, 432
_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 1, 1, 1, 6
_FSCONFIG_SET_FLAG = 0
_SYS_MOUNT_SETATTR = 442
_MOVE_MOUNT_F_EMPTY_PATH, _AT_FDCWD = 4, -100

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


@functools.cache
def recursive_readonly_possible() -> bool:
    """Whether the kernel can make a tree of mounts read-only (mount_setattr(2), Linux 5.12)."""
    result: int = _libc.syscall(ctypes.c_long(_SYS_MOUNT_SETATTR), -1, None, 0, None, ctypes.c_size_t(0))
    return result == 0 or ctypes.get_errno() != _ENOSYS


def make_own_mount(directory: Path) -> None:
    """Make `directory` a shared mount of its own, once: what is mounted below stays out of its parent."""
    directory.mkdir(parents=True, exist_ok=True)
    table = mount_table()
    own = next((entry for entry in reversed(table) if entry.target == directory), None)
    if own is None:
        mount(directory, directory, flags=MS_BIND)
    # A bind of a shared mount joins its peer group: leave that. A group of its own is kept, for containers are in it.
    if own is None or any(entry.peer_group == own.peer_group and entry is not own for entry in table):
        mount("none", directory, flags=MS_PRIVATE)
    mount("none", directory, flags=MS_SHARED)


def mount_tmpfs(target: Path, *, size: int = 0, mode: int = 0o777, group: int = 0, swap: bool = True) -> None:
    """Mount an empty tmpfs of `size` bytes (0: the kernel's default, half of the memory), its root of `mode`, `group`.

    Without `swap` its pages stay in memory, where the kernel can promise that (tmpfs(5) noswap, Linux 6.4).

    It appears at `target` finished (fsopen(2) to move_mount(2), Linux 5.2), so that a crash leaves all of it or
    nothing, and `mount` shows no mode option. Raises OSError.
    """
    context = _descriptor(_SYS_FSOPEN, b"tmpfs", _FSOPEN_CLOEXEC)
    try:
        _set(context, b"source", b"tmpfs")
        if size:
            _set(context, b"size", str(size).encode())
        if not swap:
            with contextlib.suppress(OSError):
                _descriptor(_SYS_FSCONFIG, context, _FSCONFIG_SET_FLAG, b"noswap", None, 0)
        _descriptor(_SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        tree = _descriptor(_SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0)
    finally:
        os.close(context)
    try:
        root = Path(f"/proc/self/fd/{tree}")
        if group:
            os.chown(root, -1, group)
        root.chmod(mode)
        _descriptor(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(tree)


def _descriptor(number: int, *arguments: int | bytes | None) -> int:
    wide = (ctypes.c_long(one) if isinstance(one, int) else one for one in arguments)
    result: int = _libc.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _set(context: int, key: bytes, value: bytes) -> None:
    _descriptor(_SYS_FSCONFIG, context, _FSCONFIG_SET_STRING, key, value, 0)


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of mountinfo(5). `device` is major:minor, `root` the directory of its file system that is mounted;
    `peer_group` is 0 for a mount that is not shared; `slave`: it receives what is mounted elsewhere."""

    mount_id: int
    target: Path
    fstype: str
    source: str
    options: str
    device: str = ""
    root: str = "/"
    peer_group: int = 0
    slave: bool = False


def mount_table(pid: int | str = "self") -> list[MountEntry]:
    """Return the mounts that process `pid` sees, in the kernel's order (later ones lie over earlier ones)."""
    return [_parse(line) for line in _lines(pid)]


def mounts_below(directory: Path) -> list[Path]:
    """Return mount points at or below `directory`, innermost first: the order to unmount in."""
    exact, prefix = str(directory), str(directory).rstrip("/") + "/"
    targets = (_unescape(line.split(" ", 5)[4]) for line in _lines("self"))
    found = [Path(target) for target in targets if target == exact or target.startswith(prefix)]
    found.reverse()
    return sorted(found, key=lambda target: -len(target.parts))


def processes_mounting(directory: Path) -> list[int]:
    """Return one process of each other mount namespace in which `directory`, or something in it, is mounted.

    Finds bind mounts (a container's volume) by file system and path within it, wherever they are mounted. Blocking:
    reads one mountinfo a mount namespace, some milliseconds where there are many.
    """
    prefix = str(directory).rstrip("/") + "/"
    holders = [entry for entry in mount_table() if prefix.startswith(str(entry.target).rstrip("/") + "/")]
    if not holders:
        return []
    holder = max(reversed(holders), key=lambda entry: len(entry.target.parts))
    inner = str(directory.relative_to(holder.target))
    wanted = holder.root.rstrip("/") + ("" if inner == "." else "/" + inner)
    return [pid for pid in _other_namespaces() if _mounts_root(pid, holder.device, wanted)]


def _mounts_root(pid: int, device: str, wanted: str) -> bool:
    try:
        lines = _lines(pid)
    except OSError:
        return False
    for line in lines:
        fields = line.split(" ", 4)
        if fields[2] == device:
            root = _unescape(fields[3])
            if root == wanted or root.startswith(wanted.rstrip("/") + "/"):
                return True
    return False


def _other_namespaces() -> list[int]:
    """Return the first process of every mount namespace but this one's."""
    seen = {Path("/proc/self/ns/mnt").readlink()}
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                namespace = (process / "ns/mnt").readlink()
            except OSError:
                continue
            if namespace not in seen:
                seen.add(namespace)
                found.append(int(process.name))
    return found


def _lines(pid: int | str) -> list[str]:
    return Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape").splitlines()


def _parse(line: str) -> MountEntry:
    left, _, right = line.partition(" - ")
    fields, (fstype, source, *_) = left.split(" "), right.split(" ")
    shared = next((int(field[7:]) for field in fields[6:] if field.startswith("shared:")), 0)
    slave = any(field.startswith("master:") for field in fields[6:])
    target, root = Path(_unescape(fields[4])), _unescape(fields[3])
    return MountEntry(int(fields[0]), target, fstype, _unescape(source), fields[5], fields[2], root, shared, slave)


def _unescape(text: str) -> str:
    """Undo the kernel's octal escapes (blanks, newline, backslash and #)."""
    if "\\" not in text:
        return text
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
