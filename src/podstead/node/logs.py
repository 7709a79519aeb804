"""Reads container logs in CRI's format: the last lines, since a time, with timestamps, and as they are written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

from podstead.linux.inotify import FileWatcher
from podstead.node.runtime.logfiles import rotated, stamp_of, stamp_of_file

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
    """One container's log, with its older files, read from where `options` say on.

    `TIME STREAM TAG CONTENT` is a record, CRI's log format; a line is the content of records tagged P (partial) up to
    one tagged F (full). Blocking; a context manager.
    """

    def __init__(self, path: Path, options: LogOptions) -> None:
        """Raises FileNotFoundError."""
        self.path = path
        self.options = options
        self._file: IO[bytes] = path.open("rb", buffering=0)
        self._position = -1
        self._left = options.limit_bytes
        self._thresholds: dict[bytes, bytes] = {}
        self._line_open = dict.fromkeys(options.streams, False)
        self._sealed = False
        """Nothing will be added to the file that is open: conmon writes to another one."""
        self._stamp = 0
        """When the older file that is open was written to last; 0 for the one that is written to."""
        self._older = rotated(path)

    def __enter__(self) -> LogFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def exhausted(self) -> bool:
        """Whether the limit of bytes has been reached."""
        return self._left is not None and self._left <= 0

    @property
    def is_large(self) -> bool:
        """Whether reading on may take its time: many bytes, or an older file, which may be a compressed one."""
        unread = os.fstat(self._file.fileno()).st_size - max(self._position, 0)
        return self._sealed or unread > _INLINE or (self._position < 0 and bool(self._older))

    def seek(self) -> None:
        """Find the place to start from; quick however large the files are."""
        older, options = self._older, self.options
        if options.since is not None:
            since = int(options.since.timestamp()) * 10**9
            older = [segment for segment in older if stamp_of(self.path, segment) >= since]
        if options.tail_lines is None:
            for segment in older:
                if self._open(segment):
                    break
            self._position = 0
            return
        tail = _Tail(options.tail_lines, options.streams)
        position = tail.find(self._file.fileno())
        while position is None and older and self._open(older.pop()):
            position = tail.find(self._file.fileno())
        self._position = position or 0

    def read(self) -> tuple[int, bytes]:
        """Read one block and return how many bytes of the file that were (0 at the end, for now) and its text."""
        count, text = self._read()
        while count == 0 and self._advance():
            count, text = self._read()
        return count, text

    def _read(self) -> tuple[int, bytes]:
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

    def _advance(self) -> bool:
        """Go on to the next file, if conmon has begun one; returns whether there may be more to read now."""
        here = os.fstat(self._file.fileno())
        if not self._sealed:
            try:
                self._sealed = self.path.stat().st_ino != here.st_ino
            except FileNotFoundError:
                return False
            return self._sealed  # Once more, for what was written to it last.
        older = rotated(self.path)
        stamp = self._stamp or stamp_of_file(self.path, here, older)
        if any(stamp_of(self.path, segment) > stamp and self._open(segment) for segment in older):
            return True
        return self._open(self.path)

    def _open(self, segment: Path) -> bool:
        """Open a file of the log in place of the one that is open; returns False where it is gone."""
        packed = segment if segment.suffix == ".gz" else segment.with_name(f"{segment.name}.gz")
        try:
            fresh: IO[bytes] = _unpacked(segment) if segment == packed else segment.open("rb", buffering=0)
        except FileNotFoundError:
            try:
                fresh = _unpacked(packed)
            except FileNotFoundError:
                return False
        self._file.close()
        self._file, self._position, self._sealed = fresh, 0, segment != self.path
        self._stamp = stamp_of(self.path, segment) if self._sealed else 0
        return True

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


class _Tail:
    """Looks for where the last `wanted` lines of `streams` start, from the end of the newest file backwards."""

    def __init__(self, wanted: int, streams: frozenset[bytes]) -> None:
        self._wanted = wanted
        self._streams = streams
        self._found = 0
        self._last = True

    def find(self, descriptor: int) -> int | None:
        """Return where in this file they start, None where that is in an older one. Files the newest first."""
        position, rest = os.fstat(descriptor).st_size, b""
        while position > 0:
            size = min(_TAIL_BLOCK, position)
            position -= size
            block = os.pread(descriptor, size, position) + rest
            first = 0 if position == 0 else block.find(b"\n") + 1
            if first == 0 and position > 0:
                rest = block if len(block) < BLOCK else b""
                continue
            end = block.rfind(b"\n") + 1
            while end > first:
                start = block.rfind(b"\n", first, end - 1) + 1 or first
                if self._is_enough(block[start:end]):
                    return position + end
                end = start
            rest = block[:first]
        return None

    def _is_enough(self, record: bytes) -> bool:
        """Count a record; returns whether it is the end of a line that is not wanted any more."""
        fields = record.split(b" ", 3)
        if len(fields) == 4 and fields[1] in self._streams:
            # An open line at the very end counts as one; elsewhere a line is counted at its last record.
            self._found += self._last or fields[2].startswith(b"F")
            self._last = False
        return self._found > self._wanted


def _unpacked(segment: Path) -> IO[bytes]:
    """Return a compressed file's content, on the disk that the log is on, under no name."""
    import gzip
    import shutil
    import tempfile

    times = segment.stat()
    with gzip.open(segment, "rb") as packed:
        content = tempfile.TemporaryFile(dir=segment.parent, buffering=0)  # noqa: SIM115
        try:
            shutil.copyfileobj(packed, content, BLOCK)
            os.utime(content.fileno(), ns=(times.st_atime_ns, times.st_mtime_ns))
        except BaseException:
            content.close()
            raise
    return content


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
    if log.is_large:
        await asyncio.to_thread(log.seek)
    else:
        log.seek()
    if not log.options.follow:
        async for text in _rest(log):
            yield text
        return
    waiting = asyncio.create_task(ended(), name=f"end of {log.path}")
    changed = asyncio.Event()
    waiting.add_done_callback(lambda _: changed.set())
    try:
        while not log.exhausted:
            # Watched anew each time: it may be another file that conmon writes to.
            with watcher.watch(log.path) as changed:
                over = waiting.done()
                async for text in _rest(log):
                    yield text
                if over or log.exhausted:
                    break
                await changed.wait()
    except FileNotFoundError:
        pass  # The pod has been removed meanwhile, with its logs.
    finally:
        waiting.cancel()
        await asyncio.wait((waiting,))
    if not waiting.cancelled():
        waiting.result()


async def _rest(log: LogFile) -> AsyncGenerator[bytes, None]:
    while not log.exhausted:
        # What may have to come from a disk is read in a thread; a line that was written just now is in memory.
        count, text = await asyncio.to_thread(log.read) if log.is_large else log.read()
        if text:
            yield text
        if count == 0:
            return
