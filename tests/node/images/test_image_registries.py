from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_parts import DEADLINE, Gate, MakeLayout, Registry, layers_of, make_authority, make_list, make_tar

from podstead.linux import mounts
from podstead.node.images.pull import Images
from podstead.node.runtime.base import PullFailed, RegistryAuth
from podstead.paths import Paths


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with a certificate of a private authority that asks for name and password."""
    directory = tmp_path_factory.mktemp("private")
    started = Registry(directory, guarded=True, tls=make_authority(directory))
    yield started
    started.stop()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of the test's own: no credentials, no certificates."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "xdg"))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def trust(home: Path, registry: Registry) -> Path:
    """Put the registry's authority where containers/image looks for it."""
    directory = home / ".config/containers/certs.d" / registry.address
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "ca.crt").write_bytes(registry.authority.read_bytes())
    return directory


def login(registry: Registry, password: str = Registry.PASSWORD, key: str = "") -> RegistryAuth:
    return RegistryAuth(key or registry.address, Registry.USER, password, "secret default/login")


def push(registry: Registry, layout: Path, name: str, *options: str) -> str:
    return registry.push(layout, name, "--dest-creds", f"{registry.USER}:{registry.PASSWORD}", *options)


async def test_tls_of_a_private_authority(
    images: Images, private: Registry, make_layout: MakeLayout, home: Path
) -> None:
    name = push(private, make_layout({"tls": b"1"}), "tls:1")
    certificates = trust(home, private)
    assert (await images.pull_image(name, [login(private)])).tags == (name,)
    (certificates / "ca.crt").write_bytes(make_authority(home).joinpath("ca.crt").read_bytes())
    with pytest.raises(PullFailed, match=rf"cannot be trusted.*certs\.d/{private.address}/ca\.crt"):
        await images.pull_image(name, [login(private)])


async def test_certificates_of_a_directory_that_is_named(
    paths: Paths, private: Registry, make_layout: MakeLayout, home: Path
) -> None:
    name = push(private, make_layout({"dir": b"1"}), "dir:1")
    (home / "ca.crt").write_bytes(private.authority.read_bytes())
    service = Images(paths, certificates=home)
    assert (await service.pull_image(name, [login(private)])).tags == (name,)


@pytest.mark.usefixtures("home")
async def test_wrong_credentials_are_named_and_the_next_are_tried(
    images: Images, private: Registry, make_layout: MakeLayout
) -> None:
    name = push(private, make_layout({"secret": b"1"}), "team/app:1")
    with pytest.raises(PullFailed, match=r"access denied.*unauthorized.*imagePullSecrets"):
        await images.pull_image(name)
    with pytest.raises(PullFailed) as failed:
        await images.pull_image(name, [login(private, "wrong")])
    assert str(failed.value).startswith(f"{name}: access denied")
    assert "secret default/login" in str(failed.value)
    assert "wrong" not in str(failed.value)
    fitting = [login(private, "wrong", f"{private.address}/team"), login(private)]
    assert (await images.pull_image(name, fitting)).tags == (name,)
    elsewhere = [login(private, key="other.io"), login(private, key=f"{private.address}/other")]
    with pytest.raises(PullFailed, match="access denied"):
        await images.pull_image(name, elsewhere)


async def test_docker_logins_are_used(images: Images, private: Registry, make_layout: MakeLayout, home: Path) -> None:
    name = push(private, make_layout({"docker": b"1"}), "docker:1")
    (home / ".docker").mkdir()
    encoded = base64.b64encode(f"{private.USER}:{private.PASSWORD}".encode()).decode()
    config = {"auths": {f"https://{private.address}/v2/": {"auth": encoded}}}
    (home / ".docker/config.json").write_text(json.dumps(config))
    assert (await images.pull_image(name)).tags == (name,)
    stale = await images.pull_image(name, [login(private, "stale")])
    assert stale.tags == (name,), "the node's own come after a secret's"


async def test_no_password_reaches_a_command_line_or_stays(
    images: Images, paths: Paths, private: Registry, make_layout: MakeLayout
) -> None:
    name = push(private, make_layout({"hidden": b"1" * 50_000}), "hidden:1")
    seen: list[bytes] = []

    def look(_done: int, _total: int) -> None:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.append(process.read_bytes())
            except OSError:
                pass

    await images.pull_image(name, [login(private)], look)
    assert not any(private.PASSWORD.encode() in words.split(b"\0") for words in seen)
    encoded = base64.b64encode(f"{private.USER}:{private.PASSWORD}".encode()).decode()
    left = [path for path in paths.data.rglob("*") if path.is_file() and encoded.encode() in path.read_bytes()]
    assert left == []


@pytest.mark.parametrize("compress", ["gzip", "zstd", ""])
@pytest.mark.parametrize("form", ["oci", "v2s2"])
async def test_forms_of_manifests_and_layers(
    images: Images, registry: Registry, make_layout: MakeLayout, compress: str, form: str
) -> None:
    if (form, compress) == ("v2s2", "zstd"):
        pytest.skip("schema 2 has no zstd")
    layout = make_layout({"form": f"{form}{compress}".encode()}, compress=compress)
    name = registry.push(layout, f"forms/{form}-{compress or 'plain'}:1", "--format", form)
    pulled = await images.pull_image(name)
    assert (pulled.layers[0] / "form").read_text() == form + compress


async def test_a_list_without_this_machines_platform(
    images: Images, registry: Registry, make_layout: MakeLayout
) -> None:
    layout = make_layout({"foreign": b"1"}, machine="s390x")
    make_list(layout, "s390x", "ppc64le")
    name = registry.push(layout, "foreign:1", "--all")
    with pytest.raises(PullFailed, match="not there for this machine's architecture") as failed:
        await images.pull_image(name)
    assert failed.value.reason == "ErrImagePull"
    assert await images.list_images() == []


@pytest.mark.parametrize("what", ["layer", "config", "manifest"])
async def test_a_registry_that_lies_about_digests(
    images: Images, registry: Registry, make_layout: MakeLayout, what: str
) -> None:
    layout = make_layout({"true": what.encode() * 1000}, {"second": what.encode()})
    name = registry.push(layout, f"lies/{what}:1")
    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    described = json.loads((layout / "blobs/sha256" / manifest.removeprefix("sha256:")).read_text())
    digest = {"layer": described["layers"][1], "config": described["config"], "manifest": {"digest": manifest}}[what]
    blob = registry.blob(digest["digest"])
    honest = blob.read_bytes()
    blob.write_bytes(
        make_tar({"x": b""})[: len(honest)] if what == "layer" else honest.replace(b"sha256:", b"sha256: ")
    )
    reference = f"{name.rpartition(':')[0]}@{manifest}" if what == "manifest" else name
    with pytest.raises(PullFailed) as failed:
        await images.pull_image(reference)
    assert "not what its digest says" in str(failed.value), str(failed.value)
    assert str(failed.value).startswith(reference)
    assert await images.list_images() == []
    blob.write_bytes(honest)
    assert len((await images.pull_image(reference)).layers) == 2


async def test_layers_that_are_there_are_not_fetched_again(
    images: Images, registry: Registry, make_layout: MakeLayout
) -> None:
    layers = [{f"part{number}": os.urandom(30_000)} for number in range(4)]
    layout = make_layout(*layers, {"large": os.urandom(2_000_000)})
    name = registry.push(layout, "resumed:1")
    digests = layers_of(layout)
    async with Gate(registry.address, 1_000_000) as gate, asyncio.timeout(DEADLINE):
        through = name.replace(registry.address, gate.address)
        pull = asyncio.create_task(images.pull_image(through))
        await gate.stuck.wait()
        while len(images.store.orphans()[0] if images.store.orphans() else ()) < 4:
            await asyncio.sleep(0.02)
        pull.cancel()
        await asyncio.wait([pull])
    before = [len(registry.requests(digest)) for digest in digests]
    assert (await images.pull_image(name)).tags == (name,)
    after = [len(registry.requests(digest)) for digest in digests]
    assert [b - a for a, b in zip(before, after, strict=True)] == [0, 0, 0, 0, 1]


async def test_a_registry_that_stops_in_the_middle(paths: Paths, registry: Registry, make_layout: MakeLayout) -> None:
    name = registry.push(make_layout({"large": os.urandom(1_000_000)}), "stuck:1")
    service = Images(paths, stall=1.0)
    async with Gate(registry.address, 500_000) as gate, asyncio.timeout(DEADLINE):
        with pytest.raises(PullFailed, match="the registry does not answer: nothing arrived for 1 seconds"):
            await service.pull_image(name.replace(registry.address, gate.address))
    assert await service.list_images() == []


async def test_progress_is_told_to_all_who_wait(images: Images, registry: Registry, make_layout: MakeLayout) -> None:
    name = registry.push(make_layout({"large": os.urandom(3_000_000)}), "progress:1")
    told: list[list[tuple[int, int]]] = [[], []]
    async with Gate(registry.address, 1_500_000) as gate, asyncio.timeout(DEADLINE):
        through = name.replace(registry.address, gate.address)
        pulls = [images.pull_image(through, (), lambda *now, to=listener: to.append(now)) for listener in told]
        tasks = [asyncio.create_task(pull) for pull in pulls]
        await gate.stuck.wait()
        while not all(listener and listener[-1][0] > 1_000_000 for listener in told):
            await asyncio.sleep(0.02)
        gate.open.set()
        await asyncio.gather(*tasks)
    for listener in told:
        assert [done for done, _ in listener] == sorted(done for done, _ in listener)
        assert listener[-1][1] == pytest.approx(3_000_000, rel=0.05)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB."""
    disk = tmp_path / "disk"
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True, timeout=DEADLINE)
    disk.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True, timeout=DEADLINE)
    yield disk
    while mounts.umount(disk, lazy=True):
        pass


async def test_a_disk_that_gets_full(
    small_disk: Path, tmp_path: Path, registry: Registry, make_layout: MakeLayout
) -> None:
    service = Images(Paths("images-test", small_disk / "data", tmp_path / "run"))
    kept = await service.pull_image(registry.push(make_layout({"kept": b"1"}), "kept:1"))
    name = registry.push(make_layout({"base": b"2"}, {"huge": bytes(40 << 20)}), "huge:1")
    with pytest.raises(PullFailed, match=r"the disk is full: .*podstead image prune"):
        await service.pull_image(name)
    assert await service.list_images() == [kept]
    fitting = registry.push(make_layout({"fits": bytes(4 << 20)}), "fits:1")
    assert (await service.pull_image(fitting)).tags == (fitting,), "the room is free again"
