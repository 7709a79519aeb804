"""Image garbage collection by disk use, with the kubelet's defaults (imageGCHighThresholdPercent and its like).

Above the high threshold images that no container uses go, the longest unused first, until the low one is reached.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from podstead import clock
from podstead.node.images.pull import Images
from podstead.node.images.removal import ImageRemover, ImageUsed
from podstead.node.images.usage import images_in_use
from podstead.node.runtime.base import Image, RuntimeFailure
from podstead.paths import Paths

log = logging.getLogger(__name__)

_FIRST_LOOK = 30.0
"""Seconds after the start: it is not held up, and what was there already begins to age."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Percent of the disk, and seconds. An image stays for `minimum_age` after it was first seen."""

    high: int = 85
    low: int = 80
    minimum_age: float = 120.0
    period: float = 300.0


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes of a file system, and those that are left to its users."""

    capacity: int
    available: int


def disk_usage(path: Path) -> DiskUsage:
    """Read it of the file system that `path` is on; raises OSError."""
    status = os.statvfs(path)
    return DiskUsage(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)


@dataclass(slots=True)
class _Seen:
    first: float
    last_used: float = 0.0


class ImageCollector:
    """Collects on one node. `run` is its task; `tell` is given the reason and message of warnings about the node."""

    def __init__(
        self,
        paths: Paths,
        images: Images,
        tell: Callable[[str, str], None],
        *,
        policy: Policy = Policy(),
        usage: Callable[[Path], DiskUsage] = disk_usage,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._paths = paths
        self._images = images
        self._remover = ImageRemover(paths, images)
        self._tell = tell
        self._policy = policy
        self._usage = usage
        self._now = now
        self._seen: dict[str, _Seen] = {}
        self._failed = False

    async def run(self) -> None:
        """Collect after every pull, which is what fills the disk, and each `period`; until cancelled."""
        rest = min(_FIRST_LOOK, self._policy.period)
        while True:
            try:
                async with asyncio.timeout(rest):
                    await self._images.pulled.wait()
            except TimeoutError:
                pass
            self._images.pulled.clear()
            await self._pass()
            rest = self._policy.period

    async def _pass(self) -> None:
        try:
            await self.collect()
        except (OSError, RuntimeFailure) as error:
            message = str(error) if isinstance(error, RuntimeFailure) else f"{error.filename}: {error.strerror}"
            log.warning("image garbage collection failed: %s", message)
            if self._failed:  # once may be chance: the kubelet too tells it from the second time on
                self._tell("ImageGCFailed", message)
            self._failed = True
        else:
            self._failed = False

    async def collect(self) -> int:
        """Look once, and return how many bytes were freed. Raises RuntimeFailure (after the warning
        FreeDiskSpaceFailed) if there is not enough that may go, OSError if the disk cannot be read.
        """
        images = await self._notice()
        used = await asyncio.to_thread(self._usage, self._directory())
        if used.capacity <= 0:
            self._tell("InvalidDiskCapacity", "invalid capacity 0 on image filesystem")
            raise RuntimeFailure("invalid capacity 0 on image filesystem", "InvalidDiskCapacity")
        if 100 - used.available * 100 // used.capacity < self._policy.high:
            return 0
        wanted = used.capacity * (100 - self._policy.low) // 100 - used.available
        freed = await self._free(wanted, images)
        if freed < wanted:
            message = (
                f"Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, "
                f"but only found {freed} bytes eligible to free."
            )
            self._tell("FreeDiskSpaceFailed", message)
            raise RuntimeFailure(message, "FreeDiskSpaceFailed")
        return freed

    def _directory(self) -> Path:
        graph = self._paths.image_graph
        return graph if graph.exists() else self._paths.data

    async def _notice(self) -> list[Image]:
        """Note what is there and what is in use; return what is not in use, the longest unused first."""
        now = self._now()
        images = await self._images.list_images()
        used = await asyncio.to_thread(images_in_use, self._paths)
        self._seen = {image.id: self._seen.get(image.id) or _Seen(now) for image in images}
        for identity in used.keys() & self._seen.keys():
            self._seen[identity].last_used = now
        unused = [image for image in images if image.id not in used]
        return sorted(unused, key=lambda image: (self._seen[image.id].last_used, self._seen[image.id].first))

    async def _free(self, wanted: int, images: list[Image]) -> int:
        freed = (await self._remover.remove_unfinished()).freed
        for image in images:
            if freed >= wanted:
                break
            if self._now() - self._seen[image.id].first < self._policy.minimum_age:
                continue
            try:
                removed = await self._remover.delete(image)
            except ImageUsed:
                continue
            log.info("removed image %s, %d bytes: the disk is nearly full", (*image.tags, image.id)[0], removed.freed)
            freed += removed.freed
        return freed
