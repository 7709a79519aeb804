"""The passes of a pod that is to end: containers stopped with their grace, everything given back, the API told."""

from __future__ import annotations

import asyncio
from pathlib import Path

from podstead.client.events import WARNING
from podstead.linux.remove import remove_tree
from podstead.node.runtime.base import ContainerState, RuntimeFailure
from podstead.node.state import PassFailed, PodState
from podstead.node.stopping import ContainerStopper
from podstead.node.volumes.base import VolumeError
from podstead.objects.errors import StatusError


class PodEnding:
    """Ends a pod. `settling` is true once its containers have ended: from then on nothing is gained by interrupting."""

    def __init__(self, state: PodState, stopper: ContainerStopper) -> None:
        self.state = state
        self.settling = False
        self._stopper = stopper
        self._released = False

    async def one_pass(self) -> float | None:
        state = self.state
        await self._stop_containers()
        self.settling = True
        try:
            await state.publish(terminating=True)
            await self._release()
            if state.removed or state.pod.metadata.deletion_timestamp:
                await self._remove()
        finally:
            self.settling = False
        return None

    async def _stop_containers(self) -> None:
        alive = [
            status
            for statuses in (await self.state.containers()).values()
            for status in statuses
            if status.state in (ContainerState.RUNNING, ContainerState.CREATED, ContainerState.UNKNOWN) and status.id
        ]
        try:
            await self._stopper.stop_all(alive, self.state.grace())
        except* RuntimeFailure as errors:
            raise PassFailed("FailedKillPod", f"error killing pod: {errors.exceptions[0]}") from errors

    async def _release(self) -> None:
        """Give back network and volumes; the containers' records and logs stay until the pod is deleted."""
        if self._released:
            return
        runtime, state = self.state.context.runtime, self.state
        try:
            for sandbox in await runtime.list_sandboxes():
                if sandbox.uid == state.uid:
                    await runtime.stop_pod_sandbox(sandbox.id)
            await state.context.volumes.tear_down(state.uid)
        except VolumeError as error:
            raise PassFailed("FailedUnMount", str(error)) from error
        except RuntimeFailure as error:
            raise PassFailed("FailedKillPod", f"error killing pod: {error}") from error
        self._released = True
        state.context.room.release(state.uid)

    async def _remove(self) -> None:
        """Remove what is left on the node, then the pod from the API."""
        state, context = self.state, self.state.context
        meta = state.pod.metadata
        for sandbox in await context.runtime.list_sandboxes():
            if sandbox.uid == state.uid:
                await context.runtime.remove_pod_sandbox(sandbox.id)
        logs = context.paths.pod_log_dir(meta.namespace, meta.name, meta.uid)
        await asyncio.to_thread(_remove_trees, logs, context.paths.pod(state.uid))
        if not state.removed:
            await context.statuses.flushed(state.uid)
            await self._delete_from_api()
        state.gone = True

    async def _delete_from_api(self) -> None:
        meta = self.state.pod.metadata
        try:
            await self.state.context.client.delete(
                "pods", meta.name, meta.namespace, grace_period_seconds=0, uid=meta.uid
            )
        except StatusError as error:
            if error.code not in (404, 409):
                self.state.record("", WARNING, "FailedDelete", str(error))
                raise


def _remove_trees(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            remove_tree(path)
