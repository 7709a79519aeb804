"""Images of a pod's image volumes: found or pulled as a container's own, before a container that mounts one is made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from podstead.node.context import NodeContext
from podstead.node.pulling import ImagePuller, Record
from podstead.node.runtime.base import Image
from podstead.node.status import Waiting
from podstead.node.volumes.image import ImageVolumePlugin, resolved
from podstead.objects.pod import Container, Pod
from podstead.objects.volumes import Volume


class VolumeImages:
    """Of one pod. `images` has those that were found, by the volume's name: once found, one stays."""

    def __init__(self, context: NodeContext, pod: Pod, record: Record, changed: Callable[[], None]) -> None:
        self._context = context
        self._uid = pod.metadata.uid
        # To the puller each volume is a container, which has its name; events are the pod's.
        self._puller = ImagePuller(context, pod, lambda _, *event: record("", *event), changed)
        self._declared: Mapping[str, Volume] = {
            volume.name: volume for volume in pod.spec.volumes if volume.image is not None
        }
        self.images: dict[str, Image] = {}
        self._recalled = False

    async def ready(self, container: Container) -> tuple[Waiting | None, float | None]:
        """Return why `container` has to wait for its volumes, and for how many seconds; no reason: it need not."""
        waits: list[tuple[Waiting, float | None]] = []
        for volume in self._of(container):
            if volume.name not in self.images:
                image, waiting, delay = await self._find(volume)
                if image is None:
                    waits.append((waiting or Waiting("ContainerCreating"), delay))
                else:
                    self.images[volume.name] = image
        return waits[0] if waits else (None, None)

    async def recall(self) -> None:
        """Take up what a server before this one found, once; raises RuntimeFailure where the store cannot be read."""
        if self._recalled:
            return
        for name in self._declared:
            if (image := await self._earlier(name)) is not None:
                self.images[name] = image
        self._recalled = True

    async def _earlier(self, name: str) -> Image | None:
        path = self._context.paths.volume(self._uid, ImageVolumePlugin.directory, name)
        identity = await asyncio.to_thread(resolved, path)
        return await self._context.images.image_status(identity) if identity else None

    def pulling(self, container: Container) -> bool:
        """Tell whether an image of a volume that `container` mounts is on its way."""
        return any(self._puller.pulling(_as_container(volume)) for volume in self._of(container))

    async def close(self) -> None:
        await self._puller.close()

    def _of(self, container: Container) -> list[Volume]:
        if not self._declared:
            return []
        names = dict.fromkeys(mount.name for mount in container.volume_mounts)
        return [self._declared[name] for name in names if name in self._declared]

    async def _find(self, volume: Volume) -> tuple[Image | None, Waiting | None, float | None]:
        asked = _as_container(volume)
        found = await self._puller.image(asked)
        if found[0] is not None:
            self._puller.used(asked)
        return found


def _as_container(volume: Volume) -> Container:
    assert volume.image is not None
    return Container(name=volume.name, image=volume.image.reference, image_pull_policy=volume.image.pull_policy)
