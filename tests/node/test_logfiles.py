"""A log in several files: kept, bounded, compressed, and read as one. `Writer` does what conmon does with them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from podstead.linux.inotify import FileWatcher
from podstead.node.logs import LogFile, LogOptions, stream_log
from podstead.node.runtime import logfiles
from podstead.node.runtime.logfiles import LogKeeper, LogLimits

BEGIN = datetime(2026, 11, 22, 8, tzinfo=UTC)


class Writer:
    """Writes numbered lines, a second apart, in files of `lines` lines."""

    def __init__(self, path: Path, lines: int = 10) -> None:
        self.path = path
        self.path.touch()
        self._lines = lines
        self.written = 0

    def write(self, count: int) -> None:
        for _ in range(count):
            if self.written and self.written % self._lines == 0:
                self._reopen()
            stamp = (BEGIN + timedelta(seconds=self.written)).isoformat(timespec="microseconds")
            stream = "stderr" if self.written % 2 else "stdout"
            with self.path.open("a") as file:
                file.write(f"{stamp.replace('+', '000+')} {stream} F line {self.written}\n")
            self.written += 1

    def _reopen(self) -> None:
        fresh = self.path.with_name(f"{self.path.name}.tmp")
        fresh.touch()
        fresh.replace(self.path)


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path / "0.log")


@pytest.fixture
async def keeper(writer: Writer) -> AsyncIterator[LogKeeper]:
    keeper = LogKeeper(LogLimits(files=4, rest=0))
    keeper.hold(writer.path)
    yield keeper
    await keeper.close()


async def kept(writer: Writer, files: int) -> None:
    """Return once the log has so many files."""
    async with asyncio.timeout(10):
        while len(logfiles.rotated(writer.path)) + 1 < files:
            await asyncio.sleep(0)


async def noticed(writer: Writer) -> None:
    """Return once the file that is written to has its second name."""
    second = writer.path.with_name(f".{writer.path.name}.kept")
    async with asyncio.timeout(10):
        while second.stat().st_ino != writer.path.stat().st_ino:
            await asyncio.sleep(0)


async def fill(writer: Writer, files: int) -> None:
    for number in range(files):
        writer.write(10)
        await kept(writer, min(number + 1, 4))
        await asyncio.sleep(0)


def read(path: Path, options: LogOptions | None = None) -> list[int]:
    """Return the numbers of the lines that are shown."""
    texts = []
    with LogFile(path, options or LogOptions()) as log:
        log.seek()
        while (found := log.read())[0]:
            texts.append(found[1])
    return [int(line.split()[-1]) for line in b"".join(texts).splitlines()]


async def test_older_files_are_kept_up_to_their_number_and_read_as_one(writer: Writer, keeper: LogKeeper) -> None:
    await fill(writer, 3)
    assert read(writer.path) == list(range(30))
    for _ in range(4):
        writer.write(10)
        last = f"{writer.written - 11}\n"
        async with asyncio.timeout(10):
            while not any(last in _text(file) for file in logfiles.rotated(writer.path)):
                await asyncio.sleep(0)
    assert len(logfiles.rotated(writer.path)) == 3
    assert read(writer.path) == list(range(30, 70))


def _text(file: Path) -> str:
    try:
        return (gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()).decode()
    except FileNotFoundError:
        return ""


async def test_all_but_the_newest_older_file_are_compressed(writer: Writer, keeper: LogKeeper) -> None:
    await fill(writer, 4)
    async with asyncio.timeout(10):
        while [file.suffix == ".gz" for file in logfiles.rotated(writer.path)] != [True, True, False]:
            await asyncio.sleep(0.001)
    assert read(writer.path) == list(range(40))
    assert read(writer.path, LogOptions(tail_lines=35)) == list(range(5, 40))


@pytest.mark.parametrize("wanted", [0, 1, 5, 9, 10, 11, 25, 29, 30, 31])
async def test_the_last_lines_may_be_in_an_older_file(writer: Writer, keeper: LogKeeper, wanted: int) -> None:
    await fill(writer, 3)
    assert read(writer.path, LogOptions(tail_lines=wanted)) == list(range(max(30 - wanted, 0), 30))


async def test_lines_of_one_stream_and_since_a_time(writer: Writer, keeper: LogKeeper) -> None:
    await fill(writer, 3)
    errors = LogOptions(tail_lines=6, streams=frozenset((b"stderr",)))
    assert read(writer.path, errors) == [19, 21, 23, 25, 27, 29]
    assert read(writer.path, LogOptions(since=BEGIN + timedelta(seconds=15))) == list(range(15, 30))
    assert read(writer.path, LogOptions(since=BEGIN + timedelta(days=9999))) == []


async def test_following_goes_on_in_the_next_file(writer: Writer, keeper: LogKeeper) -> None:
    writer.write(5)
    over, watcher, seen = asyncio.Event(), FileWatcher(), []
    try:
        with LogFile(writer.path, LogOptions(follow=True)) as log:
            async with asyncio.timeout(10), aclosing(stream_log(log, _wait(over), watcher)) as texts:
                async for text in texts:
                    seen += text.splitlines()
                    if writer.written < 43:
                        writer.write(6)
                        await noticed(writer)
                    elif len(seen) == writer.written:
                        over.set()
    finally:
        watcher.close()
    assert [int(line.split()[-1]) for line in seen] == list(range(writer.written))


def _wait(event: asyncio.Event) -> Callable[[], Coroutine[Any, Any, None]]:
    async def wait() -> None:
        await event.wait()

    return wait


async def test_what_no_server_saw_is_made_up_for(writer: Writer, keeper: LogKeeper) -> None:
    writer.write(5)
    await keeper.close()
    writer.write(7)
    assert logfiles.rotated(writer.path) == []
    again = LogKeeper()
    again.hold(writer.path)
    assert read(writer.path) == list(range(12))
    again.release(writer.path)
    await again.close()


async def test_a_log_whose_container_has_ended_has_no_second_name_and_goes_as_a_whole(
    writer: Writer, keeper: LogKeeper
) -> None:
    writer.write(25)
    keeper.release(writer.path)
    assert not [file for file in writer.path.parent.iterdir() if file.name.startswith(".")]
    assert read(writer.path)[-1] == 24
    logfiles.remove(writer.path)
    await keeper.close()
    assert list(writer.path.parent.iterdir()) == []


async def test_other_logs_beside_it_are_not_its_files(writer: Writer, tmp_path: Path) -> None:
    for name in ("0.log.old", "1.log.20261122-080000.000001", "0.log.tmp"):
        (tmp_path / name).touch()
    assert logfiles.rotated(writer.path) == []
