"""Watches over HTTP: order, forms, ends, and what they leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from apiserver_harness import KUBECTL, Instance, eventually

from podstead.registry import watch as watch_module
from support.registry import ADMIN

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
WATCH_LIST = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"


class Stream:
    """The lines of a watch."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Any:
        line = await asyncio.wait_for(self.response.content.readline(), 10)
        return json.loads(line) if line else None


@contextlib.asynccontextmanager
async def watching(instance: Instance, path: str, accept: str = "") -> AsyncIterator[Stream]:
    headers = {"Accept": accept} if accept else {}
    async with instance.http.get(path, headers=headers, timeout=aiohttp.ClientTimeout(None)) as response:
        assert response.status == 200, await response.read()
        yield Stream(response)


async def make(instance: Instance, name: str = "cm", **more: Any) -> None:
    answer = await instance.ask("POST", CONFIGMAPS, json={"metadata": {"name": name}, **more})
    assert answer.status == 201, answer.body


def told(event: Any) -> tuple[str, str]:
    return event["type"], event["object"]["metadata"]["name"]


@pytest.mark.parametrize("path", [f"{CONFIGMAPS}?watch=true", "/api/v1/watch/namespaces/default/configmaps"])
async def test_a_watch_tells_what_is_there_and_what_changes(instance: Instance, path: str) -> None:
    await make(instance, "a")
    async with watching(instance, path) as stream:
        assert stream.response.headers["Content-Type"] == "application/json"
        assert stream.response.headers["Transfer-Encoding"] == "chunked"
        assert told(await stream.next()) == ("ADDED", "a")
        await make(instance, "b")
        assert told(await stream.next()) == ("ADDED", "b")
        await instance.ask("PUT", f"{CONFIGMAPS}/a", json={"data": {"x": "y"}})
        event = await stream.next()
        assert told(event) == ("MODIFIED", "a") and event["object"]["data"] == {"x": "y"}
        await instance.ask("DELETE", f"{CONFIGMAPS}/a")
        assert told(await stream.next()) == ("DELETED", "a")


@pytest.mark.parametrize(
    "path",
    [
        f"{CONFIGMAPS}/b?watch=1",
        "/api/v1/watch/namespaces/default/configmaps/b",
        f"{CONFIGMAPS}?watch=1&fieldSelector=metadata.name%3Db",
    ],
)
async def test_one_object_can_be_watched(instance: Instance, path: str) -> None:
    async with watching(instance, path) as stream:
        await make(instance, "a")
        await make(instance, "b")
        assert told(await stream.next()) == ("ADDED", "b")


async def test_a_watch_goes_on_where_a_list_ended(instance: Instance) -> None:
    await make(instance, "a")
    version = (await instance.get(CONFIGMAPS))["metadata"]["resourceVersion"]
    await make(instance, "b")
    async with watching(instance, f"{CONFIGMAPS}?watch=1&resourceVersion={version}") as stream:
        assert told(await stream.next()) == ("ADDED", "b")


@pytest.mark.parametrize("accept", ["", TABLE, PARTIAL])
async def test_initial_events_end_with_an_annotated_bookmark(instance: Instance, accept: str) -> None:
    await make(instance, "a")
    async with watching(instance, f"{CONFIGMAPS}?{WATCH_LIST}", accept) as stream:
        added, bookmark = await stream.next(), await stream.next()
    assert (added["type"], bookmark["type"]) == ("ADDED", "BOOKMARK")
    obj = bookmark["object"]
    if accept == TABLE:
        assert obj["metadata"]["resourceVersion"]
        obj = obj["rows"][0]["object"]
    assert obj["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert obj["metadata"]["resourceVersion"]


async def test_a_table_watch_names_its_columns_once(instance: Instance) -> None:
    async with watching(instance, f"{CONFIGMAPS}?watch=1", TABLE) as stream:
        await make(instance, "a")
        await make(instance, "b")
        first, second = await stream.next(), await stream.next()
    assert [column["name"] for column in first["object"]["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert second["object"]["columnDefinitions"] is None
    assert second["object"]["rows"][0]["cells"][0] == "b"


async def test_a_partial_watch_has_metadata_alone(instance: Instance) -> None:
    async with watching(instance, f"{CONFIGMAPS}?watch=1", PARTIAL) as stream:
        await make(instance, "a", data={"x": "y"})
        obj = (await stream.next())["object"]
    assert obj["kind"] == "PartialObjectMetadata" and "data" not in obj


async def test_a_watch_ends_in_good_order_when_its_time_is_up(instance: Instance) -> None:
    async with watching(instance, f"{CONFIGMAPS}?watch=1&timeoutSeconds=1") as stream:
        assert await stream.next() is None


async def test_a_revision_that_is_gone_is_an_error_event(instance: Instance) -> None:
    cache = instance.registry.resources["configmaps"].core.cache
    cache.oldest = cache.revision + 10
    async with watching(instance, f"{CONFIGMAPS}?watch=1&resourceVersion=1") as stream:
        event = await stream.next()
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
        assert await stream.next() is None


async def test_a_burst_arrives_whole_and_in_order(instance: Instance) -> None:
    async with watching(instance, f"{CONFIGMAPS}?watch=1") as stream:
        await asyncio.gather(*(make(instance, f"n{number}") for number in range(60)))
        versions = [int((await stream.next())["object"]["metadata"]["resourceVersion"]) for _ in range(60)]
    assert versions == sorted(versions) and len(set(versions)) == 60


async def test_a_client_that_goes_frees_its_watch(instance: Instance) -> None:
    watches = instance.registry.resources["configmaps"].core.cache.watches
    async with watching(instance, f"{CONFIGMAPS}?watch=1") as stream:
        assert len(watches) == 1
        stream.response.close()
        await eventually(lambda: not watches and not instance.server._dispatcher.watches)


async def test_a_client_that_does_not_read_loses_its_connection_and_holds_up_nobody(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "LOST_SECONDS", 0.05)
    cache = instance.registry.resources["configmaps"].core.cache
    monkeypatch.setattr(cache, "_window_events", 20)
    await make(instance, "big")
    client = instance.registry.client(ADMIN)
    async with (
        watching(instance, f"{CONFIGMAPS}?watch=1") as slow,
        watching(instance, f"{CONFIGMAPS}?watch=1") as quick,
    ):
        await quick.next()
        assert await slow.next()
        for turn in range(60):
            await client.patch("configmaps", "big", "default", {"data": {"x": f"{turn:03}" * 150_000}})
            assert (await quick.next())["object"]["data"]["x"][:3] == f"{turn:03}"
        await eventually(lambda: len(cache.watches) == 1)


async def test_a_server_that_stops_ends_watches_in_good_order(instance: Instance) -> None:
    async with watching(instance, f"{CONFIGMAPS}?watch=1") as stream:
        async with asyncio.timeout(5):
            await instance.server.close()
        assert await stream.next() is None


async def test_kubectl_get_w_prints_each_change(instance: Instance) -> None:
    async with asyncio.timeout(30):
        process = await asyncio.create_subprocess_exec(
            "timeout", "20", str(KUBECTL), "get", "cm", "-w", "--kubeconfig", str(instance.kubeconfig),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            watches = instance.registry.resources["configmaps"].core.cache.watches
            await eventually(lambda: watches)
            await make(instance, "a", data={"x": "y"})
            assert (await process.stdout.readline()).split() == [b"NAME", b"DATA", b"AGE"]
            assert (await process.stdout.readline()).split()[:2] == [b"a", b"1"]
            await instance.ask("PUT", f"{CONFIGMAPS}/a", json={"data": {}})
            assert (await process.stdout.readline()).split()[:2] == [b"a", b"0"]
        finally:
            process.terminate()
            await process.wait()
