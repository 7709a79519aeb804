"""Images for a pod's containers: pull policy, waiting reasons, back-off and events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from podstead import clock
from podstead.client.events import NORMAL, WARNING
from podstead.node import pullsecrets
from podstead.node.context import NodeContext
from podstead.node.runtime.base import Image, Progress, PullFailed, RuntimeFailure
from podstead.node.status import Waiting
from podstead.objects.pod import Container, Pod

log = logging.getLogger(__name__)

_SHOW_FAILURE = 2.0
"""Seconds for which ErrImagePull is shown before ImagePullBackOff."""
_LOOK_AGAIN = 10.0
"""Seconds until an image store that could not be read, or has no image that may not be pulled, is read again."""

_PROGRESS_INTERVAL = 20.0
"""Seconds between events that tell how far a pull has come."""

Record = Callable[[str, str, str, str], None]
"""(container name, event type, reason, message)."""

_Wanted = tuple[str, str]
"""(container name, image): a pod's image can be changed while the first one is on its way."""


def _wanted(container: Container) -> _Wanted:
    return container.name, container.image


class ImagePuller:
    """The pulls of one pod. `changed` is called whenever a pull has ended; `close` cancels what goes on."""

    def __init__(self, context: NodeContext, pod: Pod, record: Record, changed: Callable[[], None]) -> None:
        self._context = context
        self._pod = pod
        self._uid = pod.metadata.uid
        self._record = record
        self._changed = changed
        self._pulls: dict[_Wanted, asyncio.Task[None]] = {}
        self._pulled: set[_Wanted] = set()
        self._failures: dict[_Wanted, tuple[PullFailed, float]] = {}
        self._unseen: set[_Wanted] = set()

    def pulling(self, container: Container) -> bool:
        """Tell whether the image of `container` is on its way."""
        return _wanted(container) in self._pulls

    async def image(self, container: Container) -> tuple[Image | None, Waiting | None, float | None]:
        """Return the image, or why the container waits, and in how many seconds to ask again (None: when told)."""
        try:
            present = await self._context.images.image_status(container.image)
        except RuntimeFailure as error:
            message = f'Failed to inspect image "{container.image}": {error}'
            self._record(container.name, WARNING, "InspectFailed", message)
            return None, Waiting("ImageInspectError", message), _LOOK_AGAIN
        policy = container.image_pull_policy
        if present and (policy != "Always" or _wanted(container) in self._pulled):
            return present, None, None
        if policy == "Never":
            message = f'Container image "{container.image}" is not present with pull policy of Never'
            self._record(container.name, WARNING, "ErrImageNeverPull", message)
            return None, Waiting("ErrImageNeverPull", message), _LOOK_AGAIN
        return await self._pull_or_wait(container)

    def used(self, container: Container) -> None:
        """Note that a container is made from the image that `image` gave: the next one pulls again if it must."""
        if _wanted(container) in self._pulled:
            self._pulled.discard(_wanted(container))
            return
        message = f'Container image "{container.image}" already present on machine'
        self._record(container.name, NORMAL, "Pulled", message)

    async def _pull_or_wait(self, container: Container) -> tuple[None, Waiting, float | None]:
        wanted = _wanted(container)
        if wanted in self._pulls:
            return None, Waiting("ContainerCreating"), None
        failure = self._failures.get(wanted)
        if failure is not None:
            error, since = failure
            rest = self._context.pull_backoff.remaining(self._key(container), since, clock.monotonic())
            if rest > 0 and wanted in self._unseen:
                # The failure itself is shown first, the waiting for the next try after a moment.
                self._unseen.discard(wanted)
                return None, Waiting(error.reason, str(error)), min(rest, _SHOW_FAILURE)
            if rest > 0:
                return None, self._backing_off(container, error), rest
        for other in [one for one in self._pulls if one[0] == container.name]:
            self._pulls[other].cancel()  # The pod names another image now.
        self._pulls[wanted] = asyncio.create_task(self._pull(container), name=f"pull {container.image}")
        return None, Waiting("ContainerCreating"), None

    def _backing_off(self, container: Container, error: PullFailed) -> Waiting:
        if error.reason == "InvalidImageName":
            return Waiting(error.reason, str(error))
        self._record(container.name, NORMAL, "BackOff", f'Back-off pulling image "{container.image}"')
        self._record(container.name, WARNING, "Failed", "Error: ImagePullBackOff")
        return Waiting("ImagePullBackOff", f'Back-off pulling image "{container.image}": {error.reason}: {error}')

    def _key(self, container: Container) -> str:
        return f"{self._uid}_{container.image}"

    async def _pull(self, container: Container) -> None:
        began, wanted = clock.monotonic(), _wanted(container)
        try:
            self._record(container.name, NORMAL, "Pulling", f'Pulling image "{container.image}"')
            secrets = await pullsecrets.read(self._context.client, self._pod)
            if secrets.missing:
                self._record("", WARNING, "FailedToRetrieveImagePullSecret", secrets.warning)
            progress = self._progress(container)
            image = await self._context.images.pull_image(container.image, secrets.auths, progress)
        except Exception as error:
            if not isinstance(error, RuntimeFailure):
                log.exception("the pull of %s failed", container.image)
            failed = error if isinstance(error, PullFailed) else PullFailed(str(error), "ErrImagePull")
            self._failures[wanted] = (failed, clock.monotonic())
            self._unseen.add(wanted)
            self._context.pull_backoff.failed(self._key(container), clock.monotonic())
            self._report_failure(container, failed)
        else:
            self._failures.pop(wanted, None)
            self._context.pull_backoff.forget(self._key(container))
            self._pulled.add(wanted)
            took = f"{clock.monotonic() - began:.3f}s"
            message = f'Successfully pulled image "{container.image}" in {took} ({took} including waiting). '
            self._record(container.name, NORMAL, "Pulled", f"{message}Image size: {image.size} bytes.")
        finally:
            del self._pulls[wanted]
            self._changed()

    def _progress(self, container: Container) -> Progress:
        """Return what tells of a pull now and then; a short one brings no events."""
        told = clock.monotonic()

        def progress(done: int, total: int) -> None:
            nonlocal told
            now = clock.monotonic()
            if now - told >= _PROGRESS_INTERVAL:
                told = now
                message = f'Pulling image "{container.image}": {done / 1e6:.0f} of {total / 1e6:.0f} MB'
                self._record(container.name, NORMAL, "Pulling", message)

        return progress

    def _report_failure(self, container: Container, error: PullFailed) -> None:
        if error.reason == "InvalidImageName":
            self._record(container.name, WARNING, "InspectFailed", str(error))
            self._record(container.name, WARNING, "Failed", "Error: InvalidImageName")
        else:
            self._record(container.name, WARNING, "Failed", f'Failed to pull image "{container.image}": {error}')
            self._record(container.name, WARNING, "Failed", f"Error: {error.reason}")

    async def close(self) -> None:
        """Cancel the pulls that go on and wait for their end; the pod pulls no more."""
        tasks = list(self._pulls.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for _, image in self._failures:
            self._context.pull_backoff.forget(f"{self._uid}_{image}")
        self._failures.clear()
