"""inotify(7) for the loop: changes to files as an awaitable, no thread and no polling."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from dataclasses import dataclass
from pathlib import Path

IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE = 0x2, 0x4, 0x8
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_MOVE_SELF, IN_Q_OVERFLOW, IN_IGNORED = 0x400, 0x800, 0x4000, 0x8000
IN_ONLYDIR = 0x1000000

_HEADER = struct.Struct("iIII")
_BUFFER = 16 << 10

_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_add_watch.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]
_libc.inotify_rm_watch.argtypes = [ctypes.c_int, ctypes.c_int]


def _checked(result: int, path: Path | str = "inotify") -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    return result


@dataclass(frozen=True, slots=True)
class Change:
    """One inotify event. `watch` is what `add` returned (-1 where the queue overflowed), `name` a directory's entry."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One inotify instance; a context manager. One waiter at a time."""

    def __init__(self) -> None:
        """Raises OSError (EMFILE) where the user's limit of instances is reached."""
        self._descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def __enter__(self) -> Inotify:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, path: Path, mask: int) -> int:
        """Watch `path`; returns the watch's number. Raises OSError."""
        return _checked(_libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask), path)

    def remove(self, watch: int) -> None:
        """Stop a watch; one that has gone with its file is not an error."""
        _libc.inotify_rm_watch(self._descriptor, watch)

    async def wait(self) -> list[Change]:
        """Wait for changes and return those that are there, at least one. Cancellation loses none."""
        while True:
            try:
                return _parse(os.read(self._descriptor, _BUFFER))
            except BlockingIOError:
                pass
            loop = asyncio.get_running_loop()
            ready: asyncio.Future[None] = loop.create_future()

            def notify(ready: asyncio.Future[None] = ready) -> None:
                if not ready.done():
                    ready.set_result(None)

            loop.add_reader(self._descriptor, notify)
            try:
                await ready
            finally:
                loop.remove_reader(self._descriptor)

    def close(self) -> None:
        """Let all watches go. A waiter must have been cancelled before."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _parse(data: bytes) -> list[Change]:
    changes, position = [], 0
    while position < len(data):
        watch, mask, _, length = _HEADER.unpack_from(data, position)
        position += _HEADER.size
        name = data[position : position + length].rstrip(b"\0")
        changes.append(Change(watch, mask, os.fsdecode(name)))
        position += length
    return changes
