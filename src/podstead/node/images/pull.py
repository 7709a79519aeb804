"""The node's image service: what the store has, and pulling more into it, one transfer for all who ask meanwhile."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from podstead.node.images.references import InvalidReference, Reference, image_id, is_loopback, parse
from podstead.node.images.registries import candidates, local_candidates
from podstead.node.images.rootfs import mount_rootfs, unmount_rootfs
from podstead.node.images.skopeo import STALL_SECONDS, Skopeo, SkopeoFailed, SkopeoMissing, SkopeoStalled
from podstead.node.images.store import ImageDamaged, ImageStore, named_first
from podstead.node.runtime.base import Image, PullFailed
from podstead.paths import Paths

_TRANSFERS_AT_ONCE = 4

# What a registry's or the network's error means to the user, in the order to look; the reasons are the kubelet's.
_MEANINGS = (
    (r"source image rejected|signature", "SignatureValidationFailed", "the signature policy rejects it"),
    (r"toomanyrequests|too many requests", "RegistryUnavailable", "the registry limits requests"),
    (
        r"i/o timeout|client\.timeout|deadline exceeded|tls handshake timeout",
        "RegistryUnavailable",
        "the registry does not answer",
    ),
    (r"\b50[0-4]\b|service unavailable|bad gateway", "RegistryUnavailable", "the registry has a problem"),
    (r"connection refused", "ErrImagePull", "the registry refuses connections"),
    (r"no such host", "ErrImagePull", "the registry's name cannot be resolved"),
    (r"x509|certificate|tls:|http response to https", "ErrImagePull", "the registry cannot be trusted (TLS)"),
    (r"unauthorized|authentication required|denied|forbidden|invalid username", "ErrImagePull", "access denied"),
    (r"manifest unknown|name unknown|not known to registry|not found|status 404", "ErrImagePull", "not found"),
    (r"no image found|no matching manifest", "ErrImagePull", "not there for this machine's architecture"),
    (r"no space left", "ErrImagePull", "the disk is full"),
)
_SOURCE = re.compile(r"^initializing source docker://\S+: ")


@dataclass(slots=True)
class _Transfer:
    task: asyncio.Task[Image]
    waiters: int = 0


class Images:
    """CRI's image service (`ImageService`, `RootFilesystems`) on the image store of one instance.

    `close` ends the transfers under way; a caller that still waits for one gets PullFailed.
    """

    def __init__(self, paths: Paths, *, stall: float = STALL_SECONDS) -> None:
        self.store = ImageStore(paths.image_graph)
        self._skopeo = Skopeo(paths, stall=stall)
        self._transfers: dict[str, _Transfer] = {}
        self._tasks: set[asyncio.Task[Image]] = set()
        self._slots = asyncio.Semaphore(_TRANSFERS_AT_ONCE)
        self._closed = False

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

    async def pull_image(self, reference: str) -> Image:
        """Pull; one transfer serves all who ask. Raises PullFailed. A cancelled caller stops only its own wait,
        unless it was the last: then the transfer has ended before this returns.
        """
        names = candidates(_parsed(reference), reference)
        key = " ".join(map(str, names))
        transfer = self._transfers.get(key)
        if transfer is None:
            if self._closed:
                raise PullFailed(f"{names[0]}: the node is shutting down", "ErrImagePull")
            transfer = self._transfers[key] = _Transfer(self._begin(key, names))
        transfer.waiters += 1
        try:
            await asyncio.wait({transfer.task})
        except asyncio.CancelledError:
            transfer.waiters -= 1
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
        await mount_rootfs(image, container_dir, target)

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

    def _begin(self, key: str, names: list[Reference]) -> asyncio.Task[Image]:
        task = asyncio.create_task(self._pull(names), name=f"pull {key}")
        self._tasks.add(task)

        def ended(task: asyncio.Task[Image]) -> None:
            self._tasks.discard(task)
            transfer = self._transfers.get(key)
            if transfer is not None and transfer.task is task:
                self._forget(key, transfer)
            if not task.cancelled():
                task.exception()  # seen: every waiter may have gone

        task.add_done_callback(ended)
        return task

    def _forget(self, key: str, transfer: _Transfer) -> None:
        if self._transfers.get(key) is transfer:
            del self._transfers[key]

    async def _pull(self, names: list[Reference]) -> Image:
        async with self._slots:
            await self.repair()
            failures: list[PullFailed] = []
            for name in names:
                try:
                    return await self._pull_one(name)
                except PullFailed as error:
                    failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        raise PullFailed("; ".join(str(error) for error in failures), failures[-1].reason)

    async def _pull_one(self, name: Reference) -> Image:
        options = ["--src-tls-verify=false"] if is_loopback(name.domain) else []
        try:
            await self._skopeo.copy(f"docker://{name}", str(name), options)
        except SkopeoFailed as error:
            raise explain(name, error) from error
        except OSError as error:
            raise PullFailed(f"{name}: {error.filename or 'skopeo'}: {error.strerror}", "ErrImagePull") from error
        return self.stored(name)

    async def repair(self) -> None:
        """Take damaged images out of the store: else skopeo would take their layers for present."""
        for identity in self.store.damaged():
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


def explain(name: Reference, error: SkopeoFailed) -> PullFailed:
    """Turn skopeo's error into one line that begins with the image and says what is wrong, with Kubernetes' reason."""
    detail = _SOURCE.sub("", str(error))
    if isinstance(error, SkopeoMissing):
        return PullFailed(detail, "ErrImagePull")
    if isinstance(error, SkopeoStalled):
        return PullFailed(f"{name}: the registry does not answer: {detail}", "RegistryUnavailable")
    for pattern, reason, meaning in _MEANINGS:
        if re.search(pattern, detail, re.IGNORECASE):
            return PullFailed(f"{name}: {meaning}: {detail}", reason)
    return PullFailed(f"{name}: {detail}", "ErrImagePull")


def _parsed(text: str) -> Reference:
    try:
        return parse(text)
    except InvalidReference as error:
        message = f'Failed to apply default image tag "{text}": couldn\'t parse image name "{text}": {error}'
        raise PullFailed(message, "InvalidImageName") from error
