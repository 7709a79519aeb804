"""The size of a command's terminal, set on the pty itself: crun passes SIGWINCH on, but never the new size."""

from __future__ import annotations

import ctypes
import fcntl
import os
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SYS_PIDFD_GETFD = 438  # the same on every architecture but Alpha
_PTMX = os.makedev(5, 2)

_libc = ctypes.CDLL(None, use_errno=True)


def fit(pid: int) -> bool:
    """Give the pty that process `pid` has made for another the size of its own terminal (its stdin).

    The kernel then tells the foreground processes (SIGWINCH). Returns False where it has not made one yet, or has
    ended.
    """
    try:
        with _process(pid) as process:
            master = next(_masters(pid))
            with _taken(process, 0) as own, _taken(process, master) as other:
                size = fcntl.ioctl(own, termios.TIOCGWINSZ, b"\0" * 8)
                fcntl.ioctl(other, termios.TIOCSWINSZ, size)
    except (OSError, StopIteration):
        return False
    return True


def _masters(pid: int) -> Iterator[int]:
    for entry in os.scandir(f"/proc/{pid}/fd"):
        if Path(entry.path).stat().st_rdev == _PTMX:
            yield int(entry.name)


@contextmanager
def _process(pid: int) -> Iterator[int]:
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _taken(process: int, number: int) -> Iterator[int]:
    """Give a duplicate of descriptor `number` of a process (pidfd_getfd(2), Linux 5.6)."""
    taken: int = _libc.syscall(ctypes.c_long(_SYS_PIDFD_GETFD), *map(ctypes.c_int, (process, number)), ctypes.c_uint(0))
    if taken < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), "pidfd_getfd")
    try:
        yield taken
    finally:
        os.close(taken)
