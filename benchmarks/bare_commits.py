"""The limit of durable writes: rows committed to SQLite by a bare loop, in the store's own form and settings.

    python benchmarks/bare_commits.py DATABASE

A line `COUNT TOGETHER SIZE KEYS` on stdin commits COUNT rows of SIZE bytes, TOGETHER in a transaction, to as many
keys as KEYS says (0: a new one each); the seconds that it took come back as a line.
"""

from __future__ import annotations

import sqlite3
import sys
import time

_SCHEMA = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
PRAGMA wal_autocheckpoint=4096;
CREATE TABLE history (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB, previous INTEGER NOT NULL);
CREATE UNIQUE INDEX history_key ON history (key, revision);
"""
_INSERT = "INSERT INTO history (revision, key, value, previous) VALUES (?, ?, ?, ?)"


class Commits:
    """One database and the revision that it has reached."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.executescript(_SCHEMA)
        self._revision = 0

    def commit(self, count: int, together: int, size: int, keys: int) -> float:
        """Return the seconds that `count` rows took."""
        value, execute, first = b"x" * size, self._connection.execute, self._revision + 1
        self._revision += count
        rows = [
            (revision, f"configmaps/bench/object-{revision % keys if keys else revision:08d}", value, 0)
            for revision in range(first, first + count)
        ]
        batches = [rows[at : at + together] for at in range(0, count, together)]
        began = time.perf_counter()
        for batch in batches:
            execute("BEGIN IMMEDIATE")
            self._connection.executemany(_INSERT, batch)
            execute("COMMIT")
        return time.perf_counter() - began


def main(path: str) -> None:
    commits = Commits(path)
    for line in sys.stdin:
        count, together, size, keys = map(int, line.split())
        print(commits.commit(count, together, size, keys), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
