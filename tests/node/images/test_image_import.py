from __future__ import annotations

import gzip
import io
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

import pytest
from click.testing import CliRunner
from image_parts import DEADLINE, MakeLayout, make_tar, skopeo

from podstead.cli.image import image as command
from podstead.linux import mounts, process
from podstead.node.images.importer import Importer, ImportFailed
from podstead.node.images.layout import changed
from podstead.node.images.pull import Images
from podstead.node.runtime.base import ImageConfig
from podstead.paths import Paths

SCRIPT = Path(__file__).parents[3] / "script/make-standin-image"


@pytest.fixture
def importer(paths: Paths) -> Importer:
    return Importer(paths)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress])
async def test_import_a_root_file_system(importer: Importer, images: Images, tmp_path: Path, compress: object) -> None:
    archive = tmp_path / "rootfs.tar"
    archive.write_bytes(compress(make_tar({"hello": b"world"})))  # type: ignore[operator]
    config = changed(['CMD ["sh", "-c"]', "ENTRYPOINT /run me", 'ENV A=1 B="x y"', "ENV A=2", "WORKDIR /w", "USER 7"])
    imported = await importer.import_rootfs(archive, "mine", config)
    assert imported.tags == ("docker.io/library/mine:latest",)
    assert (imported.layers[0] / "hello").read_bytes() == b"world"
    assert imported.config == ImageConfig(
        user="7", env=("A=2", "B=x y"), entrypoint=("/bin/sh", "-c", "/run me"), cmd=("sh", "-c"), working_dir="/w"
    )
    assert await images.image_status("mine") == imported
    assert (await importer.import_rootfs(archive, "mine", config)).id == imported.id, "the same file is the same image"


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
async def test_the_reading_of_a_root_file_system_is_told(importer: Importer, tmp_path: Path, compress: object) -> None:
    archive = tmp_path / "rootfs.tar"
    archive.write_bytes(compress(make_tar({"large": os.urandom(5 << 20)})))  # type: ignore[operator]
    told: list[tuple[int, int]] = []
    await importer.import_rootfs(archive, "told", progress=lambda done, total: told.append((done, total)))
    size = archive.stat().st_size
    reading = told[: told.index((size, size)) + 1]
    assert len(reading) >= 5
    assert reading == sorted(reading)
    assert {total for _, total in reading} == {size}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"no tar at all", "not a tar archive"),
        (b"", "not a tar archive"),
        (bytes(10240), "nothing in it"),
        (make_tar({"a": b"x" * 5000})[:3000], "unexpected EOF"),
        (gzip.compress(os.urandom(5000))[:2000], "not a tar archive|damaged"),
    ],
)
async def test_what_is_no_root_file_system_is_refused(
    importer: Importer, images: Images, tmp_path: Path, content: bytes, complaint: str
) -> None:
    archive = tmp_path / "rootfs.tar"
    archive.write_bytes(content)
    with pytest.raises(ImportFailed, match=complaint) as failed:
        await importer.import_rootfs(archive, "mine")
    assert "\n" not in str(failed.value)
    assert await images.list_images() == []


@pytest.mark.parametrize("instruction", ["RUN x", "CMD", "ENV =1", "ENV a=1 b"])
def test_changes_that_are_not_understood_are_refused(instruction: str) -> None:
    with pytest.raises(ValueError, match=instruction.split(" ")[0]):
        changed([instruction])


async def test_load_a_docker_archive_of_several_images(
    importer: Importer, make_layout: MakeLayout, tmp_path: Path
) -> None:
    archive = tmp_path / "with:colon.tar"
    saved = tmp_path / "one.tar"
    skopeo("copy", f"oci:{make_layout({'a': b'1'})}", f"docker-archive:{saved}:one:1", "--additional-tag", "q.io/two:2")
    shutil.move(saved, archive)
    loaded = await importer.load(str(archive))
    assert [image.tags[0] for image in loaded] == ["docker.io/library/one:1", "q.io/two:2"]
    assert loaded[0].id == loaded[1].id


async def test_load_a_compressed_docker_archive_under_another_name(
    importer: Importer, make_layout: MakeLayout, tmp_path: Path
) -> None:
    archive, packed = tmp_path / "one.tar", tmp_path / "one.tar.gz"
    skopeo("copy", f"oci:{make_layout({'a': b'1'})}", f"docker-archive:{archive}")
    packed.write_bytes(gzip.compress(archive.read_bytes()))
    with pytest.raises(ImportFailed, match="has no name: give one with --tag"):
        await importer.load(str(packed))
    (loaded,) = await importer.load(str(packed), "other:2")
    assert loaded.tags == ("docker.io/library/other:2",)


async def test_load_oci_archives_and_directories(importer: Importer, make_layout: MakeLayout, tmp_path: Path) -> None:
    layout, archive = make_layout({"a": b"1"}), tmp_path / "oci.tar"
    skopeo("copy", f"oci:{layout}", f"oci-archive:{archive}:q.io/oci:1")
    (from_archive,) = await importer.load(str(archive))
    assert from_archive.tags == ("q.io/oci:1",)
    with pytest.raises(ImportFailed, match="has no name"):
        await importer.load(str(layout))
    (from_directory,) = await importer.load(str(layout), "dir:1")
    assert from_directory.id == from_archive.id


async def test_what_is_no_archive_is_refused(importer: Importer, tmp_path: Path) -> None:
    rootfs, text, broken = tmp_path / "rootfs.tar", tmp_path / "text", tmp_path / "broken.tar"
    rootfs.write_bytes(make_tar({"bin/sh": b""}))
    text.write_text("no archive")
    broken.write_bytes(make_tar({"manifest.json": b"[{"}))
    for path, complaint in (
        (rootfs, "for a root file system: podstead image import"),
        (text, "not a whole tar archive"),
        (broken, "its index cannot be read"),
        (tmp_path, "not an OCI image layout"),
        (tmp_path / "gone.tar", "no such file"),
    ):
        with pytest.raises(ImportFailed, match=complaint):
            await importer.load(str(path))


@pytest.fixture
def podman_store(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A podman storage of the test's own; podman leaves a mount of its home, which goes before `paths` looks."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    conf = tmp_path / "host-storage.conf"
    graph = tmp_path / "host graph"
    conf.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{graph}"\nrunroot = "{tmp_path / "host-run"}"\n')
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(conf))
    yield
    mounts.umount(graph / "overlay")


@pytest.mark.usefixtures("podman_store")
async def test_load_what_the_hosts_podman_built(importer: Importer, images: Images, tmp_path: Path) -> None:
    archive = tmp_path / "rootfs.tar"
    archive.write_bytes(make_tar({"hello": b"world"}))
    await process.run(["podman", "import", "-q", str(archive), "app:1"], check=True, timeout=DEADLINE)
    (loaded,) = await importer.load("app:1")
    assert loaded.tags == ("localhost/app:1",)
    assert (loaded.layers[0] / "hello").read_bytes() == b"world"
    assert await images.image_status("app:1") == loaded, "the short name finds it, as in podman"


@pytest.mark.usefixtures("podman_store")
async def test_a_name_that_nobody_has_says_what_was_tried(
    importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(ImportFailed, match=r"nobody:1: .*podman does not have it; docker is not running \(no /"):
        await importer.load("nobody:1")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ImportFailed, match="podman is not installed"):
        await importer.load("nobody:1")


async def test_load_from_the_hosts_docker(
    importer: Importer, make_layout: MakeLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "saved.tar"
    skopeo("copy", f"oci:{make_layout({'a': b'docker'})}", f"docker-archive:{archive}:built:1")
    socket = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{socket}")
    monkeypatch.setenv("PATH", _path_without_podman(tmp_path))
    asked: list[str] = []

    class Docker(BaseHTTPRequestHandler):
        """The one call that skopeo makes: GET /images/get?names=..."""

        def do_GET(self) -> None:
            asked.append(self.path)
            found = "/images/get" in self.path and "built" in self.path
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(archive.read_bytes() if found else b'{"message":"No such image"}')

        def address_string(self) -> str:
            return "local"

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Server(ThreadingMixIn, UnixStreamServer):
        daemon_threads = True

    with Server(str(socket), Docker) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            (loaded,) = await importer.load("built:1")
            with pytest.raises(ImportFailed, match="No such image"):
                await importer.load("other:1")
        finally:
            server.shutdown()
            thread.join(DEADLINE)
    assert loaded.tags == ("docker.io/library/built:1",)
    assert (loaded.layers[0] / "a").read_bytes() == b"docker"


def _path_without_podman(tmp_path: Path) -> str:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "skopeo").symlink_to(shutil.which("skopeo") or "")
    return str(programs)


# -- the commands
def run(paths: Paths, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(command, [*arguments, "--name", "images-test", "--data-dir", str(paths.data)])
    return done.exit_code, done.output


@pytest.fixture
def instance(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setattr("podstead.paths.RUN_ROOT", tmp_path / "runs")
    return paths


def test_commands_say_what_they_did(instance: Paths, tmp_path: Path) -> None:
    archive = tmp_path / "rootfs.tar"
    archive.write_bytes(make_tar({"hello": b"world"}))
    code, output = run(instance, "import", str(archive), "centos:7")
    assert code == 0
    assert output.startswith("Image docker.io/library/centos:7 (sha256:")
    assert output.endswith(", 10.2 kB) is ready\n")
    code, output = run(instance, "ls")
    assert code == 0
    assert output.splitlines()[1].split()[0] == "docker.io/library/centos:7"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("import", __file__, "x"), 1, "not a tar archive"),
        (("import", "/nonexistent.tar", "x"), 2, "does not exist"),
        (("import", __file__, "x", "--change", "RUN x"), 2, "only CMD"),
        (("pull", "127.0.0.1:1/x"), 1, "connection refused"),
        (("pull", "X"), 1, "must be lowercase"),
        (("load", "/nonexistent.tar"), 1, "no such file"),
        (("pull",), 2, "Missing argument"),
    ],
)
def test_commands_fail_with_one_line(instance: Paths, arguments: tuple[str, ...], code: int, text: str) -> None:
    ended, output = run(instance, *arguments)
    assert ended == code
    assert text in output
    assert "Traceback" not in output


def test_the_stand_in_has_what_the_recipe_needs(tmp_path: Path) -> None:
    output = tmp_path / "standin.tar"
    subprocess.run([sys.executable, SCRIPT, output], check=True, timeout=DEADLINE)
    with tarfile.open(output) as archive:
        names = set(archive.getnames())
        assert archive.getmember("tmp").mode == 0o1777
        assert archive.getmember("bin").linkname == "usr/bin"
        assert {f"usr/bin/{name}" for name in ("bash", "sh", "sleep", "cat", "mount", "grep", "tar", "stty")} <= names
        release = archive.extractfile("etc/os-release")
        assert release is not None
        assert b"stand-in" in release.read()
    again = io.BytesIO(output.read_bytes())
    subprocess.run([sys.executable, SCRIPT, output], check=True, timeout=DEADLINE)
    assert again.getvalue() == output.read_bytes(), "the same each time"
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["tar", "-xf", output, "-C", root], check=True, timeout=DEADLINE)
    said = subprocess.run(
        ["chroot", root, "bin/bash", "-c", "id -un; echo hi | grep h; cat /etc/os-release | wc -l"],
        check=True,
        capture_output=True,
        timeout=DEADLINE,
    )
    assert said.stdout.split() == [b"root", b"hi", b"4"]
