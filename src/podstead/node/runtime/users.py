"""Who a container's process is: USER of the image or the pod's ids, looked up in the root file system itself.

/etc/passwd and /etc/group are the image's and thus hostile: they are opened with the container's root as root
(openat2(2), RESOLVE_IN_ROOT), must be regular files and are read up to 1 MiB.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from podstead.node.runtime.base import CreateFailed, Security

_SYS_OPENAT2 = 437  # the same on every architecture but Alpha
_RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x02, 0x10
_LIMIT = 1 << 20
_MAX_ID = 2**31 - 1

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@dataclass(frozen=True, slots=True)
class ProcessUser:
    """The ids of a container's process; `home` is `/` where the passwd file does not know the user."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True, slots=True)
class _Account:
    name: str
    uid: int
    gid: int
    home: str


def open_in_root(root: Path, path: str) -> int:
    """Open `path` for reading as a process with `root` as its root directory would; raises OSError."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    # Non-blocking: a FIFO in the image must not hold up the server.
    how = _OpenHow(os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    try:
        descriptor: int = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(directory),
            ctypes.c_char_p(os.fsencode(path)),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(directory)
    return descriptor


def resolve(root: Path, user: str, security: Security) -> ProcessUser:
    """Return the ids for a container with root file system `root` and image USER `user` (name|uid[:group|gid]).

    run_as_user and run_as_group go before `user`; a user's groups in the image's /etc/group are added to
    supplemental_groups if `groups_of_image`. Raises CreateFailed for a name that is not there.
    """
    wanted, _, wanted_group = user.partition(":")
    if security.run_as_user is not None:
        wanted, wanted_group = str(security.run_as_user), ""
    account = _find_account(root, wanted or "0")
    if security.run_as_group is not None:
        gid = security.run_as_group
    else:
        gid = _find_group(root, wanted_group) if wanted_group else account.gid
    groups = set(security.supplemental_groups)
    if account.name and not wanted_group and security.groups_of_image:
        groups.update(_memberships(root, account.name))
    return ProcessUser(account.uid, gid, tuple(sorted(groups)), account.home or "/")


def _find_account(root: Path, wanted: str) -> _Account:
    by_uid: _Account | None = None
    for fields in _lines(root, "/etc/passwd", 6):
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is None or gid is None:
            continue
        account = _Account(fields[0], uid, gid, fields[5])
        if account.name == wanted:
            return account
        if by_uid is None and str(uid) == wanted:
            by_uid = account
    if by_uid is not None:
        return by_uid
    uid = _number(wanted)
    if uid is None:
        raise CreateFailed(f"unable to find user {wanted}: no matching entries in passwd file", "CreateContainerError")
    return _Account("", uid, 0, "/root" if uid == 0 else "/")


def _find_group(root: Path, wanted: str) -> int:
    for fields in _lines(root, "/etc/group", 3):
        gid = _number(fields[2])
        if gid is not None and fields[0] == wanted:
            return gid
    gid = _number(wanted)
    if gid is None:
        raise CreateFailed(f"unable to find group {wanted}: no matching entries in group file", "CreateContainerError")
    return gid


def _memberships(root: Path, name: str) -> Iterator[int]:
    for fields in _lines(root, "/etc/group", 4):
        gid = _number(fields[2])
        if gid is not None and name in fields[3].split(","):
            yield gid


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text) <= _MAX_ID else None


def _lines(root: Path, path: str, fields: int) -> Iterator[list[str]]:
    """Yield the colon-separated lines of at least `fields` fields; nothing where there is no such regular file."""
    try:
        descriptor = open_in_root(root, path)
    except OSError:
        return
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return
        text = file.read(_LIMIT).decode(errors="replace")
    for line in text.splitlines():
        parts = line.strip().split(":")
        if len(parts) >= fields and not line.startswith("#"):
            yield parts
