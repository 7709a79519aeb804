"""Lists: selectors, what resourceVersion means, pages that belong together while others write."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from pathlib import Path

import pytest

from podstead.objects.errors import StatusError
from podstead.registry import cache
from podstead.registry.client import RegistryClient
from podstead.registry.options import ListOptions
from podstead.registry.registry import Registry
from podstead.store.sqlite import SQLiteStore
from support.registry import ADMIN, make_map, make_pod, open_registry


def token(revision: int, start: str = "a") -> str:
    text = f'{{"v": "meta.k8s.io/v1", "rv": {revision}, "start": "{start}"}}'
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def names(registry: Registry, resource: str, namespace: str = "default", **options: object) -> list[str]:
    listing = await registry.resources[resource].list(namespace, ListOptions(**options))  # type: ignore[arg-type]
    return [entry.name for entry in listing.items]


async def test_lists_are_sorted_and_by_namespace(registry: Registry, client: RegistryClient) -> None:
    for namespace, name in (("kube-system", "a"), ("default", "b"), ("default", "a")):
        await client.create("configmaps", {"metadata": {"name": name}}, namespace)
    assert await names(registry, "configmaps") == ["a", "b"]
    assert await names(registry, "configmaps", "kube") == []
    everywhere = await registry.resources["configmaps"].list("")
    assert [(entry.namespace, entry.name) for entry in everywhere.items] == [
        ("default", "a"),
        ("default", "b"),
        ("kube-system", "a"),
    ]


async def test_selectors(registry: Registry, client: RegistryClient) -> None:
    for name, labels in (("p1", {"app": "web"}), ("p2", {"app": "db"}), ("p3", {"app": "web", "old": ""})):
        await client.create("pods", make_pod(name, labels=labels), "default")
    await client.create_subresource("pods", "p2", "default", "binding", {"target": {"name": "n"}})
    for options, expected in (
        ({"label_selector": "app=web,!old"}, ["p1"]),
        ({"field_selector": "spec.nodeName=n"}, ["p2"]),
        ({"field_selector": "spec.nodeName=,status.phase=Pending"}, ["p1", "p3"]),
        ({"field_selector": "metadata.name=p3"}, ["p3"]),
        ({"field_selector": "metadata.name=p3", "label_selector": "app=db"}, []),
        ({"field_selector": "spec.hostNetwork=false,metadata.name!=p1", "label_selector": "app"}, ["p2", "p3"]),
    ):
        assert await names(registry, "pods", **options) == expected, options
        assert await names(registry, "pods", "", **options) == expected, options


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (ListOptions(field_selector="spec.colour=red"), 400, "field label not supported: spec.colour"),
        (ListOptions(label_selector="a in b"), 400, "unable to parse requirement"),
        (ListOptions(resource_version="abc"), 400, 'Invalid value: "abc"'),
        (ListOptions(resource_version="999999"), 504, "Too large resource version: 999999, current: "),
        (ListOptions(resource_version_match="Exact"), 422, "forbidden unless resourceVersion is provided"),
        (
            ListOptions(resource_version="1", resource_version_match="Newest"),
            422,
            'resourceVersionMatch: Unsupported value: "Newest": supported values: "Exact", "NotOlderThan", ""',
        ),
        (ListOptions(resource_version="0", resource_version_match="Exact"), 422, "is forbidden for resourceVersion"),
        (ListOptions(continue_token="rubbish"), 400, "continue key is not valid"),
        (ListOptions(continue_token=token(0)), 400, "continue key is not valid"),
        (ListOptions(continue_token=token(3, "/../x")), 400, "continue key is not valid"),
        (ListOptions(continue_token=token(10**30)), 400, "continue key is not valid"),
        (ListOptions(continue_token=token(3, "a//b")), 400, "continue key is not valid: a//b"),
        (ListOptions(continue_token=token(3, "//a")), 400, "continue key is not valid: //a"),
        (ListOptions(continue_token=token(3, "")), 400, "encoded start key empty (version meta.k8s.io/v1)"),
        (ListOptions(continue_token=token(-2)), 400, "incorrect encoded start resourceVersion"),
        (ListOptions(continue_token=token(3), resource_version="1"), 400, "not allowed when using continue"),
        (
            ListOptions(continue_token=token(3), resource_version_match="Exact"),
            422,
            "[resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided, "
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided]",
        ),
        (ListOptions(send_initial_events=True), 422, "sendInitialEvents is forbidden for list"),
        (ListOptions(resource_version=str(2**64)), 400, f'parsing "{2**64}": value out of range'),
    ],
)
async def test_what_a_list_refuses(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, options: ListOptions, code: int, text: str
) -> None:
    monkeypatch.setattr(cache, "FRESH_SECONDS", 0.01)
    with pytest.raises(StatusError) as error:
        await registry.resources["configmaps"].list("default", options)
    assert error.value.code == code and text in error.value.message, error.value.message


async def test_pages_show_one_state_while_others_write(registry: Registry, client: RegistryClient) -> None:
    await asyncio.gather(*(client.create("configmaps", make_map(f"m{n:02}", {"v": "1"})) for n in range(23)))
    maps = registry.resources["configmaps"]
    first = await maps.list("default", ListOptions(limit=5))
    assert first.remaining == 18
    pages, seen = [first], [entry.name for entry in first.items]
    while pages[-1].continue_token:
        # What is written between two pages is in none of them.
        turn = len(pages)
        await client.create("configmaps", make_map(f"m{turn:02}-new"))
        await client.delete("configmaps", f"m{22 - turn}", "default")
        await client.patch("configmaps", "m20" if turn < 2 else "m01", "default", {"data": {"v": str(turn + 1)}})
        page = await maps.list("default", ListOptions(limit=5, continue_token=pages[-1].continue_token))
        pages.append(page)
        seen += [entry.name for entry in page.items]
        assert page.revision == first.revision
        assert all(entry.object["data"] == {"v": "1"} for entry in page.items)
    assert seen == [f"m{n:02}" for n in range(23)]
    assert [page.remaining for page in pages] == [18, 13, 8, 3, None]


async def test_pages_with_a_selector(registry: Registry, client: RegistryClient) -> None:
    labelled = (make_map(f"m{n:02}", labels={"third": str(n % 3)}) for n in range(30))
    await asyncio.gather(*(client.create("configmaps", obj) for obj in labelled))
    maps, seen, token = registry.resources["configmaps"], [], ""
    for _ in range(10):
        options = ListOptions(limit=4, continue_token=token, label_selector="third=0")
        page = await maps.list("default", options)
        assert page.remaining is None
        seen += [entry.name for entry in page.items]
        token = page.continue_token
        await client.create("configmaps", make_map(f"z{len(seen)}", labels={"third": "0"}))
        if not token:
            break
    assert seen == [f"m{n:02}" for n in range(0, 30, 3)]


async def test_a_list_at_a_revision(registry: Registry, client: RegistryClient) -> None:
    await client.create("configmaps", make_map("a"))
    version = str(registry.revision)
    await client.create("configmaps", make_map("b"))
    await client.delete("configmaps", "a", "default")
    assert await names(registry, "configmaps", resource_version=version, resource_version_match="Exact") == ["a"]
    assert await names(registry, "configmaps", resource_version=version, limit=10) == ["a"]
    assert await names(registry, "configmaps", resource_version=version, resource_version_match="NotOlderThan") == ["b"]
    assert await names(registry, "configmaps", resource_version=version) == ["b"]
    assert await names(registry, "configmaps", resource_version="0") == ["b"]


async def test_an_expired_token_is_410(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "state.db", keep_revisions=20)
    registry = Registry(store)
    await registry.start()
    client = registry.client(ADMIN)
    await client.create("namespaces", {"metadata": {"name": "default"}})
    for n in range(3):
        await client.create("configmaps", make_map(f"m{n}"))
    maps = registry.resources["configmaps"]
    first = await maps.list("default", ListOptions(limit=1))
    async with asyncio.timeout(20):
        turn = 0
        while store.compacted <= first.revision:
            turn += 1
            await client.patch("configmaps", "m0", "default", {"data": {"n": str(turn)}})
    with pytest.raises(StatusError) as error:
        await maps.list("default", ListOptions(limit=1, continue_token=first.continue_token))
    assert (error.value.code, error.value.reason) == (410, "Expired")
    assert "The provided continue parameter is too old" in error.value.message
    # The token in the answer goes on with what is there now.
    goes_on = error.value.status()["metadata"]["continue"]
    rest = await maps.list("default", ListOptions(continue_token=goes_on))
    assert [entry.name for entry in rest.items] == ["m1", "m2"] and rest.revision == registry.revision
    page = await maps.list("default", ListOptions(continue_token=goes_on, limit=1))
    assert ([entry.name for entry in page.items], page.remaining) == (["m1"], 1)
    rest = await maps.list("default", ListOptions(continue_token=page.continue_token))
    assert [entry.name for entry in rest.items] == ["m2"]
    with pytest.raises(StatusError) as error:
        await maps.list("default", ListOptions(resource_version="2", resource_version_match="Exact"))
    assert (error.value.code, error.value.reason) == (410, "Expired")
    await registry.close()
    await store.close()


async def test_a_revision_to_come_is_waited_for(registry: Registry, client: RegistryClient) -> None:
    version = str(registry.revision + 2)
    options = ListOptions(resource_version=version)
    maps = registry.resources["configmaps"]
    listing = asyncio.create_task(maps.list("default", options))
    exact = asyncio.create_task(maps.list("default", replace(options, resource_version_match="Exact")))
    getting = asyncio.create_task(maps.get("default", "b", version))
    await asyncio.sleep(0)
    for name in "abc":
        await client.create("configmaps", make_map(name))
    async with asyncio.timeout(10):
        assert [entry.name for entry in (await listing).items][:2] == ["a", "b"]
        assert [entry.name for entry in (await exact).items] == ["a", "b"]
        assert (await getting).name == "b"


async def test_a_revision_that_does_not_come_is_504_with_a_time_to_retry(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "FRESH_SECONDS", 0.01)
    with pytest.raises(StatusError) as error:
        await registry.resources["configmaps"].get("default", "m", "999999")
    assert (error.value.code, error.value.reason) == (504, "Timeout")
    assert error.value.message == f"Too large resource version: 999999, current: {registry.revision}"
    assert error.value.details == {
        "retryAfterSeconds": 1,
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
    }
    assert not registry.resources["configmaps"].core.cache._awaited


async def test_revision_0_knows_no_limit(registry: Registry, client: RegistryClient) -> None:
    """As kube-apiserver's cache answers it: whatever is there, whole."""
    for name in "abc":
        await client.create("configmaps", make_map(name))
    page = await registry.resources["configmaps"].list("default", ListOptions(resource_version="0", limit=1))
    assert (len(page.items), page.continue_token) == (3, "")


async def test_pages_of_one_object(registry: Registry, client: RegistryClient) -> None:
    for name in "abc":
        await client.create("configmaps", make_map(name))
    for namespace in ("default", ""):
        for options in ({"limit": 1}, {"limit": 5}, {"resource_version": "0"}):
            page = await registry.resources["configmaps"].list(
                namespace, ListOptions(field_selector="metadata.name=b", **options)
            )
            assert ([entry.name for entry in page.items], page.continue_token, page.remaining) == (["b"], "", None)


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async with open_registry(tmp_path / "state.db") as registry:
        client = registry.client(ADMIN)
        kept = await client.create("configmaps", make_map("kept"))
        await client.create("configmaps", make_map("dropped"))
        await client.delete("configmaps", "dropped", "default")
        revision = registry.revision
    async with open_registry(tmp_path / "state.db") as registry:
        client = registry.client(ADMIN)
        assert registry.revision == revision
        assert (await client.list("configmaps")).items == [kept]
        after = await client.create("configmaps", make_map("new"))
        assert int(after["metadata"]["resourceVersion"]) == revision + 1
