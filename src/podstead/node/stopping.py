"""Ends containers as the kubelet does: preStop hook, turn, stop signal, SIGKILL, all within one grace.

Source: Pod Lifecycle, "Termination of Pods"; KEP-753 (sidecars end after the others, the last started first).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from podstead import clock
from podstead.client.events import NORMAL, WARNING
from podstead.node.hooks import HookFailed
from podstead.node.runtime.base import ContainerState, ContainerStatus
from podstead.node.state import PodState
from podstead.objects.pod import Pod

MINIMUM_GRACE = 2.0
"""Seconds from the stop signal to SIGKILL at least, whatever the grace, and though a hook has used it up; not for a
pod that was deleted by force."""


class ContainerStopper:
    """Stops a pod's containers. A stop that is cancelled, to be begun anew with less grace, leaves its hook running."""

    def __init__(self, state: PodState) -> None:
        self._state = state
        self._hooks: dict[str, asyncio.Task[None]] = {}
        """By container id; an ended one stays, so that it runs once."""
        self._told: set[str] = set()

    async def stop(
        self, status: ContainerStatus, grace: float, message: str = "", after: Sequence[asyncio.Event] = ()
    ) -> None:
        """Stop one container and return once it has ended; raises RuntimeFailure.

        `grace` is in seconds, 0: kill it. `message` is that of the event. The stop signal is held back until `after`
        are set.
        """
        if status.id not in self._told:
            self._told.add(status.id)
            self._state.record(status.name, NORMAL, "Killing", message or f"Stopping container {status.name}")
        deadline = clock.monotonic() + grace
        waited = False
        if grace > 0 and status.state is ContainerState.RUNNING:
            waited = await self._pre_stop(status, grace)
            for event in after:
                waited = waited or not event.is_set()
                await _within(event.wait(), deadline - clock.monotonic())
        left = deadline - clock.monotonic() if waited else grace
        minimum = 0.0 if self._state.removed else MINIMUM_GRACE
        await self._state.context.runtime.stop_container(status.id, max(left, minimum))
        self._cut(status.id)

    async def stop_all(self, alive: Sequence[ContainerStatus], grace: float) -> None:
        """Stop all of `alive` at once, sidecars after the others, in the reverse order of their start.

        Raises an ExceptionGroup of RuntimeFailure.
        """
        ended = {status.name: asyncio.Event() for status in alive}

        async def stop(status: ContainerStatus) -> None:
            names = before(self._state.pod, status.name)
            try:
                await self.stop(status, grace, after=[ended[name] for name in names if name in ended])
            finally:
                ended[status.name].set()
            if not all(event.is_set() for event in ended.values()):
                await self._state.publish()

        async with asyncio.TaskGroup() as group:
            for status in alive:
                group.create_task(stop(status))

    async def _pre_stop(self, status: ContainerStatus, grace: float) -> bool:
        """Run the preStop hook for `grace` seconds at most; returns whether there is one."""
        container = self._state.pod.spec.container(status.name)
        if container is None or container.lifecycle.pre_stop is None:
            return False
        hook = self._hooks.get(status.id)
        if hook is None:
            handler = container.lifecycle.pre_stop

            async def run() -> None:
                try:
                    await self._state.hooks.run(handler, container, status.id)
                except HookFailed:
                    self._state.record(status.name, WARNING, "FailedPreStopHook", "PreStopHook failed")

            hook = self._hooks[status.id] = asyncio.create_task(run(), name=f"preStop {status.name}")
        await asyncio.wait([hook], timeout=grace)
        return True

    def _cut(self, container_id: str) -> None:
        """End a hook that is still running: its container has ended."""
        if (hook := self._hooks.get(container_id)) is not None:
            hook.cancel()

    async def close(self) -> None:
        """End the hooks; the pod's worker ends."""
        running = [hook for hook in self._hooks.values() if not hook.done()]
        for hook in running:
            hook.cancel()
        if running:
            await asyncio.wait(running)
        self._hooks.clear()


def before(pod: Pod, name: str) -> list[str]:
    """Return the names of the containers that end before `name` gets its stop signal."""
    sidecars = [container.name for container in pod.spec.sidecars]
    if name not in sidecars:
        return []
    return [container.name for container in pod.spec.containers] + sidecars[sidecars.index(name) + 1 :]


async def _within(waiting: Awaitable[object], seconds: float) -> None:
    try:
        async with asyncio.timeout(max(seconds, 0.0)):
            await waiting
    except TimeoutError:
        pass
