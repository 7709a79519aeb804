"""Images from elsewhere than a registry: docker and OCI archives, root file systems, the host's podman and docker."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from podstead.linux import process
from podstead.node.images import layout
from podstead.node.images.pull import Images
from podstead.node.images.references import InvalidReference, Reference, image_id, parse
from podstead.node.images.skopeo import Skopeo, SkopeoFailed
from podstead.node.runtime.base import Image, ImageConfig, Progress, PullFailed
from podstead.paths import Paths

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_ASK_SECONDS = 30.0
_DOCKER_SOCKET = "unix:///var/run/docker.sock"
_INDEX_LIMIT = 16 << 20
_READ_SIZE = 256 << 10
_STEP = 1 << 20
"""Bytes after which the reading of an archive is told anew."""
_NO_LAYOUT = "a directory, but not an OCI image layout: no oci-layout and index.json"
_LINK = "image"
"""The name in a scratch directory of what skopeo reads."""


class ImportFailed(Exception):
    """An image cannot be loaded or imported; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class _Source:
    """One image to copy: skopeo's name for where it is, the name to give it, and options."""

    location: str
    name: Reference
    options: tuple[str, ...] = ()


class Importer:
    """Copies images into one instance's store; it may run beside the server."""

    def __init__(self, paths: Paths) -> None:
        self._images = Images(paths)
        self._skopeo = Skopeo(paths)

    async def load(self, source: str, tag: str = "", progress: Progress | None = None) -> list[Image]:
        """Load an archive or OCI directory if `source` is a path that exists, else an image of the host's podman
        or docker with that name. `tag` names it anew (needed for an OCI archive without a name).

        `progress` begins anew with each image. Raises ImportFailed, naming what was tried.
        """
        name = _reference(tag) if tag else None
        path = Path(source)
        if path.exists():
            async with self._skopeo.scratch() as scratch:
                found = await asyncio.to_thread(_in_file, path, scratch)
                return await self._copy(_named(found, name, path), scratch, progress)
        if source.startswith(("/", "./", "../")):
            raise ImportFailed(f"{source}: no such file")
        sources = await self._on_host(source)
        renamed = [_Source(source.location, name or source.name, source.options) for source in sources]
        return await self._copy(renamed, progress=progress)

    async def import_rootfs(
        self, archive: Path, name: str, config: ImageConfig | None = None, progress: Progress | None = None
    ) -> Image:
        """Make an image of one layer from a root file system (tar, or tar compressed by gzip, bzip2, xz or, from
        Python 3.14 on, zstd) and store it under `name`. `progress` is told of the reading, and anew of the storing.
        Raises ImportFailed.
        """
        reference = _reference(name)
        loop = asyncio.get_running_loop()

        def read(done: int, total: int) -> None:
            if progress is not None:
                loop.call_soon_threadsafe(progress, done, total)

        async with self._skopeo.scratch() as scratch:
            await asyncio.to_thread(_write_rootfs, archive, scratch / _LINK, config or ImageConfig(), read)
            (image,) = await self._copy([_Source(f"oci:{_LINK}", reference)], scratch, progress)
            return image

    async def _copy(
        self, sources: Sequence[_Source], cwd: Path | None = None, progress: Progress | None = None
    ) -> list[Image]:
        try:
            await self._images.repair()
            return [await self._copy_one(source, cwd, progress) for source in sources]
        except PullFailed as error:
            raise ImportFailed(str(error)) from error

    async def _copy_one(self, source: _Source, cwd: Path | None, progress: Progress | None) -> Image:
        try:
            await self._skopeo.copy(source.location, str(source.name), source.options, cwd=cwd, progress=progress)
        except SkopeoFailed as error:
            raise ImportFailed(f"{source.name}: {error}") from error
        return self._images.stored(source.name)

    # -- the host's own images
    async def _on_host(self, name: str) -> list[_Source]:
        if not image_id(name):
            _reference(name)
        tried: list[str] = []
        for ask in (_podman, _docker):
            found = await ask(name, tried)
            if found is not None:
                return [found]
        step = f"podstead image pull {name} asks its registry"
        raise ImportFailed(f"{name}: no such file, and no image of that name: {'; '.join(tried)} ({step})")


async def _podman(name: str, tried: list[str]) -> _Source | None:
    if shutil.which("podman") is None:
        tried.append("podman is not installed")
        return None
    try:
        described = await process.run(["podman", "image", "inspect", "--format", "json", name], timeout=_ASK_SECONDS)
        if described.returncode != 0:
            tried.append("podman does not have it")
            return None
        store = await process.run(["podman", "info", "--format", "json"], timeout=_ASK_SECONDS, check=True)
        image, where = json.loads(described.stdout)[0], json.loads(store.stdout)["store"]
    except TimeoutError:
        tried.append("podman does not answer")
        return None
    except (process.ProcessError, ValueError, LookupError) as error:
        tried.append(f"podman: {error}")
        return None
    driver = where["graphDriverName"]
    options = f":{driver}.skip_mount_home=true" if driver == "overlay" else ""
    store_name = f"[{driver}@{where['graphRoot']}+{where['runRoot']}{options}]"
    return _Source(f"containers-storage:{store_name}@{image['Id']}", _host_name(name, image.get("RepoTags") or []))


def _host_name(asked: str, known: Sequence[str]) -> Reference:
    """Which of the names that podman has for an image is the one that was asked for: podman tries localhost/ first."""
    if image_id(asked):
        if not known:
            raise ImportFailed(f"image {asked} has no name in podman: give one with --tag")
        return _reference(known[0])
    reference = _reference(asked)
    if reference.short:
        local = Reference("localhost", reference.path.removeprefix("library/"), reference.tag, reference.digest, False)
        if str(local) in known:
            return local
    return reference if reference.digest or str(reference) in known or not known else _reference(known[0])


async def _docker(name: str, tried: list[str]) -> _Source | None:
    host = os.environ.get("DOCKER_HOST") or _DOCKER_SOCKET
    if host.startswith("unix://") and not Path(host.removeprefix("unix://")).is_socket():
        tried.append(f"docker is not running (no {host.removeprefix('unix://')})")
        return None
    if image_id(name):
        raise ImportFailed(f"{name}: docker's images are loaded by name, not by ID")
    reference = _reference(name)
    return _Source(f"docker-daemon:{reference}", reference, ("--src-daemon-host", host))


# -- archives
def _in_file(path: Path, scratch: Path) -> list[tuple[str, str]]:
    """Make the archive or OCI directory known as `scratch`/_LINK, and return for each image in it skopeo's name for
    it, relative to `scratch`, and the image's own name or "".
    """
    link = scratch / _LINK
    try:
        if path.is_dir():
            index = path / "index.json"
            if not (path / "oci-layout").is_file() or not index.is_file():
                raise ImportFailed(f"{_NO_LAYOUT} (a root file system: make a tar of it for podstead image import)")
            link.symlink_to(path.absolute())
            return _oci_names("oci", index.read_bytes())
        found = _scan(path)
        if "manifest.json" in found:
            _unpack(path, link)
            return _docker_names(found["manifest.json"])
        if "index.json" in found:
            link.symlink_to(path.absolute())
            return _oci_names("oci-archive", found["index.json"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ImportFailed(f"{path}: its index cannot be read: {error} (save the image again)") from error
    except OSError as error:
        raise ImportFailed(f"{path}: {error.strerror or error}") from error
    except ImportFailed as error:
        raise ImportFailed(f"{path}: {error}") from error
    raise ImportFailed(f"{path}: neither a docker nor an OCI archive; for a root file system: podstead image import")


def _unpack(path: Path, link: Path) -> None:
    """skopeo 1.9 reads a docker archive only if it is not compressed."""
    with _Metered(path, None) as file, _decompressed(file) as stream:
        if isinstance(stream, io.BufferedReader):
            link.symlink_to(path.absolute())
            return
        with link.open("wb") as unpacked:
            shutil.copyfileobj(stream, unpacked, 1 << 20)


def _scan(path: Path) -> dict[str, bytes]:
    """Return the index files of an archive, read as a stream."""
    found: dict[str, bytes] = {}
    try:
        with (
            _Metered(path, None) as file,
            _decompressed(file) as stream,
            tarfile.open(fileobj=stream, mode="r|") as archive,
        ):
            for member in archive:
                name = member.name.removeprefix("./")
                if name in ("manifest.json", "index.json") and member.isreg() and member.size <= _INDEX_LIMIT:
                    content = archive.extractfile(member)
                    found[name] = content.read() if content is not None else b""
                if "manifest.json" in found:
                    break
    except (tarfile.TarError, EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise ImportFailed(f"not a whole tar archive: {error} (make or copy it again)") from error
    return found


def _docker_names(manifest: bytes) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for number, image in enumerate(json.loads(manifest)):
        tags = image.get("RepoTags") or []
        found += [(f"docker-archive:{_LINK}:{_reference(tag)}", tag) for tag in tags]
        if not tags:
            found.append((f"docker-archive:{_LINK}:@{number}", ""))
    return found


def _oci_names(transport: str, index: bytes) -> list[tuple[str, str]]:
    manifests: list[dict[str, Any]] = json.loads(index)["manifests"]
    found = []
    for manifest in manifests:
        annotations = manifest.get("annotations") or {}
        reference = annotations.get("org.opencontainers.image.ref.name", "")
        # The annotation may hold a tag only ("latest"), which names nothing.
        full = reference if "/" in reference or ":" in reference else ""
        name = annotations.get("io.containerd.image.name") or full
        if len(manifests) > 1 and not reference:
            raise ImportFailed("several images of which some have no name (save them one by one)")
        found.append((f"{transport}:{_LINK}:{reference}" if reference else f"{transport}:{_LINK}", name))
    return found


def _named(found: Sequence[tuple[str, str]], name: Reference | None, path: Path) -> list[_Source]:
    if not found:
        raise ImportFailed(f"{path}: there is no image in it (save one by its name)")
    if name is not None:
        if len({location for location, _ in found}) > 1:
            raise ImportFailed(f"{path}: has {len(found)} images, so --tag cannot name them (leave it out)")
        return [_Source(found[0][0], name)]
    if not all(own for _, own in found):
        raise ImportFailed(f"{path}: the image in it has no name: give one with --tag")
    return [_Source(location, _reference(own)) for location, own in found]


# -- root file systems
def _write_rootfs(archive: Path, directory: Path, config: ImageConfig, progress: Progress | None) -> None:
    try:
        with _Metered(archive, progress) as file, _decompressed(file) as stream:
            layout.write(directory, stream, config, created=archive.stat().st_mtime)
    except (layout.NotATar, ImportFailed) as error:
        raise ImportFailed(f"{archive}: {error}") from error
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise ImportFailed(f"{archive}: damaged: {error} (make or copy it again)") from error
    except OSError as error:
        raise ImportFailed(f"{error.filename or archive}: {error.strerror or error}") from error


class _Metered(io.FileIO):
    """A file that tells how far it has been read, as it is on disk: what it unpacks to is not known beforehand."""

    def __init__(self, path: Path, progress: Progress | None) -> None:
        super().__init__(path)
        self._progress = progress
        self._size = os.fstat(self.fileno()).st_size
        self._told = 0

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        count = super().readinto(buffer)
        position = self.tell()
        if self._progress is not None and (position - self._told >= _STEP or position == self._size != self._told):
            self._told = position
            self._progress(position, self._size)
        return count


def _decompressed(file: io.FileIO) -> IO[bytes]:
    buffered = io.BufferedReader(file, _READ_SIZE)
    magic = buffered.peek(6)
    if magic.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(buffered))
    if magic.startswith(b"BZh"):
        return cast(IO[bytes], bz2.open(buffered))
    if magic.startswith(b"\xfd7zXZ\x00"):
        return cast(IO[bytes], lzma.open(buffered))
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        try:
            from compression import zstd  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise ImportFailed("zstd needs Python 3.14: unpack it with `zstd -d` first") from None
        return cast(IO[bytes], zstd.open(buffered))
    return buffered


def _reference(text: str) -> Reference:
    try:
        return parse(text)
    except InvalidReference as error:
        raise ImportFailed(f"{text!r} is not an image name: {error}") from error
