"""The files of a container's log: one that is written to, and a bounded number of older ones beside it.

conmon begins a new file when the log has reached its size, in place of the old one. So each file has a second name
from its first moment: when conmon has moved a new one there, which inotify tells, the second name is what keeps the
old one. No file is ever larger than its limit, whatever the container writes and whether a server lives or not, and
nothing is to be done while a log grows. Names and numbers are the kubelet's (containerLogMaxSize, containerLogMaxFiles:
https://kubernetes.io/docs/concepts/cluster-administration/logging/#log-rotation): LOG.TIME, compressed LOG.TIME.gz.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from podstead.linux.inotify import IN_MOVED_TO, IN_ONLYDIR, IN_Q_OVERFLOW, Inotify

log = logging.getLogger(__name__)

_FORMAT = "%Y%m%d-%H%M%S.%f"
_MICROSECOND = 1000
"""In nanoseconds."""


@dataclass(frozen=True, slots=True)
class LogLimits:
    """`size`: bytes of one file; `files`: how many a log has, the one that is written to with them; at least 2.

    `rest`: seconds after which an older file is compressed: most files of a burst are gone again by then.
    """

    size: int = 10 << 20
    files: int = 5
    rest: float = 10.0


DEFAULT_LIMITS = LogLimits()


def rotated(path: Path) -> list[Path]:
    """Return the older files of the log at `path`, the oldest first; without the one that is written to."""
    found: dict[str, Path] = {}
    prefix = f"{path.name}."
    try:
        entries = sorted(entry.name for entry in os.scandir(path.parent))
    except FileNotFoundError:
        return []
    for name in entries:
        stamp = name.removeprefix(prefix).removesuffix(".gz")
        if name.startswith(prefix) and _nanoseconds(stamp) is not None:
            found.setdefault(stamp, path.with_name(name))  # Both are there for a moment: the plain one sorts first.
    return list(found.values())


def stamp_of(path: Path, segment: Path) -> int:
    """Return when an older file of the log at `path` was written to last, in nanoseconds since 1970."""
    stamp = segment.name.removeprefix(f"{path.name}.").removesuffix(".gz")
    return _nanoseconds(stamp) or 0


def stamp_of_file(path: Path, file: os.stat_result, older: Iterable[Path]) -> int:
    """Return the stamp, in nanoseconds, of a file that was the log at `path` a while ago: its name's, if it has one.

    One that is about to get its name is the newest: all that have one come before it.
    """
    for segment in (_second_name(path), *older):
        try:
            if segment.stat().st_ino == file.st_ino:
                return stamp_of(path, segment) or max((stamp_of(path, one) for one in older), default=0)
        except FileNotFoundError:
            continue
    return file.st_mtime_ns // _MICROSECOND * _MICROSECOND


def remove(path: Path) -> None:
    """Remove the log at `path` with all its files; raises OSError."""
    for file in (*rotated(path), _second_name(path), path):
        file.unlink(missing_ok=True)


def _nanoseconds(stamp: str) -> int | None:
    try:
        moment = datetime.strptime(stamp, _FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) * 10**9 + moment.microsecond * _MICROSECOND


def _stamp(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // _MICROSECOND).strftime(_FORMAT)


def _second_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.kept")


class LogKeeper:
    """Keeps the older files of logs that conmon writes to. Used in one loop; `close` it."""

    def __init__(self, limits: LogLimits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._inotify: Inotify | None = None
        self._watched: dict[int, dict[str, Path]] = {}
        self._grown: set[Path] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._compressing: asyncio.Task[None] | None = None

    def hold(self, path: Path) -> None:
        """Keep the files of the log at `path`, which exists, from now on; what happened to it before is made up for.

        A log that cannot be held (a file system without hard links, no inotify watch left) loses what is older than
        its newest file.
        """
        try:
            inotify = self._open()
            number = inotify.add(path.parent, IN_MOVED_TO | IN_ONLYDIR)
            self._watched.setdefault(number, {})[path.name] = path
            self._look(path)
        except OSError as error:
            log.warning("older parts of the log %s will not be kept: %s", path, error.strerror)

    def release(self, path: Path) -> None:
        """Nothing is written to the log at `path` any more."""
        with contextlib.suppress(OSError):
            self._look(path, last=True)
        for number, names in list(self._watched.items()):
            if names.get(path.name) == path:
                del names[path.name]
                if not names and self._inotify is not None:
                    self._inotify.remove(number)
                    del self._watched[number]

    async def close(self) -> None:
        """Hold nothing any more; what conmon does until the next `hold` costs the parts in between."""
        if self._timer is not None:
            self._timer.cancel()
        if self._compressing is not None:
            await asyncio.wait({self._compressing})
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None
        self._watched.clear()

    def _open(self) -> Inotify:
        if self._inotify is None:
            self._inotify = Inotify()
            asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._changed)
        return self._inotify

    def _changed(self) -> None:
        assert self._inotify is not None
        for change in self._inotify.read():
            paths: Iterable[Path]
            if change.mask & IN_Q_OVERFLOW:
                paths = [path for names in self._watched.values() for path in names.values()]
            else:
                path = self._watched.get(change.watch, {}).get(change.name)
                paths = (path,) if path is not None else ()
            for path in paths:
                try:
                    self._look(path)
                except FileNotFoundError:
                    continue  # The pod is being removed.
                except OSError as error:
                    log.warning("a part of the log %s is lost: %s", path, error.strerror)

    def _look(self, path: Path, *, last: bool = False) -> None:
        """Give the file that conmon has left, if it has, its name for good, and the new one its second name."""
        kept = _second_name(path)
        try:
            old = kept.stat()
        except FileNotFoundError:
            old = None
        if old is not None and old.st_ino == path.stat().st_ino:
            if last:
                kept.unlink()
            return
        before = rotated(path)
        if old is not None:
            newest = stamp_of(path, before[-1]) if before else 0
            # The kernel's clock for files ticks in milliseconds; names must be in order all the same.
            stamp = max(old.st_mtime_ns, newest + _MICROSECOND)
            kept.rename(path.with_name(f"{path.name}.{_stamp(stamp)}"))
            for superfluous in before[: max(len(before) + 2 - self.limits.files, 0)]:
                superfluous.unlink(missing_ok=True)
        if not last:
            os.link(path, kept)
        if old is not None or before:
            self._compress_later(path)

    # -- compression

    def _compress_later(self, path: Path) -> None:
        self._grown.add(path)
        if self._timer is None and self._compressing is None:
            self._timer = asyncio.get_running_loop().call_later(self.limits.rest, self._compress)

    def _compress(self) -> None:
        self._timer = None
        paths, self._grown = self._grown, set()
        self._compressing = asyncio.create_task(asyncio.to_thread(_compress_all, paths), name="old logs")
        self._compressing.add_done_callback(self._compressed)

    def _compressed(self, _: asyncio.Task[None]) -> None:
        self._compressing = None
        for path in list(self._grown)[:1]:
            self._compress_later(path)


def _compress_all(paths: Iterable[Path]) -> None:
    for path in paths:
        # The newest is what is read most, and may still be read by who followed it: as the kubelet, leave it plain.
        for segment in rotated(path)[:-1]:
            if segment.suffix == ".gz":
                continue
            try:
                _compress_one(segment)
            except FileNotFoundError:
                continue  # It was the oldest.
            except OSError as error:
                log.warning("the log %s stays uncompressed: %s", segment, error.strerror)


def _compress_one(segment: Path) -> None:
    import gzip

    times = segment.stat()
    target = segment.with_name(f"{segment.name}.gz")
    fresh = segment.with_name(f".{segment.name}.gz.new")
    try:
        with segment.open("rb") as source, gzip.open(fresh, "wb", compresslevel=6) as packed:
            shutil.copyfileobj(source, packed, 256 << 10)
        fresh.chmod(times.st_mode & 0o777)
        os.utime(fresh, ns=(times.st_atime_ns, times.st_mtime_ns))
        if segment.exists():
            fresh.replace(target)
            segment.unlink(missing_ok=True)
    finally:
        fresh.unlink(missing_ok=True)
