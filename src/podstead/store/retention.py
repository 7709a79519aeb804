"""How much of the past the embedded store keeps, and the gate that keeps its readers out of a checkpoint's way."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from podstead import clock


@dataclass(frozen=True, slots=True)
class Keep:
    """The bounds of the history, whichever is reached first; what is present is kept always.

    Defaults: a client has minutes to ask for the next page of a list (etcd, as Kubernetes runs it, compacts each five),
    and neither many small writes nor few large ones make the file large meanwhile.
    """

    revisions: int = 10_000
    seconds: float = 300.0
    size: int = 64 << 20
    """Bytes of values written."""


class Retention:
    """Remembers which revision was current when, to tell up to which one history may go now."""

    def __init__(self, keep: Keep, revision: int, size: int) -> None:
        """`revision` and `size` (bytes of values) are those of the history that is there at the start."""
        self._keep = keep
        self._written = size
        self._gone = 0
        self._marks: deque[tuple[float, int, int]] = deque([(clock.monotonic(), revision, size)])
        """(time, revision, bytes written until then), oldest first."""

    def wrote(self, revision: int, size: int) -> None:
        """Take note that `size` bytes were committed, up to `revision`."""
        self._written += size
        now = clock.monotonic()
        moment, _, written = self._marks[-1] if self._marks else (0.0, 0, 0)
        if now - moment > self._keep.seconds / 16 or self._written - written > self._keep.size / 16:
            self._marks.append((now, revision, self._written))

    def until(self, current: int, compacted: int, step: int) -> int:
        """Return the revision up to which history may go; `current` is the latest, `step` the least that is worth it.

        That is at most one step behind the bounds: else every batch would be followed by a compaction of its own.
        """
        now = clock.monotonic()
        marks, keep = self._marks, self._keep
        while marks and (now - marks[0][0] >= keep.seconds or self._written - marks[0][2] > keep.size):
            self._gone = marks.popleft()[1]
        if not marks or now - marks[-1][0] > keep.seconds / 16:
            marks.append((now, current, self._written))
        surplus = current - keep.revisions
        return max(self._gone, surplus if surplus - compacted >= step else 0)


class Gate:
    """Readers pass while it is open. Who shuts it waits until those inside are out, and no other enters meanwhile.

    A checkpoint completes, and so the write-ahead log starts over, only at a moment at which nobody reads from it:
    where readers follow one another without rest, that moment has to be made.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._changed:
            while self._closed:
                self._changed.wait()
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def shut(self) -> Iterator[None]:
        with self._changed:
            self._closed = True
            while self._inside:
                self._changed.wait()
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()
