from __future__ import annotations

import asyncio
import base64
import json
import shutil
from pathlib import Path

import pytest
from image_parts import DEADLINE, MakeLayout, Registry, make_list

from podstead.node.images.failures import explain
from podstead.node.images.layout import architecture
from podstead.node.images.pull import Images
from podstead.node.images.references import parse
from podstead.node.images.skopeo import SkopeoFailed, last_error
from podstead.node.runtime.base import PullFailed, RuntimeFailure
from podstead.paths import Paths

CONFIG = {"Cmd": ["sh"], "Env": ["A=1"], "User": "1000", "WorkingDir": "/w", "Entrypoint": ["/e"], "StopSignal": "INT"}


async def test_pull_by_tag_then_known_by_name_digest_and_id(
    images: Images, registry: Registry, make_layout: MakeLayout
) -> None:
    name = registry.push(make_layout({"a": b"1"}, {"b": b"22"}, config=CONFIG), "by/tag:1")
    assert await images.image_status(name) is None
    pulled = await images.pull_image(name)
    assert pulled.tags == (name,)
    assert pulled.digests[0].startswith(f"{registry.address}/by/tag@sha256:")
    assert [path.name for layer in pulled.layers for path in layer.iterdir()] == ["b", "a"]
    assert pulled.size == 2 * 10240
    assert (pulled.config.user, pulled.config.working_dir, pulled.config.stop_signal) == ("1000", "/w", "INT")
    assert (pulled.config.cmd, pulled.config.entrypoint, pulled.config.env) == (("sh",), ("/e",), ("A=1",))
    for known in (name, pulled.digests[0], pulled.id, f"sha256:{pulled.id}"):
        assert await images.image_status(known) == pulled
    assert await images.list_images() == [pulled]
    assert await images.image_status("0" * 64) is None


async def test_pull_by_digest(images: Images, registry: Registry, make_layout: MakeLayout) -> None:
    layout = make_layout({"digest": b"1"})
    tagged = registry.push(layout, "by/digest:1")
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    pulled = await images.pull_image(f"{tagged}@{digest}")
    assert pulled.tags == ()
    assert pulled.digests == (f"{registry.address}/by/digest@{digest}",)
    assert await images.image_status(tagged) is None
    assert await images.image_status(f"{tagged}@{digest}") == pulled


async def test_pull_from_a_list_of_platforms(images: Images, registry: Registry, make_layout: MakeLayout) -> None:
    layout = make_layout({"list": b"1"})
    digest = make_list(layout, "none", architecture())
    tagged = registry.push(layout, "list:1", "--all")
    by_digest = f"{tagged.removesuffix(':1')}@{digest}"
    pulled = await images.pull_image(by_digest)
    assert by_digest in pulled.digests
    assert (await images.pull_image(tagged)).id == pulled.id
    assert await images.image_status(by_digest) is not None


async def test_the_users_auth_file_is_used(
    images: Images, make_layout: MakeLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = Registry(tmp_path, guarded=True)
    try:
        name = guarded.push(make_layout({"a": b"1"}), "private:1", "--dest-creds", f"{guarded.USER}:{guarded.PASSWORD}")
        with pytest.raises(PullFailed, match="access denied"):
            await images.pull_image(name)
        credentials = base64.b64encode(f"{guarded.USER}:{guarded.PASSWORD}".encode()).decode()
        auth_file = tmp_path / "auth.json"
        auth_file.write_text(json.dumps({"auths": {guarded.address: {"auth": credentials}}}))
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(auth_file))
        assert (await images.pull_image(name)).tags == (name,)
    finally:
        guarded.stop()


async def test_a_tag_that_moved_is_pulled_again(images: Images, registry: Registry, make_layout: MakeLayout) -> None:
    name = registry.push(make_layout({"v": b"1"}), "moving:1")
    first = await images.pull_image(name)
    registry.push(make_layout({"v": b"2"}), "moving:1")
    second = await images.pull_image(name)
    assert second.id != first.id
    assert await images.image_status(name) == second
    untagged = await images.image_status(first.id)
    assert untagged is not None
    assert untagged.tags == ()


async def test_all_who_ask_at_once_share_one_transfer(
    images: Images, registry: Registry, make_layout: MakeLayout
) -> None:
    name = registry.push(make_layout({"shared": b"x" * 100_000}), "shared:1")
    pulled = await asyncio.gather(*(images.pull_image(name) for _ in range(5)))
    assert {image.id for image in pulled} == {pulled[0].id}
    assert len(registry.requests("/v2/shared/manifests/")) == 1


async def test_a_transfer_ends_with_its_last_waiter_only(
    paths: Paths, registry: Registry, make_layout: MakeLayout
) -> None:
    service, server = Images(paths), await SilentRegistry.start()
    async with server.listener:
        waiters = [asyncio.create_task(service.pull_image(f"{server.address}/a:1")) for _ in range(2)]
        await asyncio.wait_for(server.asked.wait(), DEADLINE)
        waiters[0].cancel()
        await asyncio.wait(waiters, timeout=DEADLINE, return_when=asyncio.FIRST_COMPLETED)
        assert not server.hung_up.is_set()
        waiters[1].cancel()
        await asyncio.wait_for(server.hung_up.wait(), DEADLINE)
        done, _ = await asyncio.wait(waiters, timeout=DEADLINE)
        assert all(task.cancelled() for task in done)
    assert list((paths.image_graph / "transfers").iterdir()) == []
    name = registry.push(make_layout({"after": b"1"}), "after:1")
    assert (await service.pull_image(name)).tags == (name,), "the store works on after a killed transfer"
    await service.close()


async def test_close_ends_transfers_and_says_so(paths: Paths) -> None:
    service, server = Images(paths), await SilentRegistry.start()
    async with server.listener:
        waiter = asyncio.create_task(service.pull_image(f"{server.address}/a:1"))
        await asyncio.wait_for(server.asked.wait(), DEADLINE)
        await service.close()
        with pytest.raises(PullFailed, match="shutting down"):
            await waiter
        with pytest.raises(PullFailed, match="shutting down"):
            await service.pull_image(f"{server.address}/a:1")


async def test_a_stalled_registry_does_not_hang_the_pull(paths: Paths) -> None:
    service, server = Images(paths, stall=1.0), await SilentRegistry.start()
    async with server.listener, asyncio.timeout(DEADLINE):
        with pytest.raises(PullFailed, match="the registry does not answer") as failed:
            await service.pull_image(f"{server.address}/a:1")
    assert failed.value.reason == "RegistryUnavailable"
    await service.close()


@pytest.mark.parametrize(
    ("path", "reason", "text"),
    [
        ("{registry}/nope:1", "ErrImagePull", "not found"),
        ("{registry}/nope@sha256:" + "0" * 64, "ErrImagePull", "not found"),
        ("127.0.0.1:1/x", "ErrImagePull", "connection refused"),
        (
            "Bad",
            "InvalidImageName",
            'Failed to apply default image tag "Bad": couldn\'t parse image name "Bad": invalid reference format',
        ),
    ],
)
async def test_what_cannot_be_pulled_says_why_in_one_line(
    images: Images, registry: Registry, path: str, reason: str, text: str
) -> None:
    name = path.format(registry=registry.address)
    with pytest.raises(PullFailed) as failed:
        await images.pull_image(name)
    assert failed.value.reason == reason
    assert text in str(failed.value)
    assert "\n" not in str(failed.value)
    assert await images.image_status(name) is None


@pytest.mark.parametrize(
    ("said", "reason", "meaning"),
    [
        ("reading manifest 1 in x.io/a: unauthorized: authentication required", "ErrImagePull", "access denied"),
        ("Requesting bear token: invalid status code from registry 403 (Forbidden)", "ErrImagePull", "access denied"),
        ('Get "https://x.io/v2/": dial tcp: lookup x.io: no such host', "ErrImagePull", "name cannot be resolved"),
        ("x509: certificate signed by unknown authority", "ErrImagePull", "cannot be trusted"),
        ("http: server gave HTTP response to HTTPS client", "ErrImagePull", "cannot be trusted"),
        ("received unexpected HTTP status: 503 Service Unavailable", "RegistryUnavailable", "has a problem"),
        ("toomanyrequests: You have reached your pull rate limit", "RegistryUnavailable", "limits requests"),
        ("Source image rejected: Running image is rejected by policy.", "SignatureValidationFailed", "policy"),
    ],
)
def test_registries_errors_have_kubernetes_reasons(said: str, reason: str, meaning: str) -> None:
    failed = explain(parse("x.io/a:1"), SkopeoFailed(f"initializing source docker://x.io/a:1: {said}"))
    assert failed.reason == reason
    assert str(failed).startswith("x.io/a:1: ")
    assert meaning in str(failed)
    assert said in str(failed)


def test_the_images_name_is_not_taken_for_the_error() -> None:
    said = "reading manifest 503 in x.io/signature/json: unauthorized: authentication required"
    failed = explain(parse("x.io/signature/json:503"), SkopeoFailed(said))
    assert failed.reason == "ErrImagePull"
    assert "access denied" in str(failed)


def test_the_last_of_skopeos_errors_is_told() -> None:
    log = 'time="t" level=warning msg="old"\ntime="t" level=fatal msg="a \\"quoted\\"\\nline"\n'
    assert last_error(log) == 'a "quoted" line'
    assert last_error("plain words\n") == "plain words"


async def test_the_users_registries_conf_names_mirrors(
    images: Images, registry: Registry, make_layout: MakeLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.push(make_layout({"mirrored": b"1"}), "library/mirrored:1")
    conf = tmp_path / "registries.conf"
    mirror = f'[[registry.mirror]]\nlocation = "{registry.address}"\ninsecure = true\n'
    conf.write_text(f'[[registry]]\nlocation = "docker.io"\n{mirror}')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
    assert (await images.pull_image("mirrored:1")).tags == ("docker.io/library/mirrored:1",)
    assert await images.image_status("mirrored:1") is not None


async def test_the_users_registries_conf_names_where_to_search(
    images: Images, registry: Registry, make_layout: MakeLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.push(make_layout({"searched": b"1"}), "searched:1")
    conf = tmp_path / "registries.conf"
    conf.write_text(f'unqualified-search-registries = ["127.0.0.1:1", "{registry.address}"]\n')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
    assert (await images.pull_image("searched:1")).tags == (f"{registry.address}/searched:1",)
    assert await images.image_status("searched:1") is not None
    with pytest.raises(PullFailed, match=r"connection refused.*not found"):
        await images.pull_image("searched:2")


async def test_a_damaged_image_counts_as_missing_and_a_pull_repairs_it(
    images: Images, paths: Paths, registry: Registry, make_layout: MakeLayout
) -> None:
    name = registry.push(make_layout({"a": b"1"}, {"b": b"1"}), "damaged:1")
    pulled = await images.pull_image(name)
    shutil.rmtree(pulled.layers[0].parent)
    again = Images(paths)
    assert await again.image_status(name) is None
    assert await again.list_images() == []
    repaired = await again.pull_image(name)
    assert repaired.id == pulled.id
    assert [path.name for path in repaired.layers[0].iterdir()] == ["b"]


async def test_a_corrupted_store_says_which_file(
    images: Images, paths: Paths, registry: Registry, make_layout: MakeLayout
) -> None:
    name = registry.push(make_layout({"a": b"1"}), "corrupted:1")
    await images.pull_image(name)
    (paths.image_graph / "overlay-images/images.json").write_text('[{"id":')
    for ask in (images.image_status(name), images.list_images(), images.pull_image(name)):
        with pytest.raises(RuntimeFailure, match=r"image store is damaged: .*images\.json") as failed:
            await ask
        assert failed.value.reason == "ImageInspectError"


async def test_nobodys_storage_settings_interfere(
    images: Images, paths: Paths, registry: Registry, make_layout: MakeLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_DRIVER", "vfs")
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", "/nonexistent/storage.conf")
    name = registry.push(make_layout({"a": b"1"}), "settings:1")
    assert (await images.pull_image(name)).layers[0].is_relative_to(paths.image_graph / "overlay")


class SilentRegistry:
    """Takes connections and never answers."""

    def __init__(self) -> None:
        self.asked, self.hung_up = asyncio.Event(), asyncio.Event()
        self.address = ""
        self.listener: asyncio.Server

    @classmethod
    async def start(cls) -> SilentRegistry:
        registry = cls()
        registry.listener = await asyncio.start_server(registry._take, "127.0.0.1", 0)
        registry.address = f"127.0.0.1:{registry.listener.sockets[0].getsockname()[1]}"
        return registry

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked.set()
            while await reader.read(4096):
                pass
            self.hung_up.set()
        except ConnectionError:
            self.hung_up.set()
        finally:
            writer.close()
