"""Reads container logs in CRI's format: the last lines, since a time, with timestamps, and as they are written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from podstead.linux.inotify import FileWatcher

BLOCK = 256 << 10
"""Bytes of a log file that are read and rendered at once."""

_TAIL_BLOCK = 64 << 10
_INLINE = 64 << 10


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What of a log is asked for; the names are PodLogOptions'. `since` is aware; `streams` of b"stdout", b"stderr"."""

    follow: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None
    streams: frozenset[bytes] = frozenset((b"stdout", b"stderr"))


class LogFile:
    """One log file, read from where `options` say on. `TIME STREAM TAG CONTENT` is a record, CRI's log format; a
    line is the content of records tagged P (partial) up to one tagged F (full). Blocking; a context manager."""

    def __init__(self, path: Path, options: LogOptions) -> None:
        """Raises FileNotFoundError."""
        self.path = path
        self.options = options
        self._file = path.open("rb", buffering=0)
        self._position = -1
        self._left = options.limit_bytes
        self._thresholds: dict[bytes, bytes] = {}
        self._line_open = dict.fromkeys(options.streams, False)

    def __enter__(self) -> LogFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def exhausted(self) -> bool:
        """Whether the limit of bytes has been reached."""
        return self._left is not None and self._left <= 0

    def size(self) -> int:
        """Bytes of the file that have not been read."""
        return os.fstat(self._file.fileno()).st_size - max(self._position, 0)

    def seek(self) -> None:
        """Find the place to start from; quick however large the file is."""
        wanted = self.options.tail_lines
        self._position = 0 if wanted is None else self._find_tail(wanted)

    def read(self) -> tuple[int, bytes]:
        """Read one block and return how many bytes of the file that were (0 at the end, for now) and its text."""
        block = os.pread(self._file.fileno(), BLOCK, self._position)
        end = block.rfind(b"\n") + 1
        if end == 0:
            if len(block) < BLOCK:
                return 0, b""  # A record that is being written.
            end = len(block)  # No record is that long: not a log, or a damaged one.
        self._position += end
        text = self._render(block[:end])
        if self._left is not None:
            text = text[: self._left]
            self._left -= len(text)
        return end, text

    def _render(self, block: bytes) -> bytes:
        options, parts = self.options, list[bytes]()
        for record in block.split(b"\n"):
            try:
                stamp, stream, tag, content = record.split(b" ", 3)
            except ValueError:
                continue
            if stream not in options.streams or (options.since is not None and self._is_older(stamp, options.since)):
                continue
            if options.timestamps and not self._line_open[stream]:
                parts.append(stamp[:-6] + b"Z " if stamp.endswith((b"+00:00", b"-00:00")) else stamp + b" ")
            parts.append(content)
            full = tag.startswith(b"F")
            if full:
                parts.append(b"\n")
            self._line_open[stream] = not full
        return b"".join(parts)

    def _is_older(self, stamp: bytes, since: datetime) -> bool:
        # Stamps with the same offset from UTC sort as text; the threshold is worked out once for each offset.
        zone = b"Z" if stamp.endswith(b"Z") else stamp[-6:]
        threshold = self._thresholds.get(zone)
        if threshold is None:
            threshold = self._thresholds[zone] = _local(since, zone)
        return stamp[: len(threshold)] < threshold

    def _find_tail(self, wanted: int) -> int:
        """Return where the last `wanted` lines of the streams asked for start, reading backwards."""
        position = os.fstat(self._file.fileno()).st_size
        found, last, rest = 0, True, b""
        while position > 0:
            size = min(_TAIL_BLOCK, position)
            position -= size
            block = os.pread(self._file.fileno(), size, position) + rest
            first = 0 if position == 0 else block.find(b"\n") + 1
            if first == 0 and position > 0:
                rest = block if len(block) < BLOCK else b""
                continue
            end = block.rfind(b"\n") + 1
            while end > first:
                start = block.rfind(b"\n", first, end - 1) + 1 or first
                fields = block[start:end].split(b" ", 3)
                if len(fields) == 4 and fields[1] in self.options.streams:
                    # An open line at the very end counts as one; elsewhere a line is counted at its last record.
                    found += last or fields[2].startswith(b"F")
                    last = False
                    if found > wanted:
                        return position + end
                end = start
            rest = block[:first]
        return 0


def _local(moment: datetime, zone: bytes) -> bytes:
    """Return `moment` as conmon would write it at the offset `zone` (`+01:00`, `Z`), to the microsecond, without it."""
    try:
        offset = datetime.strptime(zone.decode(), "%z").utcoffset() or timedelta()
    except ValueError:
        offset = timedelta()
    return moment.astimezone(timezone(offset)).strftime("%Y-%m-%dT%H:%M:%S.%f").encode()


async def stream_log(
    log: LogFile, ended: Callable[[], Coroutine[Any, Any, None]], watcher: FileWatcher
) -> AsyncGenerator[bytes, None]:
    """Yield the text that `log`'s options ask for, BLOCK bytes at most at a time; close the iterator to stop early.

    With `follow` it goes on until `ended()` returns and all has been read.
    """
    if log.size() > _INLINE:
        await asyncio.to_thread(log.seek)
    else:
        log.seek()
    if not log.options.follow:
        async for text in _rest(log):
            yield text
        return
    waiting = asyncio.create_task(ended(), name=f"end of {log.path}")
    try:
        with watcher.watch(log.path) as changed:
            waiting.add_done_callback(lambda _: changed.set())
            while not log.exhausted:
                changed.clear()
                over = waiting.done()
                async for text in _rest(log):
                    yield text
                if over:
                    break
                await changed.wait()
    finally:
        waiting.cancel()
        await asyncio.wait((waiting,))
    if not waiting.cancelled():
        waiting.result()


async def _rest(log: LogFile) -> AsyncGenerator[bytes, None]:
    while not log.exhausted:
        # What may have to come from a disk is read in a thread; a line that was written just now is in memory.
        count, text = await asyncio.to_thread(log.read) if log.size() > _INLINE else log.read()
        if text:
            yield text
        if count == 0:
            return
