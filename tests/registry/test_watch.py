"""Watches: exact order from any revision, initial events, bookmarks, selectors, those who do not keep up."""

from __future__ import annotations

import asyncio
import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from podstead.objects.errors import StatusError
from podstead.registry import cache
from podstead.registry import watch as watches
from podstead.registry.client import RegistryClient
from podstead.registry.options import ListOptions
from podstead.registry.registry import Registry
from podstead.registry.watch import Event, Watch
from podstead.store.sqlite import SQLiteStore
from support.registry import ADMIN, make_map, open_registry


async def take(watch: Watch, count: int) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(20):
        while len(events) < count:
            events.append(await anext(watch))
    return events


def shown(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.type.value, event.entry.name) for event in events]


@pytest.mark.parametrize("seed", range(5))
async def test_no_watcher_skips_repeats_or_reorders(registry: Registry, client: RegistryClient, seed: int) -> None:
    """Concurrent writers, and watchers that join at random moments from random revisions and read at random paces."""
    chooser = random.Random(seed)
    maps = registry.resources["configmaps"]
    start = registry.revision
    reference = maps.watch("", ListOptions(resource_version=str(start)))
    writers, turns = 6, 40
    stories: list[tuple[int, list[tuple[int, str, str]]]] = []

    async def write(number: int) -> None:
        mine = random.Random(seed * 100 + number)
        for turn in range(turns):
            name = f"m{mine.randrange(8)}"
            kind = mine.random()
            try:
                if kind < 0.35:
                    await client.create("configmaps", make_map(name, {"by": f"{number}-{turn}"}))
                elif kind < 0.75:
                    await client.patch("configmaps", name, "default", {"data": {"by": f"{number}-{turn}"}})
                else:
                    await client.delete("configmaps", name, "default")
            except StatusError as error:
                assert error.code in (404, 409)

    async def watch() -> None:
        begin = chooser.randrange(start, registry.revision + 1)
        story: list[tuple[int, str, str]] = []
        stories.append((begin, story))
        async with maps.watch("", ListOptions(resource_version=str(begin))) as events:
            async for event in events:
                story.append((event.entry.revision, event.type.value, event.entry.name))
                if event.entry.name == "last":
                    return
                for _ in range(chooser.randrange(4)):
                    await asyncio.sleep(0)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = [group.create_task(write(number)) for number in range(writers)]
        for _ in range(12):
            for _ in range(chooser.randrange(30)):
                await asyncio.sleep(0)
            group.create_task(watch())
        await asyncio.gather(*tasks)
        await client.create("configmaps", make_map("last"))

    full: list[tuple[int, str, str]] = []
    while not full or full[-1][2] != "last":
        event = (await take(reference, 1))[0]
        full.append((event.entry.revision, event.type.value, event.entry.name))
    reference.close()
    assert all(before[0] < after[0] for before, after in pairwise(full))
    assert_consistent(full)
    for begin, story in stories:
        assert story == [event for event in full if event[0] > begin]


def assert_consistent(events: list[tuple[int, str, str]]) -> None:
    """An object is added only when it is not there, changed or removed only when it is."""
    present: set[str] = set()
    for _, kind, name in events:
        assert (name in present) == (kind != "ADDED")
        (present.discard if kind == "DELETED" else present.add)(name)


async def test_a_list_and_the_watch_after_it_make_the_whole(registry: Registry, client: RegistryClient) -> None:
    """Folding the events of a watch into the list it continues gives what is there in the end."""
    maps = registry.resources["configmaps"]
    ends: list[dict[str, str]] = []
    done = asyncio.Event()

    async def follow() -> None:
        listing = await maps.list("default")
        state = {entry.name: entry.encoded.decode() for entry in listing.items}
        async with maps.watch("default", ListOptions(resource_version=str(listing.revision))) as events:
            async for event in events:
                if event.type.value == "DELETED":
                    del state[event.entry.name]
                else:
                    state[event.entry.name] = event.entry.encoded.decode()
                if done.is_set() and event.entry.name == "last":
                    ends.append(state)
                    return

    async def write(number: int) -> None:
        for turn in range(30):
            await client.create("configmaps", make_map(f"m{number}", {"turn": str(turn)}))
            await client.patch("configmaps", f"m{number}", "default", {"data": {"more": "x"}})
            if turn < 29:
                await client.delete("configmaps", f"m{number}", "default")

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        writers = [group.create_task(write(number)) for number in range(5)]
        for _ in range(10):
            group.create_task(follow())
            await asyncio.sleep(0)
        await asyncio.gather(*writers)
        done.set()
        await client.create("configmaps", make_map("last"))
    expected = {entry.name: entry.encoded.decode() for entry in (await maps.list("default")).items}
    assert len(ends) == 10 and all(state == expected for state in ends)


async def test_an_event_is_encoded_once_for_all(registry: Registry, client: RegistryClient) -> None:
    maps = registry.resources["configmaps"]
    watches = [maps.watch("default", ListOptions(resource_version=str(registry.revision))) for _ in range(1000)]
    made = await client.create("configmaps", make_map())
    lines = [(await take(watch, 1))[0].encoded() for watch in watches]
    assert all(line is lines[0] for line in lines)
    assert lines[0].endswith(b"}\n") and json.loads(lines[0]) == {"type": "ADDED", "object": made}
    for watch in watches:
        watch.close()


async def test_without_a_revision_what_is_there_comes_first(registry: Registry, client: RegistryClient) -> None:
    await client.create("configmaps", make_map("a"))
    for version in ("", "0"):
        async with registry.resources["configmaps"].watch("default", ListOptions(resource_version=version)) as watch:
            created = await client.create("configmaps", make_map(f"b{version}"))
            events = await take(watch, 2 if not version else 3)
            assert shown(events)[0] == ("ADDED", "a")
            assert events[-1].object == created


async def test_watch_list(registry: Registry, client: RegistryClient) -> None:
    """sendInitialEvents: what is there, then a bookmark that says that this was all, then live events."""
    await client.create("configmaps", make_map("a", labels={"x": "1"}))
    await client.create("configmaps", make_map("b"))
    options = ListOptions(
        send_initial_events=True,
        resource_version_match="NotOlderThan",
        allow_bookmarks=True,
        label_selector="x=1",
    )
    async with registry.resources["configmaps"].watch("default", options) as watch:
        revision = registry.revision
        first = await take(watch, 2)
        assert shown(first) == [("ADDED", "a"), ("BOOKMARK", "")]
        assert json.loads(first[1].encoded()) == {
            "type": "BOOKMARK",
            "object": {
                "kind": "ConfigMap",
                "apiVersion": "v1",
                "metadata": {
                    "resourceVersion": str(revision),
                    "creationTimestamp": None,
                    "annotations": {"k8s.io/initial-events-end": "true"},
                },
            },
        }
        await client.create("configmaps", make_map("c", labels={"x": "1"}))
        assert shown(await take(watch, 1)) == [("ADDED", "c")]


async def test_no_initial_events_when_they_are_not_wanted(registry: Registry, client: RegistryClient) -> None:
    await client.create("configmaps", make_map("a"))
    options = ListOptions(send_initial_events=False, resource_version_match="NotOlderThan")
    async with registry.resources["configmaps"].watch("default", options) as watch:
        await client.create("configmaps", make_map("b"))
        assert shown(await take(watch, 1)) == [("ADDED", "b")]


async def test_a_watch_list_of_a_revision_to_come_waits_for_it(registry: Registry, client: RegistryClient) -> None:
    """The initial state, and the bookmark that ends it, are not older than the revision asked for."""
    options = ListOptions(
        send_initial_events=True,
        resource_version_match="NotOlderThan",
        resource_version=str(registry.revision + 2),
        allow_bookmarks=True,
    )
    async with registry.resources["configmaps"].watch("default", options) as watch:
        waiting = asyncio.create_task(take(watch, 3))
        await asyncio.sleep(0)
        for name in "ab":
            await client.create("configmaps", make_map(name))
        first = await waiting
        assert shown(first) == [("ADDED", "a"), ("ADDED", "b"), ("BOOKMARK", "")]
        assert first[2].object["metadata"]["resourceVersion"] == str(registry.revision)
        await client.create("configmaps", make_map("c"))
        assert shown(await take(watch, 1)) == [("ADDED", "c")]


async def test_a_watch_list_that_waits_in_vain_is_told(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "FRESH_SECONDS", 0.01)
    options = ListOptions(
        send_initial_events=True,
        resource_version_match="NotOlderThan",
        resource_version="999999",
        allow_bookmarks=True,
    )
    async with registry.resources["configmaps"].watch("default", options) as watch:
        (event,) = await watch.batch()
        assert await watch.batch() == []
    status = event.object
    assert (event.type.value, status["code"], status["reason"]) == ("ERROR", 504, "Timeout")
    assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (ListOptions(send_initial_events=True), "sendInitialEvents requires setting resourceVersionMatch"),
        (ListOptions(resource_version_match="Exact", resource_version="1"), "resourceVersionMatch is forbidden"),
        (
            ListOptions(resource_version_match="Exact", resource_version="1", send_initial_events=True),
            'Unsupported value: "Exact": supported values: "NotOlderThan"',
        ),
        (
            ListOptions(resource_version_match="NotOlderThan", send_initial_events=True, continue_token="x"),
            "resourceVersionMatch is forbidden when continue is provided",
        ),
    ],
)
async def test_what_a_watch_refuses(registry: Registry, options: ListOptions, text: str) -> None:
    with pytest.raises(StatusError, match=text) as error:
        registry.resources["configmaps"].watch("default", options)
    assert error.value.code == 422


async def test_selectors_turn_changes_into_what_the_watcher_sees(registry: Registry, client: RegistryClient) -> None:
    maps = registry.resources["configmaps"]
    options = ListOptions(resource_version=str(registry.revision), label_selector="on=yes")
    async with maps.watch("default", options) as watch:
        await client.create("configmaps", make_map("m", {"v": "1"}))
        await client.patch("configmaps", "m", "default", {"metadata": {"labels": {"on": "yes"}}, "data": {"v": "2"}})
        await client.patch("configmaps", "m", "default", {"data": {"v": "3"}})
        left = await client.patch("configmaps", "m", "default", {"metadata": {"labels": None}, "data": {"v": "4"}})
        await client.patch("configmaps", "m", "default", {"data": {"v": "5"}})
        await client.patch("configmaps", "m", "default", {"metadata": {"labels": {"on": "yes"}}})
        await client.delete("configmaps", "m", "default")
        events = await take(watch, 5)
    assert [event.type.value for event in events] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]
    # Gone for this watcher: the last state that it could see, at the revision of the change.
    assert events[2].object["data"] == {"v": "3"}
    assert events[2].object["metadata"]["resourceVersion"] == left["metadata"]["resourceVersion"]
    assert json.loads(events[2].encoded())["object"] == events[2].object
    assert int(events[4].object["metadata"]["resourceVersion"]) == registry.revision


async def test_a_watch_of_one_object(registry: Registry, client: RegistryClient) -> None:
    maps = registry.resources["configmaps"]
    options = ListOptions(resource_version=str(registry.revision), field_selector="metadata.name=b")
    async with maps.watch("default", options) as watch:
        for name in "abc":
            await client.create("configmaps", make_map(name))
        await client.delete("configmaps", "b", "default")
        assert shown(await take(watch, 2)) == [("ADDED", "b"), ("DELETED", "b")]


async def test_a_removal_carries_its_own_revision(registry: Registry, client: RegistryClient) -> None:
    made = await client.create("configmaps", make_map())
    options = ListOptions(resource_version=made["metadata"]["resourceVersion"])
    async with registry.resources["configmaps"].watch("default", options) as watch:
        await client.delete("configmaps", "m", "default")
        event = (await take(watch, 1))[0]
    assert event.type.value == "DELETED"
    assert event.object["metadata"].pop("resourceVersion") == str(registry.revision)
    assert event.object["metadata"] == {k: v for k, v in made["metadata"].items() if k != "resourceVersion"}


async def test_a_revision_that_is_too_old_is_410(registry: Registry) -> None:
    restarted = Registry(registry.store)
    await restarted.start()
    maps = restarted.resources["configmaps"]
    async with maps.watch("default", ListOptions(resource_version=str(restarted.revision - 1))) as watch:
        (event,) = await watch.batch()
        assert await watch.batch() == []
    await restarted.close()
    assert event.type.value == "ERROR"
    status = json.loads(event.encoded())["object"]
    assert (status["code"], status["reason"], status["status"]) == (410, "Expired", "Failure")
    wanted = f"too old resource version: {restarted.revision - 1} ({restarted.revision})"
    assert status["message"] == wanted


async def test_a_watcher_that_does_not_read_is_cut_and_holds_up_nobody(tmp_path: Path) -> None:
    async with open_registry(tmp_path / "state.db", window_events=50) as registry:
        client = registry.client(ADMIN)
        maps = registry.resources["configmaps"]
        begin = str(registry.revision)
        slow = maps.watch("default", ListOptions(resource_version=begin))
        quick = maps.watch("default", ListOptions(resource_version=begin))
        await client.create("configmaps", make_map("m"))
        assert shown(await take(slow, 1)) == shown(await take(quick, 1))
        for turn in range(60):
            await client.patch("configmaps", "m", "default", {"data": {"turn": str(turn)}})
            event = (await take(quick, 1))[0]
            assert event.object["data"] == {"turn": str(turn)}
        (error,) = await take(slow, 1)
        assert error.type.value == "ERROR" and error.object["code"] == 410
        with pytest.raises(StopAsyncIteration):
            await anext(slow)
        assert slow not in maps.core.cache.watches
        quick.close()


async def test_a_watcher_of_something_else_does_not_fall_behind(tmp_path: Path) -> None:
    """Waiting, it follows changes that do not concern it without being woken."""
    async with open_registry(tmp_path / "state.db", window_events=10) as registry:
        client = registry.client(ADMIN)
        options = ListOptions(resource_version=str(registry.revision), field_selector="metadata.name=other")
        watch = registry.resources["configmaps"].watch("default", options)
        waiting = asyncio.create_task(take(watch, 1))
        await asyncio.sleep(0)
        await client.create("configmaps", make_map("m"))
        for turn in range(40):
            await client.patch("configmaps", "m", "default", {"data": {"turn": str(turn)}})
        assert not waiting.done()
        await client.create("configmaps", make_map("other"))
        assert shown(await waiting) == [("ADDED", "other")]
        watch.close()


async def test_bookmarks_come_with_the_minute_and_with_other_resources(
    registry: Registry, client: RegistryClient
) -> None:
    maps = registry.resources["configmaps"]
    begin = str(registry.revision)
    wanted = maps.watch("default", ListOptions(resource_version=begin, allow_bookmarks=True))
    other = maps.watch("default", ListOptions(resource_version=begin))
    await client.create("secrets", {"metadata": {"name": "s"}}, "default")
    maps.core.cache.send_bookmarks()
    (event,) = await take(wanted, 1)
    assert event.type.value == "BOOKMARK" and event.object["metadata"]["resourceVersion"] == str(registry.revision)
    # One who did not ask gets none; one with events pending gets them before.
    await client.create("configmaps", make_map())
    maps.core.cache.send_bookmarks()
    assert [event.type.value for event in await take(wanted, 2)] == ["ADDED", "BOOKMARK"]
    assert [event.type.value for event in await take(other, 1)] == ["ADDED"]
    assert other._collect() == []
    wanted.close()
    other.close()


async def test_the_timer_sends_them(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "state.db")
    registry = Registry(store, tick_seconds=0.01)
    await registry.start()
    options = ListOptions(resource_version=str(registry.revision), allow_bookmarks=True)
    async with registry.resources["pods"].watch("", options) as watch:
        assert (await take(watch, 1))[0].type.value == "BOOKMARK"
    await registry.close()
    await store.close()


async def test_a_last_bookmark_comes_before_the_end(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "LAST_BOOKMARK_SECONDS", 0.01)
    options = ListOptions(resource_version=str(registry.revision), allow_bookmarks=True, timeout_seconds=0.02)
    async with asyncio.timeout(10), registry.resources["configmaps"].watch("default", options) as watch:
        assert [event.type.value async for event in watch] == ["BOOKMARK"]


async def test_what_is_handed_out_at_once_is_bounded_in_bytes(registry: Registry, client: RegistryClient) -> None:
    """A watcher that does not read holds one batch, whatever the size of the objects."""
    begin = str(registry.revision)
    for number in range(5):
        await client.create("configmaps", make_map(f"m{number}", {"x": "x" * 600_000}))
    maps = registry.resources["configmaps"]
    for version in (begin, "0"):
        async with maps.watch("default", ListOptions(resource_version=version)) as watch:
            assert [len(await watch.batch()) for _ in range(3)] == [2, 2, 1]


async def test_the_window_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_registry(tmp_path / "state.db") as registry:
        maps = registry.resources["configmaps"]
        held = maps.core.cache
        monkeypatch.setattr(held, "_window_bytes", 100_000)
        begin, client = registry.revision, registry.client(ADMIN)
        await client.create("configmaps", make_map("m"))
        for turn in range(30):
            await client.patch("configmaps", "m", "default", {"data": {"x": str(turn) * 5_000}})
        assert 50_000 < sum(len(change.entry.encoded) for change in held.window) == held._held <= 100_000
        async with maps.watch("", ListOptions(resource_version=str(begin))) as watch:
            assert (await take(watch, 1))[0].object["message"] == f"too old resource version: {begin} ({held.oldest})"
        async with maps.watch("", ListOptions(resource_version=str(held.oldest))) as watch:
            events = await take(watch, len(held.window))
            assert [event.entry.revision for event in events] == [change.revision for change in held.window]


async def test_who_does_not_ask_again_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the end of its time, or out of the window: whoever sends for it learns that nobody takes anything."""
    monkeypatch.setattr(watches, "LOST_SECONDS", 0.01)
    async with asyncio.timeout(20), open_registry(tmp_path / "state.db", window_events=5) as registry:
        client = registry.client(ADMIN)
        maps = registry.resources["configmaps"]
        for seconds in (0.01, None):
            gone, name = asyncio.Event(), "timed" if seconds else "cut"
            options = ListOptions(resource_version=str(registry.revision), timeout_seconds=seconds)
            async with maps.watch("default", options) as watch:
                watch.lost = gone.set
                await client.create("configmaps", make_map(name))
                assert len(await watch.batch()) == 1
                for turn in range(10 if seconds is None else 0):
                    await client.patch("configmaps", name, "default", {"data": {"turn": str(turn)}})
                await gone.wait()


async def test_a_watch_ends_with_its_time_and_with_the_registry(registry: Registry) -> None:
    maps = registry.resources["configmaps"]
    async with asyncio.timeout(10):
        assert await maps.watch("default", ListOptions(timeout_seconds=0.01)).batch() == []
        watch = maps.watch("default", ListOptions())
        waiting = asyncio.create_task(watch.batch())
        await asyncio.sleep(0)
        await registry.close()
        assert await waiting == []
    assert not maps.core.cache.watches


async def test_events_expire(registry: Registry, client: RegistryClient) -> None:
    def event(name: str, last: str) -> dict[str, Any]:
        return {
            "metadata": {"name": name},
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
            "reason": "Started",
            "type": "Normal",
            "lastTimestamp": last,
        }

    events = registry.resources["events"].core
    for name in ("old", "new"):
        made = await client.create("events", event(name, "2020-01-01T00:00:00Z"), "default")
        if name == "old":
            aged = {**made, "metadata": {**made["metadata"], "creationTimestamp": "2020-01-01T00:00:00Z"}}
            await events.commit_update(events.current("default", "old"), aged)
    await registry.expire_events()
    assert [entry["metadata"]["name"] for entry in (await client.list("events")).items] == ["new"]


async def test_a_revision_that_fell_out_of_the_window_is_410_and_the_next_is_not(tmp_path: Path) -> None:
    async with open_registry(tmp_path / "state.db", window_events=10) as registry:
        client = registry.client(ADMIN)
        maps = registry.resources["configmaps"]
        versions = []
        for number in range(30):
            made = await client.create("configmaps", make_map(f"m{number}"))
            versions.append(made["metadata"]["resourceVersion"])
        for number in range(30):
            async with maps.watch("", ListOptions(resource_version=versions[number])) as watch:
                if number < 19:
                    (event,) = await watch.batch()
                    assert event.type.value == "ERROR" and event.object["reason"] == "Expired"
                else:
                    expected = [("ADDED", f"m{later}") for later in range(number + 1, 30)]
                    assert shown(await take(watch, len(expected))) == expected


async def test_a_revision_to_come_is_waited_for(registry: Registry, client: RegistryClient) -> None:
    options = ListOptions(resource_version=str(registry.revision + 2))
    async with registry.resources["configmaps"].watch("", options) as watch:
        for name in "abc":
            await client.create("configmaps", make_map(name))
        assert shown(await take(watch, 1)) == [("ADDED", "c")]


async def test_decoded_objects_that_nobody_holds_are_let_go(registry: Registry, client: RegistryClient) -> None:
    held = await client.create("configmaps", make_map("a"), "default")
    cache = registry.resources["configmaps"].core.cache
    (entry,) = cache.scan(cache.prefix)
    cache.slim()
    assert entry.object is held
    del held
    cache.slim()
    assert entry._object is None
    assert entry.object["metadata"]["name"] == "a"


async def test_a_change_that_was_slimmed_is_told_the_same(registry: Registry, client: RegistryClient) -> None:
    version = str(registry.revision)
    await client.create("configmaps", make_map("a"), "default")
    maps = registry.resources["configmaps"]
    lines = []
    for _ in range(2):
        async with maps.watch("", ListOptions(resource_version=version)) as watch:
            (event,) = await watch.batch()
            lines.append(event.encoded())
        maps.core.cache.slim()
    assert lines[0] == lines[1]
