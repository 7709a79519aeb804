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
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from podstead import clock
from podstead.store.base import Commit, KeyExists, KeyMissing, RevisionMismatch, StoreError

log = logging.getLogger(__name__)

KEEP_REVISIONS = 10_000
KEEP_SECONDS = 300.0
COMPACT_STEP = 500
"""Revisions compacted in one transaction, so that a batch of writes never waits long behind one."""
CHECKPOINT_BYTES = 4 << 20
"""WAL growth after which the writer moves pages into the main file as soon as nothing is queued."""
MAX_BATCH = 1024

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

_INSERT = "INSERT INTO history (revision, key, value, previous) VALUES (?, ?, ?, ?)"


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
        keep: tuple[int, float],
        loop: asyncio.AbstractEventLoop,
        opened: asyncio.Future[int],
        apply: Callable[[Sequence[Commit], Sequence[Write]], None],
    ) -> None:
        self.thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self.failed = False
        self.queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self.compacted = 0
        self._path = path
        self._keep_revisions, self._keep_seconds = keep
        self._loop = loop
        self._opened = opened
        self._apply = apply
        self._present: dict[str, int] = {}
        self._revision = 0
        self._unsynced = 0
        self._step = min(COMPACT_STEP, max(1, self._keep_revisions // 2))
        self._aged = 0
        self._marks: deque[tuple[float, int]] = deque()
        """(time, revision) now and then, to know which revision was current keep_seconds ago."""

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
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=10)
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
        except BaseException:
            connection.close()
            raise
        self._marks.append((clock.monotonic(), self._revision))
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
            return min(30.0, max(self._keep_seconds, 0.01))
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
            try:
                self._write_rows(connection, rows)
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
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT, rows)
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        # Three pages a row (table, index, interior now and then) beside the value.
        self._unsynced += sum(len(row[2] or b"") for row in rows) + 12288 * len(rows)

    def _revert(self, undo: list[tuple[str, int | None]]) -> None:
        for key, previous in reversed(undo):
            if previous is None:
                self._present.pop(key, None)
            else:
                self._present[key] = previous

    # -- housekeeping, between batches

    def _maintain(self, connection: sqlite3.Connection, idle: bool = False) -> None:
        try:
            while self._compact_step(connection) and self.queue.empty():
                pass
            due = self._unsynced > (0 if idle else CHECKPOINT_BYTES)
            if due and (self.queue.empty() or self._unsynced > 4 * CHECKPOINT_BYTES):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                self._unsynced = 0
        except sqlite3.Error as problem:
            # Nothing was promised: the next round tries again.
            log.warning("compaction or checkpoint failed: %s", problem)

    def _compact_until(self) -> int:
        """The revision up to which history may go now: what was current keep_seconds ago, or beyond keep_revisions."""
        now = clock.monotonic()
        while self._marks and now - self._marks[0][0] >= self._keep_seconds:
            self._aged = self._marks.popleft()[1]
        if not self._marks or now - self._marks[-1][0] > self._keep_seconds / 16:
            self._marks.append((now, self._revision))
        surplus = self._revision - self._keep_revisions
        # By number only in whole steps: else every batch would be followed by a compaction of its own.
        return max(self._aged, surplus if surplus - self.compacted >= self._step else 0)

    def _compact_step(self, connection: sqlite3.Connection) -> bool:
        """Compact one step; tells whether more is due."""
        target = self._compact_until()
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
        self._unsynced += 65536
        connection.execute("PRAGMA incremental_vacuum(64)").fetchall()
        return target > upto
