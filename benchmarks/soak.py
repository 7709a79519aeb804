"""Writes without end over a bounded set of objects, with watchers, lists in pages, readers and backups beside it.

    .venv/bin/python benchmarks/soak.py [--writes 1000000] [--json FILE]

Fails with a sentence where a watch has lost, repeated or reordered a change, pages do not belong together, the
database or its write-ahead log outgrow their bounds, a backup is not whole, the store had anything to complain about,
or what is on the disk in the end is not what was answered. Prints the rate and the sizes meanwhile. Needs no root and
no server: registry and store run in this process, over a real file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sqlite3
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from podstead.objects.errors import StatusError
from podstead.objects.user import UserInfo
from podstead.registry.options import ListOptions, RequestContext
from podstead.registry.registry import Registry
from podstead.registry.resource import ResourceRegistry
from podstead.registry.watch import Event
from podstead.store.sqlite import SQLiteStore

WRITERS, NAMES = 16, 64
"""Writers, and objects of each: 1,024 objects at most."""
PADDING = 1000
"""Bytes in each object beside what makes it an object."""
ENTRY = 1600
"""Bytes that one revision of an object takes in the file, index included; a little more than is measured."""
SLACK = 24 << 20
"""Free pages that stay in the file, what is written between two compactions."""
WAL_LIMIT = 64 << 20
LAST = "zz-last"
"""The object that is written last: who has been told of it has been told all."""
ADMIN = UserInfo("soak", ("system:masters",))


class SoakFailed(Exception):
    """A promise was broken; the message says which."""


def check(holds: object, text: str) -> None:
    if not holds:
        raise SoakFailed(text)


@dataclass
class Story:
    """What a watcher has been told, as a count and a running checksum: two that were told the same are equal."""

    last: int = 0
    count: int = 0
    checksum: int = 0
    present: set[str] = field(default_factory=set)

    @property
    def over(self) -> bool:
        return LAST in self.present

    def add(self, event: Event) -> None:
        kind, entry = event.type.value, event.entry
        if kind == "BOOKMARK":
            return
        check(kind != "ERROR", f"a watcher that keeps up was cut: {entry.encoded.decode()}")
        check(entry.revision > self.last, f"revision {entry.revision} came after {self.last}")
        check((entry.name in self.present) == (kind != "ADDED"), f"{kind} of {entry.name} makes no sense")
        (self.present.discard if kind == "DELETED" else self.present.add)(entry.name)
        self.last = entry.revision
        self.count += 1
        self.checksum = zlib.crc32(b"%d %s %s" % (entry.revision, kind.encode(), entry.name.encode()), self.checksum)


@dataclass
class Soak:
    """One run over `registry`. `model` is what has been answered: name to revision."""

    registry: Registry
    path: Path
    writes: int
    keep: int
    maps: ResourceRegistry
    model: dict[str, int] = field(default_factory=dict)
    done: int = 0
    lists: int = 0
    pages: int = 0
    backups: int = 0
    finished: bool = False
    sizes: list[tuple[int, int, int]] = field(default_factory=list)
    """(writes, bytes of the database, bytes of its WAL)."""

    # -- writers

    async def write(self, number: int) -> None:
        chooser = random.Random(number)
        ctx, padding = RequestContext(ADMIN), "x" * PADDING
        for turn in range(self.writes // WRITERS):
            name = f"m{number}-{chooser.randrange(NAMES)}"
            obj: dict[str, Any] = {
                "metadata": {"name": name, "namespace": "default", "labels": {"odd": str(turn % 2)}},
                "data": {"turn": str(turn), "padding": padding},
            }
            if name not in self.model:
                self.model[name] = (await self.maps.create(ctx, "default", obj)).revision
            elif chooser.random() < 0.25:
                await self.maps.delete(ctx, "default", name)
                del self.model[name]
            else:
                self.model[name] = (await self.maps.update(ctx, "default", name, obj)).revision
            self.done += 1

    # -- watchers

    async def follow(self, story: Story) -> None:
        """Watch from `story.last` on, without a break."""
        async with self.maps.watch("", ListOptions(resource_version=str(story.last), allow_bookmarks=True)) as watch:
            while not story.over:
                for event in await watch.batch():
                    story.add(event)

    async def resume(self, story: Story, seed: int) -> None:
        """Watch from `story.last` on, leave after a while, and go on from there."""
        chooser = random.Random(seed)
        while not story.over:
            async with self.maps.watch("default", ListOptions(resource_version=str(story.last))) as watch:
                for _ in range(chooser.randrange(1, 20)):
                    for event in await watch.batch():
                        story.add(event)
                    if story.over:
                        return
                    for _ in range(chooser.randrange(4)):
                        await asyncio.sleep(0)

    async def follow_odd(self, start: int) -> None:
        """Watch by a label that objects get and lose, and hold what that makes against a list in the end."""
        story = Story(start)
        options = ListOptions(label_selector="odd=1", resource_version=str(start))
        async with self.maps.watch("default", options) as watch:
            while not story.over:
                for event in await watch.batch():
                    story.add(event)
        listed = await self.maps.list("default", ListOptions(label_selector="odd=1"))
        check({entry.name for entry in listed.items} == story.present, "a watch by label tells another end than a list")

    # -- readers

    async def list_pages(self, seed: int) -> None:
        """List in pages again and again: each list is of one revision, sorted, without a hole."""
        chooser = random.Random(seed)
        while not self.finished:
            await asyncio.sleep(0.01)
            limit = chooser.randrange(50, 400)
            page = await self.maps.list("default", ListOptions(limit=limit))
            names = [entry.name for entry in page.items]
            expected, revision, whole = len(names) + (page.remaining or 0), page.revision, True
            while page.continue_token:
                await asyncio.sleep(0)
                try:
                    page = await self.maps.list("default", ListOptions(limit=limit, continue_token=page.continue_token))
                except StatusError as error:
                    check(error.code == 410, f"a page was refused: {error.message}")
                    check(self.registry.revision - revision > self.keep / 2, "a page was gone too early")
                    whole = False
                    break
                check(page.revision == revision, "two pages of one list are of two revisions")
                check(all(entry.revision <= revision for entry in page.items), "a page shows what came later")
                names += [entry.name for entry in page.items]
                self.pages += 1
            check(names == sorted(names), "a list is not sorted")
            check(not whole or len(names) == expected, f"{len(names)} objects in pages, {expected} were announced")
            self.lists += 1

    async def read_past(self) -> None:
        """Read from the file without rest, each part of the past twice: both are equal, whatever is written between."""
        while not self.finished:
            await asyncio.sleep(0)
            past = max(self.registry.revision - self.keep // 4, self.maps.core.store.compacted)
            options = ListOptions(resource_version=str(past), resource_version_match="Exact", limit=20)
            try:
                first, second = [await self.maps.list("default", options) for _ in range(2)]
            except StatusError as error:
                check(error.code == 410, f"a list of the past was refused: {error.message}")
                continue
            same = [entry.encoded for entry in first.items] == [entry.encoded for entry in second.items]
            check(same, f"revision {past} was read twice and differs")

    async def back_up(self) -> None:
        """Copy the database as a backup tool does, and look whether the copy is whole."""
        while not self.finished:
            before = self.registry.revision
            check(await asyncio.to_thread(self._copy) >= before, "a backup lacks what was answered before it")
            self.backups += 1
            await asyncio.sleep(0.3)

    def _copy(self) -> int:
        target = self.path.with_name("backup.db")
        target.unlink(missing_ok=True)
        with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(target)) as copy:
            copy.execute("PRAGMA synchronous=OFF")
            source.backup(copy)
            check(copy.execute("PRAGMA integrity_check").fetchone() == ("ok",), "a backup is not whole")
            newest: int = copy.execute("SELECT max(revision) FROM history").fetchone()[0]
        return newest

    async def measure(self) -> None:
        step = max(self.writes // 20, 1)
        while not self.finished:
            if self.done >= (len(self.sizes) + 1) * step:
                self.sizes.append((self.done, size_of(self.path), size_of(Path(f"{self.path}-wal"))))
                print(_line(*self.sizes[-1]), flush=True)
                check(self.sizes[-1][1] < self.bound, f"the database has {self.sizes[-1][1]:,} bytes")
                check(self.sizes[-1][2] < WAL_LIMIT, f"the write-ahead log has {self.sizes[-1][2]:,} bytes")
            await asyncio.sleep(0.02)

    @property
    def bound(self) -> int:
        """Bytes that the database may have: what is present and kept, a quarter free, and some slack."""
        return (WRITERS * NAMES + self.keep) * ENTRY * 5 // 4 + SLACK

    # -- the whole

    async def run(self) -> float:
        """Return the writes a second."""
        start = self.registry.revision
        stories = [Story(start) for _ in range(5)]
        stuck = self.maps.watch("", ListOptions(resource_version=str(start)))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.follow(stories[0]))
            for number, story in enumerate(stories[1:]):
                group.create_task(self.resume(story, number))
            group.create_task(self.follow_odd(start))
            group.create_task(self.list_pages(1))
            group.create_task(self.read_past())
            group.create_task(self.back_up())
            group.create_task(self.measure())
            began = time.perf_counter()
            await asyncio.gather(*(self.write(number) for number in range(WRITERS)))
            rate = self.done / (time.perf_counter() - began)
            last = {"metadata": {"name": LAST, "namespace": "default", "labels": {"odd": "1"}}}
            self.model[LAST] = (await self.maps.create(RequestContext(ADMIN), "default", last)).revision
            self.finished = True
        check(stories[0].count == self.done + 1, f"{stories[0].count} changes were told, {self.done + 1} were made")
        check(all(story == stories[0] for story in stories), "two watchers were told different stories")
        cut = await stuck.batch()
        check(cut and cut[-1].object.get("code") == 410, "a watcher that never read was not cut")
        return rate


def _line(writes: int, database: int, wal: int) -> str:
    return f"{writes:>10,} {database / 1e6:>14.1f} {wal / 1e6:>9.1f}"


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def complaints() -> Iterator[list[str]]:
    """What the store logs meanwhile."""
    told: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    handler = Collect(logging.WARNING)
    logging.getLogger("podstead").addHandler(handler)
    try:
        yield told
    finally:
        logging.getLogger("podstead").removeHandler(handler)


@asynccontextmanager
async def opened(path: Path, keep: int) -> AsyncIterator[Registry]:
    store = SQLiteStore(path, keep_revisions=keep)
    await store.open()
    registry = Registry(store)
    try:
        await registry.start()
        yield registry
    finally:
        await registry.close()
        await store.close()


async def soak(path: Path, writes: int, keep: int) -> dict[str, Any]:
    """Run, then open the file again and compare; returns the figures. Raises SoakFailed."""
    with complaints() as told:
        async with opened(path, keep) as registry:
            namespace = {"metadata": {"name": "default"}}
            await registry.resources["namespaces"].create(RequestContext(ADMIN), "", namespace)
            run = Soak(registry, path, writes, keep, registry.resources["configmaps"])
            rate = await run.run()
            check(registry.store.compacted >= registry.revision - 2 * keep, "compaction does not keep up")
        check(size_of(Path(f"{path}-wal")) == 0, "a store that was closed leaves a write-ahead log")
        async with opened(path, keep) as registry:
            there = await registry.resources["configmaps"].list("default")
            check(
                {entry.name: entry.revision for entry in there.items} == run.model, "not all that was answered is there"
            )
        check(not told, f"the store complained: {told[:3]}")
    return {
        "writes": run.done,
        "rate": rate,
        "sizes": run.sizes,
        "bound": run.bound,
        "lists": run.lists,
        "pages": run.pages,
        "backups": run.backups,
        "closed": size_of(path),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes without end beside watchers, lists and backups.")
    parser.add_argument("--writes", type=int, default=1_000_000)
    parser.add_argument("--keep", type=int, default=10_000, help="revisions of history that the store keeps")
    parser.add_argument("--directory", type=Path, help="where the database is (default: a temporary directory)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    print(f"{'writes':>10} {'database, MB':>14} {'WAL, MB':>9}")
    with tempfile.TemporaryDirectory(prefix="podstead-soak-", dir=args.directory) as directory:
        try:
            figures = uvloop.run(soak(Path(directory) / "state.db", args.writes, args.keep))
        except (SoakFailed, BaseExceptionGroup) as failed:
            broken = failed
            while isinstance(broken, BaseExceptionGroup):
                broken = broken.exceptions[0]
            if not isinstance(broken, SoakFailed):
                raise
            print(f"soak failed: {broken}", file=sys.stderr)
            return 1
    print(
        f"{figures['writes']:,} writes at {figures['rate']:,.0f}/s, {figures['lists']:,} lists in {figures['pages']:,} "
        f"pages, {figures['backups']:,} backups; bound {figures['bound'] / 1e6:.0f} MB, "
        f"closed {figures['closed'] / 1e6:.1f} MB"
    )
    if args.json:
        args.json.write_text(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
