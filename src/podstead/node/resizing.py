"""What the containers of a pod were given, and changes of it while they run (KEP-1287).

Wanted is what the spec says; allocated, what the node has granted (kept in a file of the pod, else a restart of the
server would take a change for granted that it never looked at); actual, what a running container has.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from podstead.client.events import NORMAL, WARNING
from podstead.node.containers import resources as container_resources
from podstead.node.podlimits import pod_resources
from podstead.node.runtime.base import ContainerState, ContainerStatus, Resources, RuntimeFailure
from podstead.objects.pod import Container, Pod, ResourceRequirements, from_object

if TYPE_CHECKING:
    from podstead.node.state import PodState
    from podstead.node.stopping import ContainerStopper

RESOURCES = "io.podstead.container.resources"
"""The label of what a container was made with: JSON of ResourceRequirements."""
PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"

_FILE = "resources.json"
_RETRY = 10.0
"""Seconds until a change that the runtime refused is tried again."""

log = logging.getLogger(__name__)


class _Kept(msgspec.Struct):
    allocated: dict[str, ResourceRequirements] = {}
    """By container name."""
    actual: dict[str, ResourceRequirements] = {}
    """By container id: of those that were changed while they ran."""


@dataclass(frozen=True, slots=True)
class ResizeCondition:
    """A condition of `kind` with status True; `generation`: of the spec that it is about."""

    kind: str
    reason: str
    message: str
    generation: int


def label(container: Container) -> str:
    """Return the text of the label RESOURCES for a container to be made."""
    return msgspec.json.encode(container.resources).decode()


class PodAllocation:
    """What the node has granted the containers of one pod. `directory` is the pod's own."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / _FILE
        self._kept = _Kept()
        try:
            self._kept = msgspec.json.decode(self._file.read_bytes(), type=_Kept)
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError) as error:
            log.error("%s cannot be read: what the pod asks for is taken as granted: %s", self._file, error)

    def applied_to(self, pod: Pod) -> Pod:
        """Return `pod` with what was granted in place of what it asks for."""
        granted = self._kept.allocated

        def of(containers: Sequence[Container]) -> tuple[Container, ...]:
            return tuple(
                msgspec.structs.replace(one, resources=granted[one.name])
                if one.name in granted and granted[one.name] != one.resources
                else one
                for one in containers
            )

        spec = pod.spec
        init, containers = of(spec.init_containers), of(spec.containers)
        if init == spec.init_containers and containers == spec.containers:
            return pod
        changed = msgspec.structs.replace(spec, init_containers=init, containers=containers)
        return msgspec.structs.replace(pod, spec=changed)

    def grant(self, pod: Pod) -> None:
        """Give all containers what they ask for; raises OSError."""
        self._kept.allocated = {one.name: one.resources for one in (*pod.spec.init_containers, *pod.spec.containers)}
        self._save()

    def actual(self, status: ContainerStatus) -> ResourceRequirements | None:
        """Return what a container has; None where that was not written down."""
        if status.id in self._kept.actual:
            return self._kept.actual[status.id]
        text = status.labels.get(RESOURCES)
        return msgspec.json.decode(text, type=ResourceRequirements) if text else None

    def changed(self, status: ContainerStatus, resources: ResourceRequirements, present: Sequence[str]) -> None:
        """Write down what a container has now; of those that are not `present` (ids) nothing is kept."""
        self._kept.actual = {id_: one for id_, one in self._kept.actual.items() if id_ in present}
        self._kept.actual[status.id] = resources
        self._save()

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(self._kept))
        fresh.replace(self._file)


class PodResizing:
    """Brings what its containers have to what they ask for."""

    def __init__(self, state: PodState) -> None:
        self._state = state
        self._context = state.context

    async def one_pass(
        self, attempts: Mapping[str, Sequence[ContainerStatus]], sandbox_id: str, stopper: ContainerStopper
    ) -> float | None:
        """Grant and carry out what can be now; returns the seconds after which that is to be tried again."""
        self._allocate()
        if not sandbox_id:
            return None
        state = self._state
        wanted = pod_resources(state.pod, self._context.pod_pids)
        different = self._different(attempts)
        runtime, before = self._context.runtime, state.sandbox_limits.get(sandbox_id)
        if not different and before == wanted:
            self._complete()
            return None
        if different and state.resize_progress is None:
            state.resize_progress = ResizeCondition(IN_PROGRESS, "", "", state.pod.metadata.generation)
        try:
            if before is not None and before != wanted:
                # A child's limit is never above its parent's, neither before nor after.
                await runtime.update_pod_sandbox_resources(sandbox_id, _larger(before, wanted))
            for container, status in different:
                await self._change(container, status, attempts, stopper)
            await runtime.update_pod_sandbox_resources(sandbox_id, wanted)
        except (RuntimeFailure, OSError) as error:
            self._tell_error(str(error))
            return _RETRY
        state.sandbox_limits = {sandbox_id: wanted}
        self._complete()
        return None

    def _allocate(self) -> None:
        """Grant what the spec asks for, or say why not."""
        state, asked = self._state, from_object(self._state.obj)
        if state.allocation.applied_to(asked) == asked:
            state.resize_pending = None
            return
        failure = self._context.room.resize(asked, state.wake)
        generation = asked.metadata.generation
        if failure is None:
            state.allocation.grant(asked)
            state.pod, state.resize_pending = asked, None
            state.resize_progress = ResizeCondition(IN_PROGRESS, "", "", generation)
            state.record("", NORMAL, "ResizeStarted", f"Pod resize started: {_told(asked)}")
            return
        reason, message = failure
        pending = ResizeCondition(PENDING, reason, message, generation)
        if pending != state.resize_pending:
            state.resize_pending = pending
            state.record("", WARNING, f"Resize{reason}", f"Pod resize {reason}: {_told(asked, message)}")

    def _different(self, attempts: Mapping[str, Sequence[ContainerStatus]]) -> list[tuple[Container, ContainerStatus]]:
        spec, allocation = self._state.pod.spec, self._state.allocation
        found = []
        for container in (*spec.sidecars, *spec.containers):
            latest = attempts.get(container.name, ())[-1:]
            if latest and latest[0].state is ContainerState.RUNNING:
                actual = allocation.actual(latest[0])
                if actual is not None and actual != container.resources:
                    found.append((container, latest[0]))
        return found

    async def _change(
        self,
        container: Container,
        status: ContainerStatus,
        attempts: Mapping[str, Sequence[ContainerStatus]],
        stopper: ContainerStopper,
    ) -> None:
        state = self._state
        actual = state.allocation.actual(status)
        assert actual is not None
        if _takes_restart(container, actual):
            state.replaced.add(status.id)
            message = f"Container {container.name} resize requires restart"
            await stopper.stop(status, state.grace(), message)
            state.wake()
            return
        limits = container_resources(state.pod, container, self._context.memory_capacity)
        await self._context.runtime.update_container_resources(status.id, limits)
        present = [one.id for own in attempts.values() for one in own]
        state.allocation.changed(status, container.resources, present)

    def _complete(self) -> None:
        state = self._state
        if state.resize_progress is not None:
            state.resize_progress = None
            state.record("", NORMAL, "ResizeCompleted", f"Pod resize completed: {_told(state.pod)}")

    def _tell_error(self, message: str) -> None:
        state = self._state
        generation = state.pod.metadata.generation
        state.resize_progress = ResizeCondition(IN_PROGRESS, "Error", message, generation)
        state.record("", WARNING, "ResizeError", f"Pod resize error: {_told(state.pod, message)}")


def _takes_restart(container: Container, actual: ResourceRequirements) -> bool:
    policies = {one.resource_name: one.restart_policy for one in container.resize_policy}
    now = container.resources
    return any(
        policies.get(name) == "RestartContainer"
        and (now.requests.get(name), now.limits.get(name)) != (actual.requests.get(name), actual.limits.get(name))
        for name in ("cpu", "memory")
    )


def _larger(one: Resources, other: Resources) -> Resources:
    """Return the looser of both limits in each; 0: no limit."""

    def looser(a: int, b: int) -> int:
        return max(a, b) if a and b else 0

    return Resources(
        cpu_shares=max(one.cpu_shares, other.cpu_shares),
        cpu_quota=looser(one.cpu_quota, other.cpu_quota),
        cpu_period=one.cpu_period or other.cpu_period,
        memory_limit=looser(one.memory_limit, other.memory_limit),
        pids_limit=looser(one.pids_limit, other.pids_limit),
    )


def _told(pod: Pod, error: str = "") -> str:
    """Return the JSON that events about a resize carry."""
    spec = pod.spec

    def of(containers: Sequence[Container]) -> list[dict[str, Any]]:
        return [{"name": one.name, "resources": plain_resources(one.resources)} for one in containers]

    found: dict[str, Any] = {"containers": of(spec.containers), "generation": pod.metadata.generation}
    if spec.sidecars:
        found = {"initContainers": of(spec.sidecars), **found}
    return msgspec.json.encode(found | ({"error": error} if error else {})).decode()


def plain_resources(resources: ResourceRequirements) -> dict[str, Any]:
    """Return a decoded core/v1 ResourceRequirements."""
    plain: dict[str, Any] = msgspec.to_builtins(resources)
    return {field: amounts for field, amounts in plain.items() if amounts}
