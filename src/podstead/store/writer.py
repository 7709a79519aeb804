"""The writer thread of the embedded store: group commit, compaction and checkpoints on one SQLite connection.

It takes all that is queued, checks each write against an index of key -> revision that already contains what is
pending, and commits once (synchronous=FULL: COMMIT returns after fsync). Only then does one callback on the loop tell
subscribers and answer the writers, in that order. A COMMIT that fails undoes the index, publishes nothing, and fails
every writer of the batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

from podstead.metrics import Histogram
from podstead.store.base import Commit, KeyExists, KeyMissing, RevisionMismatch, StoreError
from podstead.store.retention import Gate, Keep, Retention

log = logging.getLogger(__name__)

COMPACT_STEP = 500
"""Revisions compacted in one transaction, so that a batch of writes never waits long behind one."""
CHECKPOINT_BYTES = 4 << 20
"""WAL growth after which the writer moves pages into the main file as soon as nothing is queued; at four times that
it does so whatever is queued."""
WAL_WARNING = 128 << 20
"""WAL size, in bytes, at which the log says that somebody outside keeps it from starting over."""
VACUUM_PAGES = 256
"""Free pages given back in one transaction."""
FREE_PAGES = 1024
"""Free pages that stay in the file, and a quarter of it besides: churn takes them again at once."""
MAX_BATCH = 1024

COMMITS = Histogram("podstead_store_commit_duration_seconds", "Time of a commit of the embedded store, synced.")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS history (
    revision INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    value BLOB,
    previous INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS history_key ON history (key, revision);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO state VALUES ('compacted', 1), ('format', 1);
"""

_ROWS = 64
"""Rows inserted by one statement: sqlite3 gives the interpreter's lock up at each step, and while the loop is busy it
takes milliseconds to get it back. So a small batch is one step, begin and commit included."""


def _insert(count: int) -> str:
    return f"INSERT INTO history (revision, key, value, previous) VALUES {', '.join(['(?, ?, ?, ?)'] * count)}"


class Write:
    """One queued write. `value` None removes; `expected` None creates."""

    __slots__ = ("answer", "expected", "key", "outcome", "value")

    def __init__(self, key: str, value: bytes | None, expected: int | None, answer: asyncio.Future[int]) -> None:
        self.key = key
        self.value = value
        self.expected = expected
        self.answer = answer
        self.outcome: int | StoreError = 0


def settle(answer: asyncio.Future[int], outcome: int | StoreError) -> None:
    """Answer, unless who asked has gone."""
    if answer.done():
        return
    if isinstance(outcome, StoreError):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


class Writer:
    """The writer thread: owns the writing connection, the index of present revisions, compaction and checkpoints."""

    def __init__(
        self,
        path: Path,
        keep: Keep,
        loop: asyncio.AbstractEventLoop,
        opened: asyncio.Future[int],
        apply: Callable[[Sequence[Commit], Sequence[Write]], None],
    ) -> None:
        self.thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self.failed = False
        self.queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self.compacted = 0
        self.gate = Gate()
        """Whoever reads the file in this process does so inside."""
        self._path = path
        self._keep = keep
        self._loop = loop
        self._opened = opened
        self._apply = apply
        self._present: dict[str, int] = {}
        self._revision = 0
        self._retention = Retention(keep, 0, 0)
        self._unsynced = 0
        """Bytes that went to the WAL since it last was moved into the main file as a whole, about."""
        self._due = CHECKPOINT_BYTES
        """`_unsynced` at which that is tried again."""
        self._warned = False
        self._step = min(COMPACT_STEP, max(1, keep.revisions // 2))

    def _run(self) -> None:
        try:
            connection = self._open()
        except (sqlite3.Error, OSError) as error:
            failure = StoreError(f"cannot open {self._path}: {error}")
            failure.__cause__ = error
            self._call(settle, self._opened, failure)
            return
        self._call(settle, self._opened, self._revision)
        try:
            self._serve(connection)
        except BaseException:
            # A fault of ours: better an error for every writer than one that waits for ever.
            log.exception("the writer thread failed")
            self.failed = True
            self._fail_queued()
        finally:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _fail_queued(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                write = self.queue.get_nowait()
                if write is not None:
                    self._call(settle, write.answer, StoreError("the store has failed"))

    def _call(self, callback: Callable[..., None], *args: object) -> None:
        # The loop may be closed already when the process ends without closing the store: nobody is left to answer.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *args)

    def _open(self) -> sqlite3.Connection:
        # Secrets are in it, and the directory may be one that others can look into; SQLite's files beside it follow.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._path.chmod(0o600)
        # The time is for a tool of the operator's that writes: nobody else does.
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=60)
        try:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA journal_size_limit={4 * CHECKPOINT_BYTES}")
            # A backstop only: the writer checkpoints itself when it is idle.
            connection.execute(f"PRAGMA wal_autocheckpoint={4 * CHECKPOINT_BYTES // 4096}")
            connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
            self.compacted = connection.execute("SELECT number FROM state WHERE name = 'compacted'").fetchone()[0]
            newest = connection.execute("SELECT max(revision) FROM history").fetchone()[0]
            # The newest row may be a removal that compaction took away: the revision must not go back.
            self._revision = max(newest or 0, self.compacted)
            rows = connection.execute("SELECT key, max(revision), value IS NULL FROM history GROUP BY key")
            self._present = {key: revision for key, revision, removed in rows if not removed}
            kept = "SELECT coalesce(sum(length(value)), 0) FROM history WHERE revision > ?"
            size = connection.execute(kept, (self.compacted,)).fetchone()[0]
            self._retention = Retention(self._keep, self._revision, size)
        except BaseException:
            connection.close()
            raise
        return connection

    # -- the loop of the thread

    def _serve(self, connection: sqlite3.Connection) -> None:
        while True:
            try:
                first = self.queue.get(timeout=self._idle_timeout())
            except queue.Empty:
                self._maintain(connection, idle=True)
                continue
            if first is None:
                return
            batch, last = self._gather(first)
            try:
                self._commit(connection, batch)
            except BaseException:
                for write in batch:
                    self._call(settle, write.answer, StoreError("the store has failed"))
                raise
            if last:
                return
            self._maintain(connection)

    def _idle_timeout(self) -> float | None:
        """Wait without end when there is nothing to keep house for."""
        if self._unsynced or self._revision > self.compacted:
            return min(30.0, max(self._keep.seconds, 0.01))
        return None

    def _gather(self, first: Write) -> tuple[list[Write], bool]:
        batch = [first]
        with contextlib.suppress(queue.Empty):
            while len(batch) < MAX_BATCH:
                write = self.queue.get_nowait()
                if write is None:
                    return batch, True
                batch.append(write)
        return batch, False

    def _commit(self, connection: sqlite3.Connection, batch: list[Write]) -> None:
        undo: list[tuple[str, int | None]] = []
        commits: list[Commit] = []
        rows: list[tuple[int, str, bytes | None, int]] = []
        before = self._revision
        for write in batch:
            error = self._check(write)
            if error is not None:
                write.outcome = error
                continue
            self._revision += 1
            previous = self._present.get(write.key)
            undo.append((write.key, previous))
            if write.value is None:
                del self._present[write.key]
            else:
                self._present[write.key] = self._revision
            write.outcome = self._revision
            rows.append((self._revision, write.key, write.value, previous or 0))
            commits.append(Commit(write.key, self._revision, write.value, previous is None))
        if rows:
            began = perf_counter()
            try:
                self._write_rows(connection, rows)
                COMMITS.observe(perf_counter() - began)
            except sqlite3.Error as problem:
                log.error("a commit failed: %s", problem)
                self._revision = before
                self._revert(undo)
                commits = []
                # Checks of this batch were made against writes that are not: nobody may rely on their outcome.
                for write in batch:
                    write.outcome = StoreError(f"cannot commit: {problem}")
        self._call(self._apply, commits, batch)

    def _check(self, write: Write) -> StoreError | None:
        present = self._present.get(write.key)
        if write.expected is None:
            return KeyExists(write.key) if present is not None else None
        if present is None:
            return KeyMissing(write.key)
        return RevisionMismatch(present) if present != write.expected else None

    def _write_rows(self, connection: sqlite3.Connection, rows: list[tuple[int, str, bytes | None, int]]) -> None:
        try:
            several = len(rows) > _ROWS
            if several:
                connection.execute("BEGIN IMMEDIATE")
            for start in range(0, len(rows), _ROWS):
                part = rows[start : start + _ROWS]
                connection.execute(_insert(len(part)), [value for row in part for value in row])
            if several:
                connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        size = sum(len(row[2] or b"") for row in rows)
        self._retention.wrote(rows[-1][0], size)
        # Beside the value a page of the index a row, and a few interior ones a commit.
        self._unsynced += size + 4096 * len(rows) + 16384

    def _revert(self, undo: list[tuple[str, int | None]]) -> None:
        for key, previous in reversed(undo):
            if previous is None:
                self._present.pop(key, None)
            else:
                self._present[key] = previous

    # -- housekeeping, between batches

    def _maintain(self, connection: sqlite3.Connection, idle: bool = False) -> None:
        try:
            compacted = False
            while self._compact_step(connection):
                compacted = True
                if not self.queue.empty():
                    break
            if compacted or idle:
                self._give_back(connection)
            if (idle and self._unsynced) or self._unsynced > self._due:
                self._checkpoint(connection)
        except sqlite3.Error as problem:
            # Nothing was promised: the next round tries again.
            log.warning("compaction or checkpoint failed: %s", problem)

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move the WAL into the main file, so that the next write begins it anew.

        PASSIVE never waits for anybody: our own readers are kept out meanwhile, and one outside (a backup) only makes
        it incomplete. Then the WAL goes on growing, until that one has ended.
        """
        if self._unsynced <= 4 * CHECKPOINT_BYTES and not self.queue.empty():
            return
        with self.gate.shut():
            _, frames, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if moved == frames:
            self._unsynced, self._due, self._warned = 0, CHECKPOINT_BYTES, False
            return
        self._due = self._unsynced + CHECKPOINT_BYTES
        if frames * 4096 > WAL_WARNING and not self._warned:
            self._warned = True
            log.warning(
                "another process has been reading %s for long: its write-ahead log grows until that ends, it has %d MB",
                self._path,
                frames * 4096 // 1_000_000,
            )

    def _compact_step(self, connection: sqlite3.Connection) -> bool:
        """Compact one step; tells whether it did."""
        target = self._retention.until(self._revision, self.compacted, self._step)
        if target <= self.compacted:
            return False
        upto = min(target, self.compacted + COMPACT_STEP)
        bounds = (self.compacted, upto)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "DELETE FROM history WHERE revision IN"
                " (SELECT previous FROM history WHERE revision > ? AND revision <= ? AND previous > 0)",
                bounds,
            )
            connection.execute("DELETE FROM history WHERE revision > ? AND revision <= ? AND value IS NULL", bounds)
            connection.execute("UPDATE state SET number = ? WHERE name = 'compacted'", (upto,))
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self.compacted = upto
        # Leaves of the table that it came by, and of the index as far as keys lie apart.
        self._unsynced += 4096 * (upto - bounds[0]) // 2
        return True

    def _give_back(self, connection: sqlite3.Connection) -> None:
        """Return free pages to the file system, as long as nothing is queued and more than churn needs are left."""
        while True:
            free = connection.execute("PRAGMA freelist_count").fetchone()[0]
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            if free <= FREE_PAGES + (pages - free) // 4:
                return
            # Not execute: that would end after the first page.
            connection.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
            self._unsynced += 4096 * VACUUM_PAGES
            if self._unsynced > self._due:
                self._checkpoint(connection)
            if not self.queue.empty():
                return
