"""What a pod's worker knows of its pod, and how that is told: status to the API, events to the recorder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from podstead import clock
from podstead.client.base import Object
from podstead.client.events import reference
from podstead.node.backoff import Backoff
from podstead.node.containers import TERMINATION_FILE
from podstead.node.context import NodeContext, Prober, Unprobed
from podstead.node.decisions import Attempts, by_name, finished
from podstead.node.hooks import HookFailed, Hooks
from podstead.node.resizing import PodAllocation, ResizeCondition
from podstead.node.room import REJECTED
from podstead.node.runtime.base import ContainerState, ContainerStatus, Image, Resources, RuntimeFailure, SandboxStatus
from podstead.node.status import POD_INITIALIZING, TERMINAL, Facts, Waiting, pod_status
from podstead.node.termination import termination_message
from podstead.objects.pod import from_object


class PassFailed(Exception):
    """A pass could not go on; told as an event of `reason` and tried again. Retried with a growing delay."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PodState:
    """The pod as wanted (`obj`, `pod`) and as it is. `wake` asks the worker for another pass."""

    def __init__(self, context: NodeContext, obj: Object, wake: Callable[[], None]) -> None:
        self.context = context
        self.wake = wake
        self.uid: str = obj["metadata"]["uid"]
        self.allocation = PodAllocation(context.paths.pod(self.uid))
        self.take(obj)
        self.removed = False
        """The API has it no more."""
        self.gone = False
        """Nothing is left of it here."""
        self.failure: tuple[str, str] | None = None
        """Reason and message, once the pod as a whole has failed (DeadlineExceeded)."""
        self.complete = False
        """Every container has ended for good."""
        self.first_seen = clock.now()
        self.restarts = Backoff()
        self.waiting: dict[str, Waiting] = {}
        self.never_made: dict[str, ContainerStatus] = {}
        """By container: an attempt that could not be created or configured, told as one that ended."""
        self.replaced: set[str] = set()
        """Ids of containers that were ended because their definition changed; made again whatever the policy says."""
        self.in_post_start: set[str] = set()
        """Ids of containers whose postStart hook is running: they have not started yet."""
        self.volume_images: Mapping[str, Image] = {}
        """The images of image volumes that were found, by the volume's name."""
        self.resize_pending: ResizeCondition | None = None
        self.resize_progress: ResizeCondition | None = None
        self.sandbox_limits: dict[str, Resources] = {}
        """By the sandbox's id: the limits that the pod as a whole has, where that is known."""
        self.prober: Prober = Unprobed()
        self.hooks = Hooks(context.runtime, self._address, self._wait_end)
        self._ends = asyncio.Event()
        self._publishing = asyncio.Lock()
        self._settled = False
        """The pod's end is being told: a word of before must not come after it."""
        self._messages: dict[str, str] = {}
        self._terminated_at: float | None = None

    def take(self, obj: Object) -> None:
        """Take the pod's object; of resources the pod has what it was granted."""
        self.obj = obj
        self.pod = self.allocation.applied_to(from_object(obj))

    @property
    def to_end(self) -> bool:
        """The pod is to end, or has ended."""
        in_api = self.pod.metadata.deletion_timestamp or self.pod.status.phase in TERMINAL
        return bool(self.removed or in_api or self.failure or self.complete)

    def grace(self) -> float:
        """Return the seconds that containers still have from SIGTERM to SIGKILL."""
        if self.removed:
            return 0.0
        meta, now = self.pod.metadata, clock.monotonic()
        if not meta.deletion_timestamp:
            return float(self.pod.spec.termination_grace_period_seconds)
        granted = float(meta.deletion_grace_period_seconds or 0)
        if self._terminated_at is None:
            self._terminated_at = now
            # After a restart of the server the time that is left counts; deletionTimestamp has whole seconds.
            left = (clock.parse(meta.deletion_timestamp) - clock.now()).total_seconds() + 1
            granted = min(granted, max(left, 0.0))
        return max(0.0, self._terminated_at + granted - now)

    async def sandbox(self) -> SandboxStatus | None:
        """Return the pod's newest sandbox."""
        found = [status for status in await self.context.runtime.list_sandboxes() if status.uid == self.uid]
        return max(found, key=lambda status: status.created_at, default=None)

    async def containers(self) -> dict[str, list[ContainerStatus]]:
        """Return all attempts by container name, the oldest first, termination messages read."""
        listed = [status for status in await self.context.runtime.list_containers() if status.pod_uid == self.uid]
        attempts = by_name(listed)
        for name, failed in self.never_made.items():
            if not attempts.get(name) or attempts[name][-1].attempt < failed.attempt:
                attempts.setdefault(name, []).append(failed)
        present = {status.id for status in listed}
        self._messages = {id_: message for id_, message in self._messages.items() if id_ in present}
        self.replaced &= present
        for name, statuses in attempts.items():
            attempts[name] = [await self._with_message(status) for status in statuses]
        return attempts

    async def _with_message(self, status: ContainerStatus) -> ContainerStatus:
        if status.state is not ContainerState.EXITED or status.message or not status.id:
            return status
        message = self._messages.get(status.id)
        if message is None:
            container = self.pod.spec.container(status.name)
            policy = container.termination_message_policy if container else "File"
            file = Path(status.labels.get(TERMINATION_FILE, ""))
            message = await asyncio.to_thread(termination_message, file, status.log_path, policy, status.exit_code)
            self._messages[status.id] = message
        return status.with_message(message) if message else status

    def record(self, container: str, type_: str, reason: str, message: str) -> None:
        """Record an event about the pod, or about one of its containers."""
        path = f"spec.{self._field(container)}{{{container}}}" if container else ""
        self.context.recorder.event(reference(self.obj, path), type_, reason, message)

    def _field(self, name: str) -> str:
        spec = self.pod.spec
        if any(container.name == name for container in spec.init_containers):
            return "initContainers"
        added = any(container.name == name for container in spec.ephemeral_containers)
        return "ephemeralContainers" if added else "containers"

    def unstarted(self, attempts: Attempts) -> set[str]:
        """Return the ids of containers that run but have not started: their startup probe or hook is under way."""
        running = [own[-1] for own in attempts.values() if own and own[-1].state is ContainerState.RUNNING]
        return self.in_post_start | {one.id for one in running if not self.prober.started(one)}

    def note_end(self) -> None:
        """Tell those who wait for a container's end that one has ended."""
        self._ends.set()
        self._ends = asyncio.Event()

    async def _wait_end(self, container_id: str) -> None:
        while True:
            ends = self._ends
            states = {status.id: status.state for status in await self.context.runtime.list_containers()}
            if states.get(container_id, ContainerState.EXITED) is ContainerState.EXITED:
                return
            await ends.wait()

    async def _address(self) -> str:
        sandbox = await self.sandbox()
        if sandbox is None or not sandbox.ip:
            raise HookFailed("failed to find networking container")
        return sandbox.ip

    async def publish(self, *, terminating: bool = False) -> dict[str, list[ContainerStatus]]:
        """Compute the status from what is, have it written, and return the attempts that it was computed from."""
        async with self._publishing:
            return await self._publish(terminating)

    async def _publish(self, terminating: bool) -> dict[str, list[ContainerStatus]]:
        attempts, sandbox = await self.containers(), await self.sandbox()
        pod_ip = (sandbox.ip if sandbox else "") or self.pod.status.pod_ip
        self.prober.sync(attempts, pod_ip, self.in_post_start)
        if self.removed or self._end_is_told() or (self._settled and not terminating):
            return attempts
        self._settled = self._settled or terminating
        everything = attempts
        if not terminating:
            # What is just being made is not there yet, and not lost either.
            made = {
                name: [one for one in tried if one.state is not ContainerState.UNKNOWN]
                for name, tried in attempts.items()
            }
            attempts = {name: tried for name, tried in made.items() if tried}
        self.complete = self.complete or finished(self.pod, attempts, self.replaced)
        latest = [statuses[-1] for statuses in attempts.values()]
        names = {(status.image, status.image_id): await self._image_name(status) for status in latest}
        ended = terminating or self.complete
        facts = Facts(
            host_ip=self.context.host_ip,
            seen_at=self.first_seen,
            pod_ip=pod_ip,
            sandbox_ready=bool(sandbox and sandbox.ready and not ended),
            containers=attempts,
            waiting=self.waiting,
            in_post_start=self.in_post_start,
            unstarted=self.unstarted(attempts),
            unready={one.id for one in latest if not self.prober.ready(one)},
            volume_images={name: _digest(image) for name, image in self.volume_images.items()},
            image_names=names,
            terminating=ended,
            failure=self.failure,
            actual={one.id: actual for one in latest if (actual := self.allocation.actual(one)) is not None},
            resizes=[one for one in (self.resize_pending, self.resize_progress) if one is not None],
        )
        old = self.obj.get("status") or {}
        self.context.statuses.write(self.uid, pod_status(self.pod, old, facts, "podstead"))
        return everything

    def _end_is_told(self) -> bool:
        """The API has the pod's last word; a phase alone, set to Failed by somebody else, is not that."""
        status = self.pod.status
        if status.phase not in TERMINAL:
            return False
        if status.message.startswith(REJECTED):
            return True
        if any(one.state.running is not None for one in status.init_container_statuses):
            return False
        told = [one.state for one in status.container_statuses]
        ended = [one for one in told if one.terminated or (one.waiting and one.waiting.reason == POD_INITIALIZING)]
        return len(ended) >= len(self.pod.spec.containers)

    async def _image_name(self, status: ContainerStatus) -> tuple[str, str]:
        try:
            image = await self.context.images.image_status(status.image_id) if status.image_id else None
        except RuntimeFailure:
            image = None  # the store cannot be read: told where an image is asked for, not here
        if image is None:
            return status.image, f"sha256:{status.image_id}" if status.image_id else ""
        own = (tag for tag in image.tags if tag == status.image or tag.endswith(f"/{status.image}"))
        name = next(own, image.tags[0] if image.tags else status.image)
        return name, _digest(image)


def _digest(image: Image) -> str:
    return image.digests[0] if image.digests else f"sha256:{image.id}"
