"""What a pass of a running pod does with which container: the decisions, held against images and back-off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from podstead import clock
from podstead.client.events import WARNING
from podstead.node.decisions import Action, decide, decide_ephemeral, initialization
from podstead.node.pulling import ImagePuller
from podstead.node.runtime.base import ContainerStatus, Image
from podstead.node.state import PodState
from podstead.node.status import Waiting, lost_attempt, told
from podstead.node.volumeimages import VolumeImages
from podstead.objects.pod import Container

CONFIG_RETRY = 10.0
"""Seconds until a container that could not be configured is tried again."""
BACK_OFF = "io.podstead.container.back-off"
"""Label of a container: the seconds that its next attempt would have to wait, for a server that starts anew."""

Attempts = Mapping[str, list[ContainerStatus]]


@dataclass(frozen=True, slots=True)
class Step:
    """One container that this pass makes (`image` set) or only starts (`container_id` set)."""

    container: Container
    attempt: int
    image: Image | None = None
    container_id: str = ""
    target_id: str = ""
    """The container whose PID namespace it joins."""


class Planner:
    """Plans one pod's passes."""

    def __init__(self, state: PodState, puller: ImagePuller, volume_images: VolumeImages) -> None:
        self._state = state
        self._puller = puller
        self._volume_images = volume_images
        self._counted: dict[str, tuple[str, int]] = {}
        """By container: image and attempt after which the next one was let through; it counts once."""
        self._steps: list[Step] = []
        self._delays: list[float | None] = []

    async def plan(self, attempts: Attempts, sandbox_id: str) -> tuple[list[Step], list[float | None]]:
        """Return what this pass does, in the order of start, and the delays of what must wait.

        `sandbox_id` is that of the sandbox that is there and ready; empty if there is none.
        """
        self._steps, self._delays = [], []
        state = self._state
        self._remember_back_off(attempts, sandbox_id)
        spec = state.pod.spec
        init = initialization(state.pod, attempts, sandbox_id, state.unstarted(attempts), state.replaced)
        for container in spec.init_containers:
            action = init.actions.get(container.name, Action.NONE)
            # They wait for nobody: one that is to be made now has had its turn, or has it.
            await self._add(container, action, attempts, held=False)
        if init.done:
            held = False
            for container in spec.containers:
                action = decide(state.pod, container, _latest(attempts, container), state.replaced)
                held = not await self._add(container, action, attempts, held=held) or held
        for container in spec.ephemeral_containers:
            await self._add_ephemeral(container, attempts)
        return self._steps, self._delays

    async def _add(self, container: Container, action: Action, attempts: Attempts, *, held: bool) -> bool:
        """Add what `action` asks for; returns False where those after it wait for its image to come."""
        state, latest = self._state, _latest(attempts, container)
        if action is Action.START and latest is not None:
            self._steps.append(Step(container, latest.attempt, container_id=latest.id))
            return True
        if action in (Action.NONE, Action.LEAVE):
            state.waiting.pop(container.name, None)
            return True
        if action is Action.RESTART and latest is not None and (rest := self._back_off(container, latest)) > 0:
            self._delays.append(rest)
            return True
        image, waiting, delay = await self._image(container)
        if image is not None and not held:
            self._puller.used(container)
            self._steps.append(Step(container, self._attempt(container, latest), image))
            return True
        self._delays.append(delay)
        if waiting is not None:
            state.waiting[container.name] = waiting
        # Containers start in the order of the spec: one whose image is on its way holds back those after it.
        return not self._puller.pulling(container) and not self._volume_images.pulling(container)

    async def _image(self, container: Container) -> tuple[Image | None, Waiting | None, float | None]:
        """As ImagePuller.image; the images of the volumes that it mounts are looked for at once, and waited for."""
        waits, rest = await self._volume_images.ready(container)
        image, waiting, delay = await self._puller.image(container)
        return (None, waits, rest) if image is not None and waits is not None else (image, waiting, delay)

    async def _add_ephemeral(self, container: Container, attempts: Attempts) -> None:
        """Add what is to be done for a container that was added to look into the pod; it waits for nobody."""
        state, latest = self._state, _latest(attempts, container)
        action = decide_ephemeral(latest)
        if action is Action.CREATE and "terminated" in (told(state.obj, container.name) or {}).get("state", {}):
            action = Action.LEAVE  # Its record was lost: it had its run.
        if action is not Action.CREATE:
            await self._add(container, action, attempts, held=False)
            return
        target = ""
        if wanted := getattr(container, "target_container_name", ""):
            running = [one for one in attempts.get(wanted, ()) if one.pid]
            if not running:
                message = f'unable to find target container "{wanted}"'
                state.waiting[container.name] = Waiting("CreateContainerConfigError", message)
                self._delays.append(CONFIG_RETRY)
                return
            target = running[-1].id
        image, waiting, delay = await self._image(container)
        if image is not None:
            self._puller.used(container)
            self._steps.append(Step(container, 0, image, target_id=target))
            return
        self._delays.append(delay)
        if waiting is not None:
            state.waiting[container.name] = waiting

    def _remember_back_off(self, attempts: Attempts, sandbox_id: str) -> None:
        """Take up the back-off that an earlier server had come to, as written beside each container."""
        for name, own in attempts.items():
            latest = own[-1]
            delay = float(latest.labels.get(BACK_OFF) or 0)
            if delay and latest.sandbox_id == sandbox_id:
                self._state.restarts.restore(back_off_key(name, latest.image), delay, latest.created_at.timestamp())

    def _back_off(self, container: Container, latest: ContainerStatus) -> float:
        """Return how long the next attempt must wait; 0 counts it as made."""
        now = clock.now().timestamp()
        ended = latest.finished_at.timestamp() if latest.finished_at else now
        restarts, pod = self._state.restarts, self._state.pod
        if self._counted.get(container.name) == (container.image, latest.attempt):
            return 0.0  # Let through by an earlier pass, which then had to wait for the image.
        key = back_off_key(container.name, container.image)
        rest = restarts.remaining(key, ended, now)
        if rest <= 0:
            restarts.failed(key, now)
            self._counted[container.name] = container.image, latest.attempt
            return 0.0
        meta = pod.metadata
        full = f"{meta.name}_{meta.namespace}({meta.uid})"
        delay = f"{int(restarts.delay(key))}s"
        message = f"back-off {delay} restarting failed container={container.name} pod={full}"
        self._state.waiting[container.name] = Waiting("CrashLoopBackOff", message)
        event = f"Back-off restarting failed container {container.name} in pod {full}"
        self._state.record(container.name, WARNING, "BackOff", event)
        return rest

    def _attempt(self, container: Container, latest: ContainerStatus | None) -> int:
        if latest is not None:
            return latest.attempt + 1
        return lost_attempt(told(self._state.obj, container.name))[0]


def back_off_key(name: str, image: str) -> str:
    """As the kubelet's: another image begins anew."""
    return f"{name} {image}"


def _latest(attempts: Attempts, container: Container) -> ContainerStatus | None:
    own = attempts.get(container.name)
    return own[-1] if own else None
