"""configMap, secret and downwardAPI volumes: filled from a real registry, and kept up to date with it."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from podstead.linux import mounts
from podstead.node.volumes.base import VolumeError
from podstead.node.volumes.manager import VolumeManager
from podstead.objects.pod import Pod, from_object
from podstead.objects.user import UserInfo
from podstead.paths import Paths
from podstead.registry.client import RegistryClient
from support.registry import make_map, open_registry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[RegistryClient]:
    async with open_registry(tmp_path / "state.db") as registry:
        yield registry.client(UserInfo("system:node:here", ("system:nodes",)))


class Told(list[tuple[str, str]]):
    """What a volume manager said of its pods."""

    def __init__(self) -> None:
        super().__init__()
        self.more = asyncio.Event()

    def __call__(self, uid: str, problem: str) -> None:
        self.append((uid, problem))
        self.more.set()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def manager(tmp_path: Path, client: RegistryClient, told: Told) -> AsyncIterator[VolumeManager]:
    made = VolumeManager(Paths("test", tmp_path / "data", tmp_path / "run"))
    made.connect(client, told)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.wait([running])
    for entry in mounts.mounts_below(tmp_path):
        mounts.umount(entry)


def pod(*, uid: str = "uid-1", spec: dict[str, Any] | None = None, **sources: Any) -> Pod:
    return from_object(
        {
            "metadata": {"name": "p", "namespace": "default", "uid": uid, "labels": {"app": "x"}},
            "spec": {
                "containers": [{"name": "c"}],
                "volumes": [{"name": name, **source} for name, source in sources.items()],
                **(spec or {}),
            },
        }
    )


def secret(name: str, **data: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }


def listed(path: Path) -> dict[str, str]:
    """What a user sees, by path: content."""
    data = (path / "..data").resolve()
    return {str(file.relative_to(data)): file.read_text() for file in data.rglob("*") if file.is_file()}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


async def test_a_config_map_lies_on_the_disk(client: RegistryClient, manager: VolumeManager) -> None:
    await client.create("configmaps", make_map("m", {"a": "1", "b": "2"}) | {"binaryData": {"c": "AAE="}}, "default")
    items = [{"key": "a", "path": "deep/er/a", "mode": 0o400}, {"key": "c", "path": "c"}]
    found = await manager.set_up(
        pod(
            all={"configMap": {"name": "m", "defaultMode": 0o440}},
            some={"configMap": {"name": "m", "items": items}},
        )
    )
    assert listed(found["all"]) == {"a": "1", "b": "2", "c": "\0\1"}
    assert listed(found["some"]) == {"deep/er/a": "1", "c": "\0\1"}
    modes = {name: (found[volume] / name).stat().st_mode & 0o777 for volume, name in
             (("all", "a"), ("some", "deep/er/a"), ("some", "c"))}  # fmt: skip
    assert modes == {"a": 0o440, "deep/er/a": 0o400, "c": 0o644}
    assert found["all"].parent.name == "kubernetes.io~configmap"
    assert not [entry for entry in mounts.mount_table() if entry.target == found["all"]]
    await manager.tear_down("uid-1")
    assert not found["all"].exists()


async def test_a_secret_lies_in_memory_alone(client: RegistryClient, manager: VolumeManager) -> None:
    await client.create("secrets", secret("s", user="me", key="\0\1"), "default")
    path = (await manager.set_up(pod(v={"secret": {"secretName": "s", "defaultMode": 0o400}})))["v"]
    assert listed(path) == {"user": "me", "key": "\0\1"}
    assert (path / "key").stat().st_mode & 0o777 == 0o400
    [mount] = [entry for entry in mounts.mount_table() if entry.target == path]
    assert mount.fstype == "tmpfs" and path.parent.name == "kubernetes.io~secret"


async def test_the_downward_api_tells_of_the_pod_and_its_resources(manager: VolumeManager) -> None:
    def file(path: str, resource: str, divisor: str = "0") -> dict[str, Any]:
        reference = {"containerName": "c", "resource": resource, "divisor": divisor}
        return {"path": path, "resourceFieldRef": reference}

    items = [
        {"path": "labels", "mode": 0o400, "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
        file("cpu", "limits.cpu"),
        file("cpu-milli", "limits.cpu", "1m"),
        file("memory", "requests.memory", "1Mi"),
        file("none", "requests.cpu"),
        file("node", "limits.memory"),
    ]
    resources = {"limits": {"cpu": "1250m"}, "requests": {"memory": "64.5Mi"}}
    spec = {"containers": [{"name": "c", "resources": resources}]}
    made = pod(v={"downwardAPI": {"items": items}}, spec=spec)
    path = (await manager.set_up(made))["v"]
    shown = listed(path)
    assert int(shown.pop("node")) > 1 << 20, "what the node has, where there is no limit"
    assert shown == {"labels": 'app="x"', "name": "p", "cpu": "2", "cpu-milli": "1250", "memory": "65", "none": "0"}
    assert (path / "labels").stat().st_mode & 0o777 == 0o400
    changed = {"containers": [{"name": "c", "resources": {"limits": {"cpu": 3}}}]}
    await manager.update(pod(v={"downwardAPI": {"items": items}}, spec=changed))
    assert (path / "cpu").read_text() == "3"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"configMap": {"name": "x"}}, 'configmap "x" not found'),
        ({"secret": {"secretName": "x"}}, 'secret "x" not found'),
        (
            {"configMap": {"name": "m", "items": [{"key": "x", "path": "x"}]}},
            "configmap references non-existent config key: x",
        ),
        (
            {"secret": {"secretName": "s", "items": [{"key": "x", "path": "x"}]}},
            "references non-existent secret key: x",
        ),
        (
            {"projected": {"sources": [{"secret": {"name": "x"}}, {"configMap": {"name": "y"}}]}},
            '[secret "x" not found, configmap "y" not found]',
        ),
    ],
)
async def test_a_pod_is_told_what_it_waits_for(
    client: RegistryClient, manager: VolumeManager, source: dict[str, Any], problem: str
) -> None:
    await client.create("configmaps", make_map("m", {"a": "1"}), "default")
    await client.create("secrets", secret("s", a="1"), "default")
    with pytest.raises(VolumeError) as told:
        await manager.set_up(pod(v=source))
    assert str(told.value) == f'MountVolume.SetUp failed for volume "v" : {problem}'
    assert told.value.reason == "FailedMount"


async def test_optional_sources_may_be_missing(client: RegistryClient, manager: VolumeManager) -> None:
    await client.create("configmaps", make_map("m", {"a": "1"}), "default")
    items = [{"key": "x", "path": "x"}, {"key": "a", "path": "a"}]
    found = await manager.set_up(
        pod(
            none={"secret": {"secretName": "x", "optional": True}},
            one={"configMap": {"name": "m", "optional": True, "items": items}},
        )
    )
    assert listed(found["none"]) == {} and listed(found["one"]) == {"a": "1"}
    await client.create("secrets", secret("x", late="1"), "default")
    await until(lambda: listed(found["none"]) == {"late": "1"})
    await client.delete("secrets", "x", "default")
    await until(lambda: listed(found["none"]) == {})


async def test_a_pod_that_waits_is_called_when_it_can_go_on(
    client: RegistryClient, manager: VolumeManager, told: Told
) -> None:
    waiting = pod(v={"configMap": {"name": "m"}}, w={"configMap": {"name": "n"}})
    with pytest.raises(VolumeError, match='configmap "m" not found'):
        await manager.set_up(waiting)
    await client.create("configmaps", make_map("m", {"a": "1"}), "default")
    async with asyncio.timeout(10):
        await told.more.wait()
    assert told[0] == ("uid-1", "")
    with pytest.raises(VolumeError, match='configmap "n" not found'):
        await manager.set_up(waiting)
    told.more.clear()
    await client.create("configmaps", make_map("n", {"b": "1"}), "default")
    async with asyncio.timeout(10):
        await told.more.wait()
    assert listed((await manager.set_up(waiting))["w"]) == {"b": "1"}


async def test_changes_are_shown_in_every_pod_and_what_is_deleted_stays(
    client: RegistryClient, manager: VolumeManager, told: Told
) -> None:
    await client.create("configmaps", make_map("m", {"a": "1", "b": "1"}), "default")
    await client.create("configmaps", make_map("other", {"a": "1"}), "default")
    paths = [
        (await manager.set_up(pod(uid=f"uid-{number}", v={"configMap": {"name": "m"}})))["v"] for number in range(3)
    ]
    await client.patch("configmaps", "m", "default", {"data": {"a": "2", "b": None}})
    await until(lambda: all(listed(path) == {"a": "2"} for path in paths))
    await until(lambda: sorted(entry.name for entry in paths[0].iterdir())[1:] == ["..data", "a"])
    await manager.tear_down("uid-0")
    before = (paths[1] / "..data").readlink()
    await client.patch("configmaps", "other", "default", {"data": {"a": "2"}})
    await client.delete("configmaps", "m", "default")
    await until(lambda: len(told) == 2)
    assert {text for _, text in told} == {'MountVolume.SetUp failed for volume "v" : configmap "m" not found'}
    assert (paths[1] / "..data").readlink() == before and listed(paths[1]) == {"a": "2"}
    await client.create("configmaps", make_map("m", {"a": "3"}), "default")
    await until(lambda: all(listed(path) == {"a": "3"} for path in paths[1:]))
    assert not paths[0].exists()


async def test_only_what_pods_show_is_watched(client: RegistryClient, manager: VolumeManager) -> None:
    held = manager._contents._watches._held
    await client.create("configmaps", make_map("fixed", {"a": "1"}) | {"immutable": True}, "default")
    sources = {"v": {"configMap": {"name": "fixed"}}, "w": {"configMap": {"name": "kept", "optional": True}}}
    for uid in ("uid-1", "uid-2"):
        await manager.set_up(pod(uid=uid, **sources))
    assert {reference.name for reference in held} == {"fixed", "kept"}
    immutable = next(task for reference, task in held.items() if reference.name == "fixed")
    assert immutable is not None
    await until(immutable.done)
    await manager.tear_down("uid-1")
    assert len(held) == 2
    await manager.tear_down("uid-2")
    assert not held and not manager._contents._users


async def test_the_pods_group_reads_and_the_last_source_wins(client: RegistryClient, manager: VolumeManager) -> None:
    await client.create("configmaps", make_map("m", {"a": "map", "b": "map"}), "default")
    await client.create("secrets", secret("s", a="secret"), "default")
    sources = [{"configMap": {"name": "m"}}, {"secret": {"name": "s"}}]
    spec = {"securityContext": {"fsGroup": 2000}}
    made = pod(v={"projected": {"sources": sources, "defaultMode": 0o400}}, spec=spec)
    path = (await manager.set_up(made))["v"]
    assert listed(path) == {"a": "secret", "b": "map"}
    status = (path / "a").stat()
    assert (status.st_mode & 0o777, status.st_gid) == (0o440, 2000)


async def test_a_file_cannot_be_a_directory_too(client: RegistryClient, manager: VolumeManager) -> None:
    await client.create("configmaps", make_map("m", {"a": "1"}), "default")
    items = [{"key": "a", "path": "x"}, {"key": "a", "path": "x/y"}]
    with pytest.raises(VolumeError, match="File exists"):
        await manager.set_up(pod(v={"configMap": {"name": "m", "items": items}}))


async def test_fifty_config_maps_come_with_a_pod(client: RegistryClient, manager: VolumeManager) -> None:
    for number in range(50):
        await client.create("configmaps", make_map(f"m{number}", {"n": str(number)}), "default")
    many = pod(**{f"v{number}": {"configMap": {"name": f"m{number}"}} for number in range(50)})
    found = await manager.set_up(many)
    assert [listed(found[f"v{number}"])["n"] for number in range(50)] == [str(number) for number in range(50)]
