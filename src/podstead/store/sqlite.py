"""The embedded store: one SQLite file in WAL mode, one writer thread with group commit, one reader thread.

One table holds every write that is still kept: (revision, key, value or NULL for a removal, previous revision of the
key). The present is each key's last row; compaction removes rows that a kept row has superseded.

One process at a time: the caller holds the instance's lock file.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from podstead.store.base import Commit, Compacted, KeyValue, Page, StoreError, Subscriber
from podstead.store.retention import Keep
from podstead.store.writer import Write, Writer, settle

log = logging.getLogger(__name__)

_VISIBLE = """
FROM history AS h
WHERE key >= :low AND key < :high AND key > :after AND revision <= :revision AND value IS NOT NULL
  AND NOT EXISTS (
    SELECT 1 FROM history AS n WHERE n.key = h.key AND n.revision > h.revision AND n.revision <= :revision
  )
"""

# All rows in one: sqlite3 gives the interpreter's lock up at each row, and while the loop is busy it takes
# milliseconds to get it back.
_ROWS = f"""
SELECT json_group_array(key), json_group_array(revision), json_group_array(length(value)),
  CAST(group_concat(CAST(value AS TEXT), '') AS BLOB)
FROM (SELECT key, value, revision {_VISIBLE} ORDER BY key LIMIT :limit)
"""
_STEP = 500
"""Rows read so at once; what SQLite can hold in one value is limited."""

_KEEP = Keep()

T = TypeVar("T")


class SQLiteStore:
    """`store.base.Store` in one file at `path`; its directory must exist. Survives SIGKILL at any point."""

    def __init__(
        self,
        path: Path,
        *,
        keep_revisions: int = _KEEP.revisions,
        keep_seconds: float = _KEEP.seconds,
        keep_bytes: int = _KEEP.size,
    ) -> None:
        self._path = path
        self._subscribers: list[Subscriber] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: Writer | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._reader: sqlite3.Connection | None = None
        self._revision = 0
        self._closing = False
        self._keep = Keep(keep_revisions, keep_seconds, keep_bytes)
        self._counts = _Counts()

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def failed(self) -> bool:
        return self._writer is not None and self._writer.failed

    @property
    def compacted(self) -> int:
        return self._writer.compacted if self._writer else 0

    async def open(self) -> None:
        """Open or create the file; a store that is open stays so. Raises StoreError."""
        if self._writer is not None:
            return
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[int] = self._loop.create_future()
        self._writer = Writer(self._path, self._keep, self._loop, opened, self._apply)
        self._writer.thread.start()
        try:
            self._revision = await opened
        except BaseException:
            await asyncio.shield(asyncio.to_thread(self._stop_writer))
            self._writer = None
            raise
        self._readers = ThreadPoolExecutor(1, "store-reader")
        self._closing = False

    async def close(self) -> None:
        if self._writer is None or self._closing:
            return
        self._closing = True
        # What was accepted is committed first; its answers are callbacks already on the loop when join returns.
        await asyncio.to_thread(self._stop_writer)
        await asyncio.sleep(0)
        readers, self._readers = self._readers, None
        if readers is not None:
            await asyncio.to_thread(readers.shutdown)
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._writer = None

    def _stop_writer(self) -> None:
        assert self._writer is not None
        self._writer.queue.put(None)
        self._writer.thread.join()

    def subscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.append(subscriber)

    # -- writes

    async def create(self, key: str, value: bytes) -> int:
        return await self._write(key, value, None)

    async def update(self, key: str, value: bytes, expected: int) -> int:
        return await self._write(key, value, expected)

    async def delete(self, key: str, expected: int) -> int:
        return await self._write(key, None, expected)

    def _write(self, key: str, value: bytes | None, expected: int | None) -> asyncio.Future[int]:
        if self._writer is None or self._closing or self._loop is None:
            raise StoreError("the store is closed")
        answer: asyncio.Future[int] = self._loop.create_future()
        self._writer.queue.put(Write(key, value, expected, answer))
        if self._writer.failed:
            # It may have drained its queue just before this write came in.
            settle(answer, StoreError("the store has failed"))
        return answer

    def _apply(self, commits: Sequence[Commit], writes: Sequence[Write]) -> None:
        """On the loop: subscribers first, then the writers."""
        if commits:
            self._revision = commits[-1].revision
            for subscriber in self._subscribers:
                try:
                    subscriber(commits)
                except Exception:
                    log.exception("a subscriber of the store failed")
        for write in writes:
            settle(write.answer, write.outcome)

    # -- reads

    async def get(self, key: str) -> KeyValue | None:
        def read(connection: sqlite3.Connection) -> KeyValue | None:
            query = "SELECT value, revision FROM history WHERE key = ? ORDER BY revision DESC LIMIT 1"
            row = connection.execute(query, (key,)).fetchone()
            return KeyValue(key, row[0], row[1]) if row and row[0] is not None else None

        return await self._read(read)

    async def list(self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0) -> Page:
        def read(connection: sqlite3.Connection) -> Page:
            # One read transaction, so that rows, revision and compaction belong together.
            connection.execute("BEGIN")
            try:
                return _page(connection, self._counts, prefix, after, limit, revision)
            finally:
                connection.execute("ROLLBACK")

        return await self._read(read)

    async def _read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if self._readers is None or self._closing or self._loop is None:
            raise StoreError("the store is closed")

        def run() -> T:
            if self._reader is None:
                self._reader = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
                self._reader.execute("PRAGMA query_only=ON")
            assert self._writer is not None
            with self._writer.gate.reading():
                return function(self._reader)

        try:
            return await self._loop.run_in_executor(self._readers, run)
        except sqlite3.Error as error:
            raise StoreError(f"cannot read {self._path}: {error}") from error


class _Counts:
    """How many keys follow the last pages that were read, so that only the first page of a list has to count them."""

    __slots__ = ("_known",)

    _SIZE = 64

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, str], int] = {}

    def take(self, prefix: str, revision: int, after: str) -> int | None:
        """Return how many keys below `prefix` sort after `after` at `revision`, if that is known."""
        return self._known.get((prefix, revision, after))

    def put(self, prefix: str, revision: int, after: str, count: int) -> None:
        while len(self._known) >= self._SIZE:
            del self._known[next(iter(self._known))]
        self._known[prefix, revision, after] = count


def _page(connection: sqlite3.Connection, counts: _Counts, prefix: str, after: str, limit: int, revision: int) -> Page:
    compacted = connection.execute("SELECT number FROM state WHERE name = 'compacted'").fetchone()[0]
    newest = connection.execute("SELECT max(revision) FROM history").fetchone()[0]
    current = max(newest or 0, compacted)
    if revision and revision < compacted:
        raise Compacted(compacted)
    revision = revision or current
    high = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    bounds: dict[str, str | int] = {"low": prefix, "high": high, "after": after, "revision": revision}
    items: list[KeyValue] = []
    while not limit or len(items) < limit:
        step = min(limit - len(items), _STEP) if limit else _STEP
        read = _rows(connection, bounds | {"limit": step})
        items += read
        if len(read) < step:
            break
        bounds["after"] = read[-1].key
    if not limit or len(items) < limit:
        return Page(items, current, 0)
    before = counts.take(prefix, revision, after) if after else None
    last = items[-1].key
    if before is not None:
        remaining = before - len(items)
    else:
        remaining = connection.execute(f"SELECT count(*) {_VISIBLE}", bounds).fetchone()[0]
    counts.put(prefix, revision, last, remaining)
    return Page(items, current, remaining)


def _rows(connection: sqlite3.Connection, bounds: dict[str, str | int]) -> list[KeyValue]:
    keys, revisions, lengths, values = connection.execute(_ROWS, bounds).fetchone()
    items: list[KeyValue] = []
    start = 0
    for key, revision, length in zip(json.loads(keys), json.loads(revisions), json.loads(lengths), strict=True):
        items.append(KeyValue(key, values[start : start + length], revision))
        start += length
    return items
