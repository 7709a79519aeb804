"""The node's image service: what the store has, and pulling more into it, one transfer for all who ask meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from podstead.node.images.credentials import auth_file, matching
from podstead.node.images.failures import explain, together
from podstead.node.images.references import InvalidReference, Reference, image_id, parse
from podstead.node.images.registries import candidates, has_auth_file, local_candidates, transport_options
from podstead.node.images.rootfs import mount_rootfs, unmount_rootfs
from podstead.node.images.skopeo import STALL_SECONDS, Skopeo, SkopeoFailed
from podstead.node.images.store import ImageDamaged, ImageStore, named_first
from podstead.node.images.usage import images_in_use
from podstead.node.runtime.base import Image, Progress, PullFailed, RegistryAuth
from podstead.paths import Paths

_TRANSFERS_AT_ONCE = 4

_Try = tuple[Reference, RegistryAuth | None]
_Key = tuple[str, tuple[RegistryAuth | None, ...]]


@dataclass(slots=True)
class _Transfer:
    task: asyncio.Task[Image]
    listeners: list[Progress] = field(default_factory=list)
    waiters: int = 0


class Images:
    """CRI's image service (`ImageService`, `RootFilesystems`) on the image store of one instance.

    `close` ends the transfers under way; a caller that still waits for one gets PullFailed.
    """

    def __init__(self, paths: Paths, *, stall: float = STALL_SECONDS, certificates: Path | None = None) -> None:
        """`stall`: after how many seconds in which nothing moved a transfer is given up. `certificates`: a directory
        with what registries are trusted by, instead of the system's certs.d directories (containers-certs.d(5))."""
        self._paths = paths
        self._certificates = certificates
        self.store = ImageStore(paths.image_graph)
        self._skopeo = Skopeo(paths, stall=stall)
        self._transfers: dict[_Key, _Transfer] = {}
        self._tasks: set[asyncio.Task[Image]] = set()
        self._slots = asyncio.Semaphore(_TRANSFERS_AT_ONCE)
        self._closed = False
        self.pulled = asyncio.Event()
        """Set whenever a transfer has ended, well or not; for one waiter, who clears it."""

    async def image_status(self, reference: str) -> Image | None:
        """Return the image that `reference` (a normalized or short name, a digest, or an id) names here, or None.

        An image of which something is missing counts as not there: a pull repairs it. So does what is not a name or
        cannot be resolved: a pull says why. Raises RuntimeFailure (ImageInspectError) if the store cannot be read.
        """
        try:
            if image_id(reference):
                return self.store.find_digest(f"sha256:{image_id(reference)}")
            for candidate in local_candidates(_parsed(reference), reference):
                image = self.store.find(candidate)
                if image is not None:
                    return named_first(image, str(candidate))
        except (ImageDamaged, PullFailed):
            return None
        return None

    async def list_images(self) -> list[Image]:
        """Return all images that are complete; raises RuntimeFailure (ImageInspectError)."""
        return self.store.images()

    async def pull_image(
        self, reference: str, auths: Sequence[RegistryAuth] = (), progress: Progress | None = None
    ) -> Image:
        """Pull; one transfer serves all who ask with the same credentials. Raises PullFailed. A cancelled caller stops
        only its own wait, unless it was the last: then the transfer has ended before this returns. See ImageService.
        """
        names = candidates(_parsed(reference), reference)
        tries = [(name, auth) for name in names for auth in _tries(name, auths)]
        key = (" ".join(map(str, names)), tuple(auth for _, auth in tries))
        transfer = self._transfers.get(key)
        if transfer is None:
            if self._closed:
                raise PullFailed(f"{names[0]}: the node is shutting down", "ErrImagePull")
            transfer = self._transfers[key] = self._begin(key, tries)
        transfer.waiters += 1
        if progress is not None:
            transfer.listeners.append(progress)
        try:
            await asyncio.wait({transfer.task})
        except asyncio.CancelledError:
            transfer.waiters -= 1
            if progress is not None:
                transfer.listeners.remove(progress)
            if transfer.waiters == 0:
                self._forget(key, transfer)
                transfer.task.cancel()
                await asyncio.wait({transfer.task})
            raise
        if transfer.task.cancelled():
            raise PullFailed(f"{names[0]}: the node is shutting down", "ErrImagePull")
        return transfer.task.result()

    async def mount_rootfs(self, image: Image, container_dir: Path, target: Path) -> None:
        """See rootfs.mount_rootfs: with it this is the runtime's `RootFilesystems` too."""
        await mount_rootfs(image, container_dir, target, self._paths.image_graph)

    async def unmount_rootfs(self, target: Path, container_dir: Path) -> None:
        """See rootfs.unmount_rootfs."""
        await unmount_rootfs(target, container_dir)

    async def close(self) -> None:
        """Cancel all transfers and wait for their end."""
        self._closed = True
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, key: _Key, tries: list[_Try]) -> _Transfer:
        listeners: list[Progress] = []

        def progress(done: int, total: int) -> None:
            for listener in tuple(listeners):
                listener(done, total)

        task = asyncio.create_task(self._pull(tries, progress), name=f"pull {key[0]}")
        self._tasks.add(task)

        def ended(task: asyncio.Task[Image]) -> None:
            self._tasks.discard(task)
            self.pulled.set()
            transfer = self._transfers.get(key)
            if transfer is not None and transfer.task is task:
                self._forget(key, transfer)
            if not task.cancelled():
                task.exception()  # seen: every waiter may have gone

        task.add_done_callback(ended)
        return _Transfer(task, listeners)

    def _forget(self, key: _Key, transfer: _Transfer) -> None:
        if self._transfers.get(key) is transfer:
            del self._transfers[key]

    async def _pull(self, tries: list[_Try], progress: Progress) -> Image:
        async with self._slots:
            await self.repair()
            failures: list[PullFailed] = []
            for name, auth in tries:
                try:
                    return await self._pull_one(name, auth, progress)
                except PullFailed as error:
                    failures.append(error)
        raise together(failures)

    async def _pull_one(self, name: Reference, auth: RegistryAuth | None, progress: Progress) -> Image:
        options = transport_options(name.domain, self._certificates)
        content = auth_file(auth, name) if auth is not None else ""
        try:
            await self._skopeo.copy(f"docker://{name}", str(name), options, auth_file=content, progress=progress)
        except SkopeoFailed as error:
            raise explain(name, error, auth) from error
        except OSError as error:
            raise PullFailed(f"{name}: {error.filename or 'skopeo'}: {error.strerror}", "ErrImagePull") from error
        return self.stored(name)

    async def repair(self) -> None:
        """Take damaged images out of the store: else skopeo would take their layers for present.

        What a container still uses stays until it is gone: the other layers are its files.
        """
        damaged = self.store.damaged()
        if not damaged:
            return
        used = await asyncio.to_thread(images_in_use, self._paths)
        for identity in damaged:
            if identity in used:
                continue
            try:
                await self._skopeo.delete(identity)
            except SkopeoFailed as error:
                raise PullFailed(f"cannot remove the damaged image {identity[:12]}: {error}", "ErrImagePull") from error

    def stored(self, name: Reference) -> Image:
        """Return what a copy has just put into the store; raises PullFailed if it is not there or not whole."""
        try:
            image = self.store.find(name)
        except ImageDamaged as error:
            raise PullFailed(str(error), "ErrImagePull") from error
        if image is None:
            raise PullFailed(f"{name}: copied, but the image store does not list it", "ErrImagePull")
        return named_first(image, str(name))


def _tries(name: Reference, auths: Sequence[RegistryAuth]) -> list[RegistryAuth | None]:
    """What to open a repository with, in order; None is what the user's auth files say, or nothing at all."""
    fitting: list[RegistryAuth | None] = [*matching(auths, name)]
    return [*fitting, None] if not fitting or has_auth_file() else fitting


def _parsed(text: str) -> Reference:
    try:
        return parse(text)
    except InvalidReference as error:
        message = f'Failed to apply default image tag "{text}": couldn\'t parse image name "{text}": {error}'
        raise PullFailed(message, "InvalidImageName") from error
