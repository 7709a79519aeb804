from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
from image_parts import DEADLINE, Gate, MakeLayout, Registry

from podstead.node.images.collector import DiskUsage, ImageCollector, Policy
from podstead.node.images.importer import Importer
from podstead.node.images.pull import Images
from podstead.node.images.removal import ImageRemover, ImageUsed, NoSuchImage, RemovalFailed
from podstead.node.images.rootfs import mount_rootfs, unmount_rootfs
from podstead.node.images.usage import mounting, removing
from podstead.node.runtime.base import CreateFailed, Image, RuntimeFailure
from podstead.paths import Paths


@pytest.fixture
def remover(paths: Paths, images: Images) -> ImageRemover:
    return ImageRemover(paths, images)


def use(paths: Paths, image: Image, container: str = "c1") -> Path:
    """Note a container as the runtime does."""
    directory = paths.runtime_state / "containers"
    directory.mkdir(parents=True, exist_ok=True)
    record = directory / f"{container}.json"
    record.write_bytes(msgspec.json.encode({"name": container, "pod_uid": "u1", "image_id": image.id, "more": 1}))
    return record


async def load(paths: Paths, layout: Path, *names: str) -> Image:
    loaded = [(await Importer(paths).load(str(layout), name))[0] for name in names]
    return loaded[-1]


async def test_the_last_name_takes_the_image_along(
    paths: Paths, images: Images, remover: ImageRemover, make_layout: MakeLayout
) -> None:
    image = await load(paths, make_layout({"a": b"1"}, {"b": b"2"}), "one:1", "two:2")
    untagged = await remover.remove("one:1")
    assert (untagged.untagged, untagged.deleted) == (("docker.io/library/one:1",), ())
    assert await images.image_status("one:1") is None
    (left,) = await images.list_images()
    assert left.tags == ("docker.io/library/two:2",)
    removed = await remover.remove("two:2")
    assert (removed.deleted, removed.freed) == ((image.id,), image.size)
    assert await images.list_images() == []
    assert not any(layer.exists() for layer in image.layers)
    with pytest.raises(NoSuchImage, match="two:2: no such image"):
        await remover.remove("two:2")
    again = await load(paths, make_layout({"a": b"1"}), "one:1")
    assert again.tags == ("docker.io/library/one:1",), "the store takes images after a name was taken away"


async def test_by_id_all_names_go_only_when_that_is_meant(
    paths: Paths, images: Images, remover: ImageRemover, make_layout: MakeLayout
) -> None:
    image = await load(paths, make_layout({"a": b"1"}), "one:1", "two:2")
    with pytest.raises(RemovalFailed, match="one:1"):
        await remover.remove(image.id)
    assert (await remover.remove(f"sha256:{image.id}", force=True)).deleted == (image.id,)
    assert await images.list_images() == []


async def test_an_image_in_use_stays(
    paths: Paths, images: Images, remover: ImageRemover, make_layout: MakeLayout
) -> None:
    image = await load(paths, make_layout({"a": b"1"}), "used:1")
    record = use(paths, image)
    with pytest.raises(ImageUsed, match=r"used:1 is used by container c1 of pod u1"):
        await remover.remove("used:1")
    assert (await remover.prune(everything=True)).deleted == ()
    forced = await remover.remove("used:1", force=True)
    assert (forced.untagged, forced.deleted) == (("docker.io/library/used:1",), ())
    assert await images.image_status(image.id) is not None, "its containers may start again"
    assert image.layers[0].exists()
    record.unlink()
    assert (await remover.prune()).deleted == (image.id,)


async def test_shared_layers_stay_with_who_needs_them(
    paths: Paths, images: Images, remover: ImageRemover, make_layout: MakeLayout, tmp_path: Path
) -> None:
    base = {"base": b"b" * 5000}
    small = await load(paths, make_layout(base), "small")
    large = await load(paths, make_layout(base, {"more": b"m"}), "large")
    use(paths, small)
    await mount_rootfs(small, tmp_path / "own", tmp_path / "root", paths.image_graph)
    removed = await remover.prune(everything=True)
    assert (removed.deleted, removed.freed) == ((large.id,), large.size - small.size)
    assert (tmp_path / "root/base").read_bytes() == base["base"]
    await unmount_rootfs(tmp_path / "root", tmp_path / "own")


async def test_prune_takes_what_has_no_name(
    paths: Paths, images: Images, remover: ImageRemover, make_layout: MakeLayout
) -> None:
    old = await load(paths, make_layout({"v": b"1"}), "moving")
    await load(paths, make_layout({"v": b"2"}), "moving")
    assert (await remover.prune()).deleted == (old.id,)
    assert (await images.image_status("moving")) is not None
    assert len((await remover.prune(everything=True)).deleted) == 1
    assert await remover.prune(everything=True) == type(await remover.prune())()


async def test_what_an_unfinished_pull_left_goes_unless_one_is_under_way(
    paths: Paths, images: Images, remover: ImageRemover, registry: Registry, make_layout: MakeLayout
) -> None:
    base = {"base": b"1" * 1000}
    kept = await load(paths, make_layout(base), "kept")
    name = registry.push(make_layout(base, {"a": b"2" * 1000}, {"b": os.urandom(1_000_000)}), "unfinished:1")
    async with Gate(registry.address, 500_000) as gate, asyncio.timeout(DEADLINE):
        pull = asyncio.create_task(images.pull_image(name.replace(registry.address, gate.address)))
        await gate.stuck.wait()
        while not images.store.orphans():
            await asyncio.sleep(0.02)
        assert (await remover.prune(everything=True)).deleted == (kept.id,)
        assert images.store.orphans(), "they are the running pull's"
        pull.cancel()
        await asyncio.wait([pull])
    assert (await remover.prune()).freed > 0
    assert images.store.orphans() == []
    assert await images.list_images() == []
    layers = [path.name for path in (paths.image_graph / "overlay").iterdir() if len(path.name) == 64]
    assert layers == []
    assert (await images.pull_image(name)).tags == (name,)


async def test_a_mount_waits_for_a_removal_and_says_what_is_gone(
    paths: Paths, images: Images, make_layout: MakeLayout, tmp_path: Path
) -> None:
    image = await load(paths, make_layout({"a": b"1"}), "racing")
    async with removing(paths.image_graph):
        mount = asyncio.create_task(images.mount_rootfs(image, tmp_path / "own", tmp_path / "root"))
        done, _ = await asyncio.wait([mount], timeout=0.1)
        assert not done
        image.layers[0].rename(tmp_path / "taken")
    with pytest.raises(CreateFailed, match="No such file"):
        await mount
    with mounting(paths.image_graph), mounting(paths.image_graph):
        removal = asyncio.create_task(_hold(paths))
        done, _ = await asyncio.wait([removal], timeout=0.1)
        assert not done
        removal.cancel()
    with pytest.raises(asyncio.CancelledError):
        await removal
    async with asyncio.timeout(DEADLINE), removing(paths.image_graph):
        pass


async def _hold(paths: Paths) -> None:
    async with removing(paths.image_graph):
        pass


class Node:
    """A collector with a clock and a disk of the test's own."""

    def __init__(self, paths: Paths, images: Images) -> None:
        self.time = 1000.0
        self.disk = DiskUsage(100_000, 100_000)
        self.told: list[tuple[str, str]] = []
        self.collector = ImageCollector(
            paths,
            images,
            lambda *event: self.told.append(event),
            usage=lambda _path: self.disk,
            now=lambda: self.time,
            policy=Policy(period=0.01),
        )


@pytest.fixture
def node(paths: Paths, images: Images) -> Node:
    return Node(paths, images)


async def test_the_longest_unused_goes_first_until_there_is_room(
    paths: Paths, images: Images, node: Node, make_layout: MakeLayout
) -> None:
    first, second, third, used = [
        await load(paths, make_layout({"f": bytes([number]) * 5000}), f"image{number}") for number in range(4)
    ]
    use(paths, used)
    record = use(paths, first, "c2")
    assert await node.collector.collect() == 0
    record.unlink()
    node.time += 60
    node.disk = DiskUsage(100_000, 16_000)
    assert await node.collector.collect() == 0, "just below the high threshold"
    node.disk = DiskUsage(100_000, 14_999)
    with pytest.raises(RuntimeFailure, match="Attempted to free 5001 bytes, but only found 0 bytes eligible to free"):
        await node.collector.collect()
    assert [reason for reason, _ in node.told] == ["FreeDiskSpaceFailed"]
    node.time += 61
    assert await node.collector.collect() == second.size
    assert {image.id for image in await images.list_images()} == {first.id, third.id, used.id}
    node.disk = DiskUsage(200_000, 0)
    with pytest.raises(RuntimeFailure):
        await node.collector.collect()
    assert [image.id for image in await images.list_images()] == [used.id]


async def test_a_pull_wakes_the_collector_and_failures_are_told(
    paths: Paths, images: Images, node: Node, registry: Registry, make_layout: MakeLayout
) -> None:
    node.collector._policy = Policy()
    node.disk = DiskUsage(100, 1)
    task = asyncio.create_task(node.collector.run())
    try:
        async with asyncio.timeout(DEADLINE):
            for number in range(2):
                await images.pull_image(registry.push(make_layout({"w": bytes([number])}), f"wakes:{number}"))
                while [reason for reason, _ in node.told].count("FreeDiskSpaceFailed") <= number:
                    await asyncio.sleep(0.01)
            while len(node.told) < 3:
                await asyncio.sleep(0.01)
        assert [reason for reason, _ in node.told][-1] == "ImageGCFailed"
    finally:
        task.cancel()
        await asyncio.wait([task])
