"""What images the node has: reads containers/storage's own records (its overlay driver), which only skopeo writes.

The records are replaced by rename, so that a reader needs no lock. They are read again when their stat has changed.
`overlay-images/images.json` lists the images, `overlay-layers/layers.json` the layers with their parents and sizes,
`overlay-images/ID/` holds each image's manifest and configuration, `overlay/LAYER/diff` a layer's files.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import msgspec

from podstead.node.images.references import Reference, image_id
from podstead.node.runtime.base import Image, ImageConfig, RuntimeFailure

T = TypeVar("T")
_logger = logging.getLogger(__name__)
_PLAIN_NAME = re.compile(r"[a-zA-Z0-9.][a-zA-Z0-9.]*")
_MANIFEST_PREFIX = "manifest-"
_READ_ATTEMPTS = 5


class _ImageRecord(msgspec.Struct, rename="kebab"):
    id: str
    names: list[str] | None = None
    layer: str = ""
    digest: str = ""
    big_data_names: list[str] | None = None


class _LayerRecord(msgspec.Struct, rename="kebab"):
    id: str
    parent: str = ""
    diff_digest: str = ""
    diff_size: int = 0
    flags: dict[str, object] | None = None


class _RunConfig(msgspec.Struct, rename="pascal"):
    user: str | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    working_dir: str | None = None
    stop_signal: str | None = None


class _ConfigBlob(msgspec.Struct):
    config: _RunConfig | None = None


class ImageDamaged(RuntimeFailure):
    """The store lists an image of which something is missing: pulling or loading it again repairs it."""

    def __init__(self, identity: str, problem: str) -> None:
        super().__init__(f"image {identity} is damaged: {problem}; pull or load it again", "ImageInspectError")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in the store: the digest of its uncompressed tar, and the bytes of its files."""

    digest: str
    size: int


class ImageStore:
    """The images below `graph` (containers/storage's graphroot). Calls block for at most a few small reads."""

    def __init__(self, graph: Path) -> None:
        self._graph = graph
        self._stamp: tuple[object, ...] = ()
        self._records: dict[str, _ImageRecord] = {}
        self._layers: dict[str, _LayerRecord] = {}
        self._by_name: dict[str, str] = {}
        self._by_digest: dict[str, str] = {}
        self._built: dict[str, Image] = {}

    def get(self, identity: str) -> Image | None:
        """Return the image with that id (64 hex digits), or None.

        Raises ImageDamaged, or RuntimeFailure (ImageInspectError) if the store's records cannot be read.
        """
        self._refresh()
        record = self._records.get(identity)
        return self._build(record) if record is not None else None

    def find(self, reference: Reference) -> Image | None:
        """Return the image that bears this name, or has this digest whatever its name; raises as `get`."""
        self._refresh()
        identity = self._by_name.get(str(reference))
        if identity is None and reference.digest:
            identity = self._by_digest.get(reference.digest)
        return self._build(self._records[identity]) if identity is not None else None

    def find_digest(self, digest: str) -> Image | None:
        """Return the image that `sha256:...` names: an image's id first, as for Docker, then a manifest's digest."""
        image = self.get(image_id(digest))
        if image is None and digest in self._by_digest:
            image = self._build(self._records[self._by_digest[digest]])
        return image

    def images(self) -> list[Image]:
        """Return all images in the store's order; damaged ones are left out and logged."""
        self._refresh()
        images = []
        for record in self._records.values():
            try:
                images.append(self._build(record))
            except ImageDamaged as error:
                _logger.warning("%s", error)
        return images

    def damaged(self) -> list[str]:
        """Return the ids of the images of which something is missing."""
        self._refresh()
        found = []
        for record in self._records.values():
            self._built.pop(record.id, None)
            try:
                self._build(record)
            except ImageDamaged:
                found.append(record.id)
        return found

    def exclusive_size(self, identity: str) -> int:
        """Return the bytes of the layers that only this image has."""
        self._refresh()
        own = self._reach([self._records[identity]])
        others = self._reach([record for record in self._records.values() if record.id != identity])
        return sum(self._layers[layer].diff_size for layer in own - others)

    def orphans(self) -> list[list[Layer]]:
        """Return the layers that belong to no image as chains from the lowest up, ends of branches only."""
        self._refresh()
        orphans = self._layers.keys() - self._reach(self._records.values())
        inner = {self._layers[identity].parent for identity in orphans}
        found = []
        for identity in sorted(orphans - inner):
            chain: list[Layer] = []
            layer = self._layers.get(identity)
            while layer is not None and layer.diff_digest and not (layer.flags or {}).get("incomplete"):
                chain.append(Layer(layer.diff_digest, layer.diff_size))
                layer = self._layers.get(layer.parent)
            if chain:
                found.append(chain[::-1])
        return found

    def _reach(self, records: Iterable[_ImageRecord]) -> set[str]:
        found: set[str] = set()
        for record in records:
            identity = record.layer
            while identity in self._layers and identity not in found:
                found.add(identity)
                identity = self._layers[identity].parent
        return found

    # -- reading the records
    def _refresh(self) -> None:
        images, layers = self._graph / "overlay-images/images.json", self._graph / "overlay-layers/layers.json"
        stamp = (*_stamp(images), *_stamp(layers))
        if stamp == self._stamp:
            return
        records, layer_records = _read_list(images, _ImageRecord), _read_list(layers, _LayerRecord)
        for _ in range(_READ_ATTEMPTS):  # two files cannot be read at one moment: read until neither has changed
            again = (*_stamp(images), *_stamp(layers))
            if again == stamp:
                break
            stamp = again
            records, layer_records = _read_list(images, _ImageRecord), _read_list(layers, _LayerRecord)
        self._layers = {layer.id: layer for layer in layer_records}
        self._records = {record.id: record for record in records}
        self._by_name = {name: record.id for record in records for name in record.names or ()}
        self._by_digest = {digest: record.id for record in records for digest in _digests(record)}
        self._built = {}
        self._stamp = stamp

    def _build(self, record: _ImageRecord) -> Image:
        if record.id in self._built:
            return self._built[record.id]
        layers = self._chain(record)
        names = record.names or []
        repositories = dict.fromkeys(_repository(name) for name in names)
        image = Image(
            id=record.id,
            tags=tuple(name for name in names if "@" not in name),
            digests=tuple(f"{repository}@{digest}" for repository in repositories for digest in _digests(record)),
            size=sum(layer.diff_size for layer in layers),
            config=self._config(record),
            layers=tuple(self._graph / "overlay" / layer.id / "diff" for layer in layers),
        )
        self._built[record.id] = image
        return image

    def _chain(self, record: _ImageRecord) -> list[_LayerRecord]:
        chain: list[_LayerRecord] = []
        identity = record.layer
        while identity:
            layer = self._layers.get(identity)
            if layer is None or len(chain) > len(self._layers):
                raise ImageDamaged(_title(record), f"layer {identity[:12]} is not in the store")
            if (layer.flags or {}).get("incomplete"):
                raise ImageDamaged(_title(record), f"layer {identity[:12]} is incomplete")
            if not (self._graph / "overlay" / layer.id / "diff").is_dir():
                raise ImageDamaged(_title(record), f"the files of layer {identity[:12]} are gone")
            chain.append(layer)
            identity = layer.parent
        return chain

    def _config(self, record: _ImageRecord) -> ImageConfig:
        path = self._graph / "overlay-images" / record.id / _big_data_file(f"sha256:{record.id}")
        try:
            blob = msgspec.json.decode(path.read_bytes(), type=_ConfigBlob)
        except (OSError, msgspec.DecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ImageDamaged(_title(record), f"its configuration cannot be read ({reason})") from error
        said = blob.config or _RunConfig()
        return ImageConfig(
            user=said.user or "",
            env=tuple(said.env or ()),
            entrypoint=tuple(said.entrypoint or ()),
            cmd=tuple(said.cmd or ()),
            working_dir=said.working_dir or "",
            stop_signal=said.stop_signal or "",
        )


def named_first(image: Image, reference: str) -> Image:
    """Return `image` with `reference` first among its tags, if it is one of them."""
    if reference not in image.tags:
        return image
    return replace(image, tags=(reference, *(tag for tag in image.tags if tag != reference)))


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    except OSError as error:
        raise RuntimeFailure(f"cannot read {path}: {error.strerror}", "ImageInspectError") from error
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def _read_list(path: Path, kind: type[T]) -> list[T]:
    try:
        content = path.read_bytes()
        return msgspec.json.decode(content, type=list[kind] | None) or []  # type: ignore[valid-type]
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        message = f"the image store is damaged: {path}: {reason}; move {path.parent.parent} away to start with none"
        raise RuntimeFailure(message, "ImageInspectError") from error


def _digests(record: _ImageRecord) -> Iterable[str]:
    """The digests of the manifest and, for an image of many platforms, of the list that led to it; own one first."""
    listed = (
        name.removeprefix(_MANIFEST_PREFIX) for name in record.big_data_names or () if name.startswith(_MANIFEST_PREFIX)
    )
    return dict.fromkeys((*([record.digest] if record.digest else ()), *listed))


def _big_data_file(key: str) -> str:
    """containers/storage's file name for a piece of data: itself if plain, else `=` and its base64."""
    return key if _PLAIN_NAME.fullmatch(key) else "=" + base64.b64encode(key.encode()).decode()


def _repository(name: str) -> str:
    name = name.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _title(record: _ImageRecord) -> str:
    return record.names[0] if record.names else record.id[:12]
