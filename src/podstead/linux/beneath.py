"""Opens what lies in a directory, whatever its owner does to names and links meanwhile: openat2(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08
_TRIES = 10_000
"""The kernel asks to try again (EAGAIN) where something was renamed while it followed a `..`."""

_libc = ctypes.CDLL(None, use_errno=True)


def open_beneath(directory: int, path: str | bytes, flags: int, *, symlinks: bool = True) -> int:
    """Open `path` below the directory of which `directory` is a descriptor; returns a new one (close-on-exec).

    A symlink is followed only as far as it leads to something below too, an absolute one never; without `symlinks` none
    is. Raises OSError: EXDEV where the path leads out, ELOOP for a symlink that may not be followed.
    """
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS | (0 if symlinks else _RESOLVE_NO_SYMLINKS)
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, resolve)
    name = os.fsencode(path)
    for _ in range(_TRIES):
        found: int = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2), directory, name, how, ctypes.c_size_t(len(how)), ctypes.c_long(0)
        )
        if found >= 0:
            return found
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            raise OSError(number, os.strerror(number), os.fsdecode(path))
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), os.fsdecode(path))
