"""The file stays small under constant churn, whoever reads it; a torn write-ahead log loses only its end."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from podstead.store import writer
from podstead.store.retention import Gate
from podstead.store.sqlite import SQLiteStore


def wal(path: Path) -> Path:
    return Path(f"{path}-wal")


async def churn(store: SQLiteStore, turns: int, size: int = 4000, keys: int = 16) -> None:
    """Update `keys` keys `turns` times each, all at once."""

    async def update(key: str) -> None:
        revision = await store.create(key, b"x" * size)
        for turn in range(turns):
            revision = await store.update(key, b"%d" % (turn % 10) * size, revision)
        await store.delete(key, revision)

    await asyncio.gather(*(update(f"/c/{number}") for number in range(keys)))


@pytest.fixture
def small_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "CHECKPOINT_BYTES", 256 << 10)


async def test_large_values_shorten_the_history(tmp_path: Path, small_checkpoints: None) -> None:
    store = SQLiteStore(tmp_path / "state.db", keep_bytes=1 << 20)
    await store.open()
    await churn(store, 30, size=20_000)
    assert store.compacted > store.revision - 120
    assert (tmp_path / "state.db").stat().st_size < 12 << 20
    await store.close()


async def test_a_reader_without_rest_does_not_let_the_log_grow(tmp_path: Path, small_checkpoints: None) -> None:
    path = tmp_path / "state.db"
    store = SQLiteStore(path, keep_revisions=200)
    await store.open()
    done = False

    async def read() -> None:
        while not done:
            await store.list("/large/")

    # Long enough that there is hardly a moment without a reader, unless one is made.
    await asyncio.gather(*(store.create(f"/large/{number}", b"x" * 3000) for number in range(1000)))
    readers = [asyncio.create_task(read()) for _ in range(3)]
    await churn(store, 60)
    done = True
    await asyncio.gather(*readers)
    # Four times the bytes at which a checkpoint is due, what comes in until it is done, and what SQLite leaves.
    assert wal(path).stat().st_size < 7 << 19
    await store.close()


async def test_an_outside_reader_holds_up_nobody_and_is_named(
    tmp_path: Path, small_checkpoints: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "WAL_WARNING", 1 << 20)
    path = tmp_path / "state.db"
    store = SQLiteStore(path, keep_revisions=200)
    await store.open()
    await store.create("/a", b"before")
    with caplog.at_level(logging.WARNING), closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM history").fetchone() == (1,)
        await churn(store, 60)
        assert other.execute("SELECT count(*) FROM history").fetchone() == (1,)
        held = wal(path).stat().st_size
        other.execute("ROLLBACK")
    assert held > 2 << 20
    assert sum("another process has been reading" in record.message for record in caplog.records) == 1
    assert not [record for record in caplog.records if "failed" in record.message]
    # As soon as it has ended the log starts over, and is cut to size.
    monkeypatch.setattr(writer, "CHECKPOINT_BYTES", 64 << 10)
    await churn(store, 20)
    await store.close()
    assert path.stat().st_size < 8 << 20


async def test_an_outside_writer_delays_but_fails_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SQLiteStore(path)
    await store.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.ensure_future(store.create("/a", b"1"))
        assert await store.get("/a") is None
        assert not writing.done()
        other.execute("COMMIT")
    assert await asyncio.wait_for(writing, 20) == 2
    await store.close()


async def test_what_was_freed_goes_back_to_the_file_system(tmp_path: Path, small_checkpoints: None) -> None:
    path = tmp_path / "state.db"
    store = SQLiteStore(path, keep_seconds=0.05)
    await store.open()
    revisions = await asyncio.gather(*(store.create(f"/b/{number}", b"x" * 50_000) for number in range(600)))
    await asyncio.gather(*(store.delete(f"/b/{number}", at) for number, at in enumerate(revisions)))
    async with asyncio.timeout(20):
        while path.stat().st_size > 8 << 20:
            await store.get("/b/0")
    await store.close()
    with closing(sqlite3.connect(path)) as closed:
        assert closed.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_pages_are_counted_once_and_right(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "state.db")
    await store.open()
    await asyncio.gather(*(store.create(f"/p/{number:03}", b"x") for number in range(300)))
    at = store.revision
    for turn in range(100):
        # More lists at a time than counts are remembered.
        page = await store.list("/p/", limit=turn + 1, revision=at)
        assert page.remaining == 299 - turn
    for turn in range(100):
        page = await store.list("/p/", after=f"/p/{turn:03}", limit=50, revision=at)
        assert page.remaining == 300 - turn - 51
        await store.delete(f"/p/{299 - turn:03}", 301 - turn)
    await store.close()


@pytest.mark.parametrize("seed", range(6))
async def test_a_torn_log_loses_only_its_end(tmp_path: Path, seed: int) -> None:
    """What a power cut may leave: the log ends in the middle of a commit, or in rubbish. What is before it is whole."""
    path, chooser = tmp_path / "state.db", random.Random(seed)
    store = SQLiteStore(path)
    await store.open()
    answered: dict[str, int] = {}
    for number in range(40):
        batch = [store.create(f"/t/{number}-{part}", b"%d" % number * 500) for part in range(3)]
        for part, revision in enumerate(await asyncio.gather(*batch)):
            answered[f"/t/{number}-{part}"] = revision
    torn = tmp_path / "torn.db"
    shutil.copyfile(path, torn)
    log = bytearray(wal(path).read_bytes())
    await store.close()
    cut = chooser.randrange(len(log) // 2, len(log))
    if seed % 2:
        log[cut : cut + 100] = chooser.randbytes(len(log[cut : cut + 100]))
    else:
        del log[cut:]
    wal(torn).write_bytes(log)
    again = SQLiteStore(torn)
    await again.open()
    kept = {item.key: item.revision for item in (await again.list("/t/")).items}
    assert kept == {key: revision for key, revision in answered.items() if revision <= again.revision}
    assert 2 < again.revision < store.revision and (again.revision - 1) % 3 == 0
    assert await again.create("/t/after", b"x") == again.revision
    await again.close()


def test_the_gate_waits_for_who_is_inside_and_lets_nobody_in() -> None:
    gate, order = Gate(), []
    inside, leave, late = threading.Event(), threading.Event(), threading.Event()

    def read() -> None:
        with gate.reading():
            inside.set()
            leave.wait(10)
            order.append("read")

    def shut() -> None:
        with gate.shut():
            order.append("shut")

    def read_late() -> None:
        late.set()
        with gate.reading():
            order.append("late")

    threads = [threading.Thread(target=target) for target in (read, shut, read_late)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    while not gate._closed:
        pass
    threads[2].start()
    assert late.wait(10) and order == []
    leave.set()
    for thread in threads:
        thread.join(10)
    assert order == ["read", "shut", "late"]
