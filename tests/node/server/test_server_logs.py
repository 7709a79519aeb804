"""Container logs as `kubectl logs` asks for them: files in CRI's format, read through the node's server."""

from __future__ import annotations

import asyncio
import random
import resource
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from serving import Lookup, World

from podstead.node.logs import LogFile, LogOptions
from podstead.node.runtime.base import ContainerStatus


def record(second: int, content: str, *, stream: str = "stdout", tag: str = "F", zone: str = "+00:00") -> str:
    return f"2026-11-22T08:{second // 60:02}:{second % 60:02}.123456789{zone} {stream} {tag} {content}\n"


class Logs(Lookup):
    """One container whose log is at `path`; it has ended once `over` is set."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.over = asyncio.Event()

    async def find_container(
        self, namespace: str, pod: str, container: str, *, previous: bool = False
    ) -> ContainerStatus:
        found = await super().find_container(namespace, pod, container)
        return replace(found, log_path=self.path.with_suffix(".previous") if previous else self.path)

    async def wait_ended(self, container_id: str) -> None:
        await self.over.wait()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "0.log"


@pytest.fixture
async def world(tmp_path: Path, path: Path) -> AsyncIterator[World]:
    world = World(Logs(path))
    await world.http.close()
    await world.open(tmp_path)
    try:
        async with asyncio.timeout(30):
            yield world
    finally:
        await world.close()


async def get(world: World, query: str = "", *, container: str = "c1", code: int = 200) -> str:
    async with world.http.get(f"http://node/containerLogs/default/p/{container}?{query}") as answer:
        assert answer.status == code, await answer.text()
        return await answer.text() if code == 200 else (await answer.json())["message"]


FOUR = (
    record(1, "one") + record(2, "two", stream="stderr") + record(3, "thr", tag="P") + record(3, "ee") + record(4, "")
)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "one\ntwo\nthree\n\n"),
        ("tailLines=0", ""),
        ("tailLines=1", "\n"),
        ("tailLines=2", "three\n\n"),
        ("tailLines=99", "one\ntwo\nthree\n\n"),
        ("limitBytes=6", "one\ntw"),
        ("stream=Stderr", "two\n"),
        ("stream=Stdout&tailLines=3", "one\nthree\n\n"),
        ("sinceTime=2026-11-22T08:00:02Z", "two\nthree\n\n"),
        ("sinceTime=2026-11-22T09:00:03%2B01:00", "three\n\n"),
        ("sinceTime=2026-11-22T08:00:02Z&tailLines=4", "two\nthree\n\n"),
        ("sinceSeconds=1", ""),
        ("sinceSeconds=9223372036854775807&tailLines=1", "\n"),
        ("sinceTime=0001-01-01T00:00:00%2B14:00&tailLines=1", "\n"),
        ("sinceTime=9999-12-31T23:59:59-12:00", ""),
        ("timestamps=true&tailLines=2", "2026-11-22T08:00:03.123456789Z three\n2026-11-22T08:00:04.123456789Z \n"),
    ],
)
async def test_what_is_asked_for_is_shown(world: World, path: Path, query: str, text: str) -> None:
    path.write_text(FOUR)
    world.server._lookup.over.set()  # type: ignore[attr-defined]
    assert await get(world, query) == text
    assert await get(world, query + "&follow=true") == text


async def test_a_log_in_local_time_is_compared_by_the_moment(world: World, path: Path) -> None:
    path.write_text(record(1, "winter", zone="+02:00") + record(1, "zulu", zone="Z"))
    assert await get(world, "sinceTime=2026-11-22T06:00:02Z") == "zulu\n"
    assert await get(world, "sinceTime=2026-11-22T06:00:01Z&timestamps=1") == (
        "2026-11-22T08:00:01.123456789+02:00 winter\n2026-11-22T08:00:01.123456789Z zulu\n"
    )


async def test_a_line_that_is_not_finished_is_shown_as_far_as_it_goes(world: World, path: Path) -> None:
    path.write_text(record(1, "one") + record(2, "prompt> ", tag="P") + "2026-11-22T08:00:03.1234")
    assert await get(world, "tailLines=1") == "prompt> "


async def test_the_previous_container_has_its_own_log(world: World, path: Path) -> None:
    path.with_suffix(".previous").write_text(record(1, "crashed"))
    path.write_text(record(9, "running"))
    assert await get(world, "previous=true") == "crashed\n"


async def test_following_shows_lines_as_they_come_and_ends_with_the_container(world: World, path: Path) -> None:
    path.write_text(record(1, "old") + record(2, "last"))
    url = "http://node/containerLogs/default/p/c1?follow=1&tailLines=1"
    async with world.http.get(url) as answer:
        assert await answer.content.readuntil(b"\n") == b"last\n"
        with path.open("a") as log:
            for number in range(5):
                text = record(number, f"new {number}")
                log.write(text[:20])
                log.flush()
                log.write(text[20:])
                log.flush()
                assert await answer.content.readuntil(b"\n") == f"new {number}\n".encode()
            log.write(record(9, "the end"))
        world.server._lookup.over.set()  # type: ignore[attr-defined]
        assert await answer.content.read() == b"the end\n"


async def test_many_may_follow_and_a_client_that_goes_leaves_nothing(world: World, path: Path) -> None:
    path.write_text(record(1, "start"))
    url = "http://node/containerLogs/default/p/c1?follow=1"
    answers = [await world.http.get(url) for _ in range(20)]
    for answer in answers:
        assert await answer.content.readuntil(b"\n") == b"start\n"
    with path.open("a") as log:
        log.write(record(2, "more"))
    for answer in answers:
        assert await answer.content.readuntil(b"\n") == b"more\n"
    handlers = set(world.server._handlers)
    assert len(handlers) == 20
    for answer in answers:
        answer.close()
    await asyncio.wait(handlers)
    assert not world.server._watcher._events


async def test_the_servers_end_ends_following(world: World, path: Path) -> None:
    path.write_text(record(1, "start"))
    async with world.http.get("http://node/containerLogs/default/p/c1?follow=1") as answer:
        await answer.content.readuntil(b"\n")
        await world.server.close()


async def test_a_reader_that_stops_costs_no_memory(world: World, path: Path) -> None:
    with path.open("w") as log:
        for second in range(60):
            log.write(record(second, "x" * 8000) * 100)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with world.http.get("http://node/containerLogs/default/p/c1") as answer:
        await answer.content.readuntil(b"\n")
        assert await get(world, "tailLines=1") == "x" * 8000 + "\n"
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 16 << 10, f"grew by {grown} KiB"
        count = 8001
        async for data in answer.content.iter_any():
            count += len(data)
        assert count == 60 * 100 * 8001


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("tailLines=x", 'invalid tailLines "x"'),
        ("tailLines=-1", "must be greater than or equal to 0"),
        ("limitBytes=0", "must be greater than or equal to 1"),
        ("sinceTime=yesterday", 'invalid sinceTime "yesterday"'),
        ("follow=maybe", 'invalid follow "maybe"'),
        ("stream=stdout", 'invalid stream "stdout"'),
    ],
)
async def test_bad_options_are_named(world: World, path: Path, query: str, message: str) -> None:
    path.write_text(FOUR)
    assert message in await get(world, query, code=400)


async def test_a_container_without_a_log_is_told(world: World) -> None:
    assert "unable to retrieve container logs for id" in await get(world, code=500)
    assert "is waiting to start: ContainerCreating" in await get(world, container="c2", code=400)


def lines(path: Path, wanted: int) -> list[bytes]:
    with LogFile(path, LogOptions(tail_lines=wanted)) as log:
        log.seek()
        text = b""
        while (step := log.read())[0]:
            text += step[1]
    return text.split(b"\n")[:-1]


def test_the_tail_is_right_for_records_of_any_size(path: Path) -> None:
    choose = random.Random(7)
    expected: list[bytes] = []
    with path.open("w") as log:
        for number in range(400):
            parts = [f"{number}" + "y" * choose.choice((0, 1, 90, 8192)) for _ in range(choose.choice((1, 1, 1, 12)))]
            for part in parts[:-1]:
                log.write(record(number, part, tag="P"))
            log.write(record(number, parts[-1]))
            expected.append("".join(parts).encode())
    for wanted in (1, 2, 7, 50, 399, 400, 401):
        assert lines(path, wanted) == expected[-wanted:]


def bytes_read() -> int:
    """What this process has read so far (proc_pid_io(5))."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_the_tail_of_a_huge_log_reads_little_of_it(path: Path) -> None:
    with path.open("wb") as log:
        log.truncate(8 << 30)  # a hole: the file has no disk blocks
        log.seek(8 << 30)
        log.write(b"\n" + "".join(record(second, f"line {second}") for second in range(600)).encode())
    before = bytes_read()
    assert lines(path, 10) == [f"line {number}".encode() for number in range(590, 600)]
    assert bytes_read() - before < 1 << 20


def test_what_is_not_a_log_is_passed_over(path: Path) -> None:
    path.write_bytes(bytes(700_000) + b"\nnonsense\n\n" + record(1, "good").encode())
    assert lines(path, 10) == [b"good"]
    with LogFile(path, LogOptions()) as log:
        log.seek()
        text = b""
        while (step := log.read())[0]:
            text += step[1]
    assert text == b"good\n"
