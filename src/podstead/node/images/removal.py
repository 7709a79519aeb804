"""Takes images out of the store: one by name, what nobody uses, and the layers that an unfinished pull left.

Nothing that a container was made from is removed, whoever asks and whether the server runs or not (see usage.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from podstead.node.images import names
from podstead.node.images.layout import write_index
from podstead.node.images.pull import Images
from podstead.node.images.skopeo import Skopeo, SkopeoFailed
from podstead.node.images.usage import images_in_use, removing
from podstead.node.runtime.base import Image, RuntimeFailure
from podstead.paths import Paths

_ORPHAN = "localhost/podstead/unfinished:1"


class RemovalFailed(RuntimeFailure):
    """An image stays; the message is one line for the user.

    RemovalFailed
    +-- ImageUsed   a container was made from it
    +-- NoSuchImage
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, "ImageRemovalFailed")


class ImageUsed(RemovalFailed):
    """At least one container, maybe one that has ended, was made from the image."""


class NoSuchImage(RemovalFailed):
    """The node has no image of that name."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What has gone: names, ids of whole images, and bytes of layers that nothing else uses."""

    untagged: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    freed: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(self.untagged + other.untagged, self.deleted + other.deleted, self.freed + other.freed)


class ImageRemover:
    """Removes images of one instance; any number of processes may do so at once."""

    def __init__(self, paths: Paths, images: Images) -> None:
        self._paths = paths
        self._images = images
        self._skopeo = Skopeo(paths)

    async def remove(self, reference: str, *, force: bool = False) -> Removed:
        """Take the name `reference` away, and the image with its last name; by id or digest the image with all names.

        Raises NoSuchImage, and ImageUsed for an image in use, unless `force`: then it only loses its names, and goes
        with the next `prune` after its last container. Raises RemovalFailed for several names and an id without it.
        """
        image = await self._images.image_status(reference)
        if image is None:
            raise NoSuchImage(f"{reference}: no such image (podstead image ls lists them)")
        by_name = image.tags[:1] if _is_name(reference, image) else ()
        if by_name and len(image.tags) > 1:
            await asyncio.to_thread(names.take_away, self._paths.image_graph, image.id, by_name)
            return Removed(untagged=by_name)
        if not by_name and len(image.tags) > 1 and not force:
            raise RemovalFailed(
                f"{reference} has {len(image.tags)} names ({', '.join(image.tags)}): name one, or --force"
            )
        try:
            return await self.delete(image)
        except ImageUsed:
            if not force:
                raise
        await asyncio.to_thread(names.take_away, self._paths.image_graph, image.id, None)
        return Removed(untagged=image.tags)

    async def prune(self, *, everything: bool = False) -> Removed:
        """Remove the images without a name (with `everything` all) that no container uses, and left-over layers."""
        await self._images.repair()
        gone = Removed()
        for image in await self._images.list_images():
            if everything or not (image.tags or image.digests):
                try:
                    gone += await self.delete(image)
                except ImageUsed:
                    pass
        return gone + await self.remove_unfinished()

    async def delete(self, image: Image) -> Removed:
        """Remove the image with all its names and the layers that only it has. Raises ImageUsed, RemovalFailed."""
        async with removing(self._paths.image_graph):
            used = await asyncio.to_thread(images_in_use, self._paths)
            if image.id in used:
                users = used[image.id]
                more = f" and {len(users) - 1} more" if len(users) > 1 else ""
                raise ImageUsed(f"image {_title(image)} is used by {users[0]}{more} (delete the pod first)")
            size = self._images.store.exclusive_size(image.id)
            try:
                await self._skopeo.delete(image.id)
            except SkopeoFailed as error:
                raise RemovalFailed(f"image {_title(image)} cannot be removed: {error}") from error
            return Removed(image.tags, (image.id,), size)

    async def remove_unfinished(self) -> Removed:
        """Remove layers that belong to no image: a pull that failed or was cancelled left them, so that the next one
        need not fetch them again. While any transfer goes on nothing is done: they may be that one's.
        """
        gone = Removed()
        if self._skopeo.transferring():
            return gone
        for chain in self._images.store.orphans():
            size = sum(layer.size for layer in chain)
            async with self._skopeo.scratch() as scratch:
                # The store's own tool removes images only: so make an image of them, which copies nothing.
                identity = await asyncio.to_thread(_write_image, scratch / "image", [layer.digest for layer in chain])
                try:
                    await self._skopeo.copy("oci:image", _ORPHAN, cwd=scratch)
                    await self._skopeo.delete(identity)
                except SkopeoFailed as error:
                    raise RemovalFailed(f"left-over layers cannot be removed: {error}") from error
            gone += Removed(freed=size)
        return gone


def _is_name(reference: str, image: Image) -> bool:
    return "@" not in reference and not image.id.startswith(reference.removeprefix("sha256:")) and bool(image.tags)


def _title(image: Image) -> str:
    return (*image.tags, *image.digests, image.id[:12])[0]


def _write_image(directory: Path, digests: Sequence[str]) -> str:
    """Write an OCI layout of layers that the store has, without their content; return the image's id."""
    config = {"architecture": "none", "os": "linux", "rootfs": {"type": "layers", "diff_ids": list(digests)}}
    kind = "application/vnd.oci.image.layer.v1.tar"
    write_index(directory, config, [{"mediaType": kind, "digest": digest, "size": 1} for digest in digests])
    return hashlib.sha256(json.dumps(config, separators=(",", ":")).encode()).hexdigest()
