"""Parts of the image tests: a real registry on a loopback port, and small archives."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from podstead.node.images.layout import architecture

DEADLINE = 20
MakeLayout = Callable[..., Path]


class Registry:
    """docker-registry with its files below `directory`; `address` is HOST:PORT. With `guarded` it asks for USER's
    PASSWORD, with `tls` (from `make_authority`) it speaks TLS only."""

    USER, PASSWORD = "someone", "secret"
    PASSWORD_HASH = "$2b$04$0uc4yDQYjOWPCIl544d37.ctaiwYy.tqbKrCNDNm8BDzvXWi19e4."

    def __init__(self, directory: Path, *, guarded: bool = False, tls: Path | None = None) -> None:
        self.data = directory / "data"
        self.authority = directory / "ca.crt"
        self._access_log = directory / "access.log"
        configuration: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": str(self.data)}},
            "http": {"addr": "127.0.0.1:0"},
        }
        if tls:
            configuration["http"]["tls"] = {"certificate": str(tls / "server.crt"), "key": str(tls / "server.key")}
        if guarded:
            (directory / "htpasswd").write_text(f"{self.USER}:{self.PASSWORD_HASH}\n")
            configuration["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
        (directory / "config.yml").write_text(json.dumps(configuration))
        with self._access_log.open("wb") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(directory / "config.yml")],
                stdout=log,
                stderr=subprocess.PIPE,
                env={key: value for key, value in os.environ.items() if not key.startswith("OTEL_")},
            )
        self._listening = threading.Event()
        self.address = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._listening.wait(DEADLINE):
            self.stop()
            raise RuntimeError("docker-registry did not start")

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            found = line.decode(errors="replace").partition("listening on ")[2]
            if found:
                self.address = found.partition('"')[0].partition(",")[0].strip()
                self._listening.set()

    def requests(self, fragment: str) -> list[str]:
        """The GET requests in the access log whose line has `fragment`."""
        lines = self._access_log.read_text().splitlines()
        return [line for line in lines if '"GET ' in line and fragment in line]

    def push(self, layout: Path, name: str, *options: str) -> str:
        """Push an OCI layout as `name` (path:tag) and return the reference with the registry's address."""
        skopeo("copy", "--dest-tls-verify=false", *options, f"oci:{layout}", f"docker://{self.address}/{name}")
        return f"{self.address}/{name}"

    def blob(self, digest: str) -> Path:
        """The file in which the registry keeps a blob; it does not look at it again when it is asked for it."""
        digits = digest.removeprefix("sha256:")
        return self.data / "docker/registry/v2/blobs/sha256" / digits[:2] / digits / "data"

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        assert self._process.stderr is not None
        self._process.stderr.close()


def skopeo(*arguments: str) -> None:
    subprocess.run(["skopeo", *arguments], check=True, capture_output=True, timeout=DEADLINE)


class Gate:
    """A proxy on loopback before `target` (HOST:PORT) that lets `limit` bytes of answers through on each connection,
    then holds the rest until `open` is set. `stuck` is set when it holds something."""

    def __init__(self, target: str, limit: int) -> None:
        self._target = target
        self._limit = limit
        self.open, self.stuck = asyncio.Event(), asyncio.Event()
        self.address = ""

    async def __aenter__(self) -> Gate:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self.open.set()
        self._server.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target.partition(":")
        answers, requests = await asyncio.open_connection(host, int(port))
        back = asyncio.create_task(self._pass(answers, writer))
        try:
            while chunk := await reader.read(1 << 16):
                requests.write(chunk)
        except ConnectionError:
            pass
        finally:
            back.cancel()
            requests.close()
            writer.close()

    async def _pass(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while chunk := await answers.read(1 << 14):
            passed += len(chunk)
            if passed > self._limit and not self.open.is_set():
                self.stuck.set()
                await self.open.wait()
            writer.write(chunk)
            await writer.drain()


def make_authority(directory: Path) -> Path:
    """Write ca.crt and a certificate for 127.0.0.1 signed by it, with openssl, into `directory`."""
    extension = directory / "extension"
    extension.write_text("subjectAltName=IP:127.0.0.1\n")
    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-batch")
    sign = ("x509", "-req", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    for command in (
        (*new, "-x509", "-days", "2", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.crt"),
        (*new, "-subj", "/CN=127.0.0.1", "-keyout", "server.key", "-out", "server.csr"),
        (*sign, "-in", "server.csr", "-extfile", str(extension), "-out", "server.crt"),
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True, timeout=DEADLINE, cwd=directory)
    return directory


def make_tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def write_layout(
    directory: Path,
    layers: Sequence[bytes],
    config: dict[str, Any],
    *,
    compress: str = "gzip",
    raw_config: bytes | None = None,
    machine: str = "",
) -> Path:
    """Write an OCI layout of layers given as tars. `compress`: gzip, zstd (the command) or nothing; `raw_config` goes
    in place of what an image's configuration is; `machine` is its architecture, this machine's if not given."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(content: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        media_type = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    described = {
        "architecture": machine or architecture(),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(raw_config or json.dumps(described).encode(), "config.v1+json"),
        "layers": [put(*_compressed(layer, compress)) for layer in layers],
    }
    index = {"schemaVersion": 2, "manifests": [put(json.dumps(manifest).encode(), "manifest.v1+json")]}
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (directory / "index.json").write_text(json.dumps(index))
    return directory


def _compressed(layer: bytes, how: str) -> tuple[bytes, str]:
    if how == "gzip":
        return gzip.compress(layer, 1, mtime=0), "layer.v1.tar+gzip"
    if how == "zstd":
        done = subprocess.run(["zstd", "-q", "-c"], input=layer, capture_output=True, check=True, timeout=DEADLINE)
        return done.stdout, "layer.v1.tar+zstd"
    return layer, "layer.v1.tar"


def make_list(layout: Path, *platforms: str) -> str:
    """Make the one manifest of an OCI layout the one for each of `platforms` (architectures); return the digest of
    the list of them, which is then the layout's content."""
    index = json.loads((layout / "index.json").read_text())
    kind = index["mediaType"] = "application/vnd.oci.image.index.v1+json"
    (manifest,) = index["manifests"]
    index["manifests"] = [manifest | {"platform": {"architecture": one, "os": "linux"}} for one in platforms]
    content = json.dumps(index).encode()
    digest = hashlib.sha256(content).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(content)
    outer = {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [outer]}))
    return f"sha256:{digest}"


def layers_of(layout: Path) -> list[str]:
    """Return the digests of the (compressed) layers of an OCI layout, the lowest first."""
    blobs = layout / "blobs/sha256"
    (described,) = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = json.loads((blobs / described["digest"].removeprefix("sha256:")).read_text())
    return [layer["digest"] for layer in manifest["layers"]]
