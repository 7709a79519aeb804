"""inotify(7) for the loop: changes to files as events, no thread and no polling."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
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
    """One inotify instance. A user has 128 of them (fs.inotify.max_user_instances): share where many may ask."""

    def __init__(self) -> None:
        """Raises OSError (EMFILE) where the user's limit of instances is reached."""
        self._descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        """The descriptor; readable when there are changes."""
        return self._descriptor

    def add(self, path: Path, mask: int) -> int:
        """Watch `path`; returns the watch's number, the same one for the same file. Raises OSError."""
        return _checked(_libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask), path)

    def remove(self, watch: int) -> None:
        """Stop a watch; one that has gone with its file is not an error."""
        _libc.inotify_rm_watch(self._descriptor, watch)

    def read(self) -> list[Change]:
        """Return the changes that are there; does not wait."""
        try:
            return _parse(os.read(self._descriptor, _BUFFER))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Let all watches go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class FileWatcher:
    """Tells any number of waiters on one loop that files have been written to, over one inotify instance."""

    def __init__(self) -> None:
        self._inotify: Inotify | None = None
        self._events: dict[int, set[asyncio.Event]] = {}

    @contextmanager
    def watch(self, path: Path) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever the file at `path` has been written to or replaced; raises OSError."""
        inotify = self._open()
        number = inotify.add(path, IN_MODIFY | IN_ATTRIB)
        event = asyncio.Event()
        self._events.setdefault(number, set()).add(event)
        try:
            yield event
        finally:
            self._events[number].discard(event)
            if not self._events[number]:
                del self._events[number]
                inotify.remove(number)

    def _open(self) -> Inotify:
        if self._inotify is None:
            self._inotify = Inotify()
            asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._changed)
        return self._inotify

    def _changed(self) -> None:
        if self._inotify is None:
            return
        for change in self._inotify.read():
            if change.mask & IN_Q_OVERFLOW:
                events = {event for events in self._events.values() for event in events}
            else:
                events = self._events.get(change.watch, set())
            for event in events:
                event.set()

    def close(self) -> None:
        """Stop; no watch may be open any more."""
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None


def _parse(data: bytes) -> list[Change]:
    changes, position = [], 0
    while position < len(data):
        watch, mask, _, length = _HEADER.unpack_from(data, position)
        position += _HEADER.size
        name = data[position : position + length].rstrip(b"\0")
        changes.append(Change(watch, mask, os.fsdecode(name)))
        position += length
    return changes
