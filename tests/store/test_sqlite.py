"""The embedded store: order, atomic batches, history, compaction, failure, and what a SIGKILL leaves."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from podstead.store.base import (
    Commit,
    Compacted,
    KeyExists,
    KeyMissing,
    RevisionMismatch,
    Store,
    StoreError,
)
from podstead.store.sqlite import SQLiteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    opened = SQLiteStore(tmp_path / "state.db")
    await opened.open()
    yield opened
    await opened.close()


def listen(store: Store) -> list[Commit]:
    seen: list[Commit] = []

    def take(commits: Sequence[Commit]) -> None:
        seen.extend(commits)

    store.subscribe(take)
    return seen


async def test_create_update_delete(store: SQLiteStore) -> None:
    assert store.revision == 1
    first = await store.create("/a", b"1")
    second = await store.update("/a", b"2", first)
    entry = await store.get("/a")
    assert entry is not None and (entry.value, entry.revision) == (b"2", second)
    third = await store.delete("/a", second)
    assert [first, second, third] == [2, 3, 4]
    assert await store.get("/a") is None


async def test_checks_name_what_is_wrong(store: SQLiteStore) -> None:
    revision = await store.create("/a", b"1")
    with pytest.raises(KeyExists):
        await store.create("/a", b"1")
    with pytest.raises(KeyMissing):
        await store.update("/b", b"1", revision)
    with pytest.raises(RevisionMismatch) as mismatch:
        await store.update("/a", b"1", revision - 1)
    assert mismatch.value.current == revision
    with pytest.raises(RevisionMismatch):
        await store.delete("/a", 99)


async def test_one_failed_check_does_not_fail_its_batch(store: SQLiteStore) -> None:
    outcomes = await asyncio.gather(
        store.create("/a", b"1"),
        store.create("/a", b"2"),
        store.create("/b", b"1"),
        store.update("/c", b"1", 7),
        store.create("/c", b"1"),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [int, KeyExists, int, KeyMissing, int]


async def test_a_race_of_updates_has_one_winner(store: SQLiteStore) -> None:
    revision = await store.create("/a", b"0")
    outcomes = await asyncio.gather(
        *(store.update("/a", b"%d" % number, revision) for number in range(50)), return_exceptions=True
    )
    winners = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert winners == [revision + 1]
    assert all(isinstance(outcome, RevisionMismatch) for outcome in outcomes if not isinstance(outcome, int))


async def test_counters_lose_no_increment(store: SQLiteStore) -> None:
    """Compare-and-swap is checked against the batch's own pending state."""
    await store.create("/n", b"0")

    async def increment() -> None:
        while True:
            entry = await store.get("/n")
            assert entry is not None
            try:
                await store.update("/n", b"%d" % (int(entry.value) + 1), entry.revision)
            except RevisionMismatch:
                continue
            return

    await asyncio.gather(*(increment() for _ in range(20)))
    entry = await store.get("/n")
    assert entry is not None and entry.value == b"20"


async def test_subscribers_hear_before_writers_are_answered(store: SQLiteStore) -> None:
    seen = listen(store)

    async def write(number: int) -> None:
        revision = await store.create(f"/k{number}", b"x")
        assert any(commit.revision == revision for commit in seen)
        assert store.revision >= revision

    await asyncio.gather(*(write(number) for number in range(200)))
    assert [commit.revision for commit in seen] == list(range(2, 202))


async def test_a_failing_subscriber_does_not_hold_up_writers(store: SQLiteStore) -> None:
    def fail(commits: Sequence[Commit]) -> None:
        raise RuntimeError("broken")

    store.subscribe(fail)
    seen = listen(store)
    assert await store.create("/a", b"1") == 2
    assert len(seen) == 1


async def test_a_failed_commit_publishes_nothing_and_fails_its_writers(store: SQLiteStore, tmp_path: Path) -> None:
    revision = await store.create("/a", b"1")
    seen = listen(store)
    with sqlite3.connect(tmp_path / "state.db") as other:
        other.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON history WHEN NEW.key = '/bad' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    other.close()
    outcomes = await asyncio.gather(
        store.update("/a", b"2", revision),
        store.delete("/a", revision + 1),
        store.create("/bad", b"1"),
        store.create("/a", b"3"),
        return_exceptions=True,
    )
    assert all(type(outcome) is StoreError for outcome in outcomes), outcomes
    assert seen == [] and store.revision == revision
    # What follows is checked against what is really there, and no revision is skipped or used twice.
    assert await store.update("/a", b"4", revision) == revision + 1
    assert [commit.revision for commit in seen] == [revision + 1]


@pytest.fixture
def small_disk(tmp_path: Path) -> AsyncIterator[Path] | object:
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(mount)], check=True, timeout=10)
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True, timeout=10)


async def test_a_full_disk_fails_writes_but_loses_none(small_disk: Path) -> None:
    path = small_disk / "state.db"
    store = SQLiteStore(path)
    await store.open()
    answered: dict[str, bytes] = {}
    failed = 0
    for number in range(400):
        key, value = f"/k{number}", bytes([number % 256]) * 3000
        try:
            await store.create(key, value)
            answered[key] = value
        except StoreError:
            failed += 1
            if failed > 3:
                break
    assert failed and answered
    await store.close()
    again = SQLiteStore(path)
    await again.open()
    try:
        page = await again.list("/")
        assert {item.key: item.value for item in page.items} == answered
    finally:
        await again.close()


async def test_list_is_sorted_paged_and_counts_what_follows(store: SQLiteStore) -> None:
    keys = [f"/p/{letter}" for letter in "hgfedcba"]
    await asyncio.gather(*(store.create(key, b"x") for key in [*keys, "/q/z", "/o/z", "/p"]))
    page = await store.list("/p/", limit=3)
    assert ([item.key for item in page.items], page.remaining) == (["/p/a", "/p/b", "/p/c"], 5)
    page = await store.list("/p/", after="/p/c", limit=5)
    assert ([item.key for item in page.items], page.remaining) == ([f"/p/{letter}" for letter in "defgh"], 0)


async def test_values_are_any_bytes(store: SQLiteStore) -> None:
    values = [b"", b"\0", b"a\0b", b"\xff\xfe\x80", bytes(range(256)), "ä\u20ac".encode(), b"x" * 100_000, b""]
    keys = [f"/b/{number}-\"ä\\'" for number in range(len(values))]
    for key, value in zip(keys, values, strict=True):
        await store.create(key, value)
    for limit in (0, 3, 8):
        page = await store.list("/b/", limit=limit)
        assert [item.value for item in page.items] == values[: limit or None]
        assert [item.key for item in page.items] == keys[: limit or None]


async def test_more_than_is_read_or_written_in_one_step(store: SQLiteStore) -> None:
    keys = [f"/n/{number:05}" for number in range(1203)]
    revisions = await asyncio.gather(*(store.create(key, key.encode()) for key in keys))
    assert revisions == list(range(2, 1205))
    for limit, count, remaining in ((0, 1203, 0), (1203, 1203, 0), (1200, 1200, 3), (500, 500, 703), (501, 501, 702)):
        page = await store.list("/n/", limit=limit)
        assert [(item.key, item.value) for item in page.items] == [(key, key.encode()) for key in keys[:count]]
        assert page.remaining == remaining
    after, left = "", []
    while page := await store.list("/n/", after=after, limit=400, revision=1204):
        left.append(page.remaining)
        if not page.remaining:
            break
        after = page.items[-1].key
        await store.create(f"/n/{after}", b"later")
    assert left == [803, 403, 3, 0]


async def test_list_at_a_revision_shows_what_was(store: SQLiteStore) -> None:
    chooser = random.Random(5)
    present: dict[str, tuple[bytes, int]] = {}
    history: dict[int, dict[str, tuple[bytes, int]]] = {}
    for number in range(300):
        key = f"/x/{chooser.randrange(12)}"
        value = b"%d" % number
        if key not in present:
            present[key] = value, await store.create(key, value)
        elif chooser.random() < 0.3:
            await store.delete(key, present.pop(key)[1])
        else:
            present[key] = value, await store.update(key, value, present[key][1])
        history[store.revision] = dict(present)
    for revision, expected in history.items():
        page = await store.list("/x/", revision=revision)
        assert {item.key: (item.value, item.revision) for item in page.items} == expected


async def test_compaction_keeps_what_it_promises(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "state.db", keep_revisions=100)
    await store.open()
    revision = await store.create("/x/a", b"0")
    await store.create("/x/old", b"stays")
    states = {}
    for number in range(600):
        revision = await store.update("/x/a", b"%d" % number, revision)
        states[revision] = b"%d" % number
    # Compaction follows the batch that made it due.
    async with asyncio.timeout(10):
        while store.compacted < revision - 160:
            revision = await store.update("/x/a", b"more", revision)
            states[revision] = b"more"
    with pytest.raises(Compacted) as compacted:
        await store.list("/x/", revision=store.compacted - 1)
    assert compacted.value.oldest == store.compacted
    for wanted in range(store.compacted + 1, revision + 1):
        page = await store.list("/x/", revision=wanted)
        assert [item.value for item in page.items] == [states[wanted], b"stays"]
    await store.close()
    rows = sqlite3.connect(tmp_path / "state.db").execute("SELECT count(*) FROM history").fetchone()[0]
    assert rows < 200


async def test_age_compacts_removals_and_the_revision_never_goes_back(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SQLiteStore(path, keep_seconds=0.05)
    await store.open()
    revision = await store.delete("/a", await store.create("/a", b"1"))
    async with asyncio.timeout(10):
        while store.compacted < revision:
            await store.get("/a")
    await store.close()
    again = SQLiteStore(path)
    await again.open()
    assert again.revision == revision
    assert await again.create("/a", b"2") == revision + 1
    await again.close()


async def test_close_finishes_what_was_accepted(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "state.db")
    await store.open()
    writes = [asyncio.ensure_future(store.create(f"/{number}", b"x")) for number in range(50)]
    await asyncio.sleep(0)
    await store.close()
    assert sorted(await asyncio.gather(*writes)) == list(range(2, 52))
    with pytest.raises(StoreError, match="closed"):
        await store.create("/late", b"x")


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(StoreError, match="cannot open"):
        await SQLiteStore(path).open()


_CHILD = """
import asyncio, sys
from pathlib import Path
from podstead.store.sqlite import SQLiteStore

async def main():
    store = SQLiteStore(Path(sys.argv[1]), keep_revisions=50)
    await store.open()
    async def writer(number):
        revision = 0
        for turn in range(10**9):
            key = f"/w{number}/{turn % 7}"
            entry = await store.get(key)
            value = b"%d" % turn
            if entry is None:
                revision = await store.create(key, value)
            else:
                revision = await store.update(key, value, entry.revision)
            print(key, turn, revision, flush=True)
    await asyncio.gather(*(writer(number) for number in range(4)))

asyncio.run(main())
"""


@pytest.mark.parametrize("seed", range(4))
async def test_sigkill_loses_no_answered_write(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "state.db"
    lines = random.Random(seed).randrange(20, 600)
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(path)], stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    assert child.stdout is not None
    answered: dict[str, tuple[int, int]] = {}

    def read() -> None:
        assert child.stdout is not None
        for count, line in enumerate(child.stdout):
            if line.endswith("\n"):
                key, turn, revision = line.split()
                answered[key] = int(turn), int(revision)
            if count == lines:
                child.send_signal(signal.SIGKILL)

    try:
        await asyncio.wait_for(asyncio.to_thread(read), 60)
    finally:
        child.kill()
        child.wait(10)
        child.stdout.close()
    store = SQLiteStore(path)
    await store.open()
    try:
        highest = max(revision for _, revision in answered.values())
        assert store.revision >= highest
        for key, (turn, revision) in answered.items():
            entry = await store.get(key)
            assert entry is not None
            # The child may have been killed between a commit and its answer: then a later write is there.
            assert entry.revision >= revision and int(entry.value) >= turn
        assert await store.create("/after", b"x") == store.revision > highest
    finally:
        await store.close()
