"""The probes of one pod: which of its containers have started and are ready, and the restart of those that fail.

Results belong to one run of a container: the next begins anew. What the API says of a container that an earlier server
started holds until a probe says otherwise (KEP-4781).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from podstead import clock
from podstead.client.base import Object
from podstead.client.events import WARNING
from podstead.node.context import NodeContext
from podstead.node.environment import expand
from podstead.node.probes.actions import Target, execute
from podstead.node.probes.result import Outcome, Result
from podstead.node.probes.worker import Kind, ProbeWorker
from podstead.node.runtime.base import ContainerState, ContainerStatus, NotFound, RuntimeFailure
from podstead.objects.pod import Container, Pod
from podstead.objects.probe import Probe

log = logging.getLogger(__name__)

_STOP_RETRY = 2.0
"""Seconds until a container that could not be stopped is tried again."""

Stop = Callable[[ContainerStatus, float, str], Awaitable[None]]
"""Ends a container: (container, grace in seconds, message of the event); raises RuntimeFailure."""


class Host(Protocol):
    """What probes need of their pod's worker."""

    context: NodeContext
    obj: Object
    pod: Pod
    first_seen: datetime
    wake: Callable[[], None]

    @property
    def to_end(self) -> bool: ...

    def record(self, container: str, type_: str, reason: str, message: str) -> None: ...

    def publish(self) -> Coroutine[Any, Any, object]: ...


@dataclass(slots=True)
class _Run:
    """One run of a container that has probes."""

    container: Container
    status: ContainerStatus
    started: bool
    ready: bool
    adopted: bool
    workers: dict[Kind, ProbeWorker] = field(default_factory=dict)
    stopping: bool = False


class PodProbes:
    """A Prober: `sync` is told what runs, `started` and `ready` tell what the probes have found."""

    def __init__(self, host: Host, stop: Stop) -> None:
        self._host = host
        self._stop = stop
        self._runs: dict[str, _Run] = {}
        self._stopped: list[ProbeWorker] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._dirty = False
        self._publisher: asyncio.Task[None] | None = None
        self._pod_ip = ""

    def sync(self, attempts: Mapping[str, Sequence[ContainerStatus]], pod_ip: str, held: Collection[str] = ()) -> None:
        """Probe what runs and has probes, and nothing else.

        `attempts`: by container name, the oldest first; `held`: ids of containers that are not to be probed yet.
        """
        self._pod_ip = pod_ip
        self._stopped = [worker for worker in self._stopped if worker.busy]
        spec = self._host.pod.spec
        for container in (*spec.containers, *spec.sidecars):
            if not _has_probes(container):
                continue
            latest = attempts[container.name][-1] if attempts.get(container.name) else None
            running = latest if latest is not None and latest.state is ContainerState.RUNNING else None
            run = self._runs.get(container.name)
            if run is not None and (running is None or running.id != run.status.id):
                self._end(run, *Kind)
                del self._runs[container.name]
                run = None
            if run is None and running is not None and running.id not in held:
                run = self._runs[container.name] = self._begin(container, running)
            if run is not None and self._host.to_end:
                self._end(run, Kind.STARTUP, Kind.LIVENESS)

    def started(self, status: ContainerStatus) -> bool:
        """Tell whether a running container's startup probe has succeeded, or it has none."""
        run = self._runs.get(status.name)
        if run is not None and run.status.id == status.id:
            return run.started
        container = self._host.pod.spec.container(status.name)
        return container is None or _has_started(container, self._host.obj, status)

    def ready(self, status: ContainerStatus) -> bool:
        """Tell whether a running container has started and its readiness probe says so, or it has none."""
        run = self._runs.get(status.name)
        if run is not None and run.status.id == status.id:
            return run.started and run.ready
        container = self._host.pod.spec.container(status.name)
        return container is None or _is_ready(container, self._host.obj, status)

    def counts(self) -> Iterator[tuple[str, str, str, int]]:
        """Yield container, kind of probe, result, and how often the container's present run came to it."""
        for name, run in self._runs.items():
            for kind, worker in run.workers.items():
                for result, count in worker.counts.items():
                    yield name, kind.value, result, count

    async def close(self) -> None:
        """End all; the pod's worker ends."""
        for run in self._runs.values():
            self._end(run, *Kind)
        self._runs.clear()
        tasks = [*self._tasks, *([self._publisher] if self._publisher is not None else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for worker in self._stopped:
            await worker.closed()

    # -- one run of a container

    def _begin(self, container: Container, status: ContainerStatus) -> _Run:
        adopted = status.started_at is not None and status.started_at < self._host.first_seen
        obj = self._host.obj
        started, ready = _has_started(container, obj, status), _is_ready(container, obj, status)
        run = _Run(container, status, started, ready, adopted)
        if started:
            self._probe_started(run)
        elif container.startup_probe is not None:
            self._add(run, Kind.STARTUP, container.startup_probe, None)
        return run

    def _probe_started(self, run: _Run) -> None:
        container = run.container
        if container.liveness_probe is not None and not self._host.to_end:
            self._add(run, Kind.LIVENESS, container.liveness_probe, True)
        if container.readiness_probe is not None:
            self._add(run, Kind.READINESS, container.readiness_probe, run.ready)

    def _add(self, run: _Run, kind: Kind, probe: Probe, verdict: bool | None) -> None:
        container = run.container
        variables = {variable.name: variable.value for variable in container.env}
        command = tuple(expand(word, variables) for word in probe.exec.command) if probe.exec is not None else ()

        async def once() -> Result:
            target = Target(container, run.status.id, self._pod_ip)
            return await execute(self._host.context.runtime, target, probe, command)

        reached = partial(self._reached, run, kind)
        worker = ProbeWorker(kind, probe, once, partial(self._tell, run, kind), reached, verdict=verdict)
        run.workers[kind] = worker
        began = run.status.started_at
        age = (clock.now() - began).total_seconds() if began is not None else 0.0
        worker.start(age, random.random() if run.adopted else None)

    def _end(self, run: _Run, *kinds: Kind) -> None:
        for kind in kinds:
            if (worker := run.workers.pop(kind, None)) is not None:
                worker.stop()
                self._stopped.append(worker)

    def _tell(self, run: _Run, kind: Kind, result: Result) -> None:
        """Record the event of a result that is no plain success."""
        if result.errored:
            reason, text = "Unhealthy", f"{kind} probe errored and resulted in {result.outcome} state: {result.text}"
        elif result.outcome is Outcome.WARNING:
            reason, text = "ProbeWarning", f"{kind} probe warning: {result.text}"
        else:
            reason, text = "Unhealthy", f"{kind} probe failed: {result.text}"
        self._host.record(run.container.name, WARNING, reason, text)

    def _reached(self, run: _Run, kind: Kind, passed: bool) -> None:
        if kind is Kind.READINESS:
            if run.ready is not passed:
                run.ready = passed
                self._changed()
        elif not passed:
            self._failed(run, kind)
        elif kind is Kind.STARTUP:
            run.started = True
            self._probe_started(run)
            self._changed()
            self._host.wake()

    def _changed(self) -> None:
        """Have the status published at once, whatever the pod's worker is doing."""
        self._dirty = True
        if self._publisher is None or self._publisher.done():
            self._publisher = asyncio.create_task(self._publish(), name="probes' status")

    async def _publish(self) -> None:
        while self._dirty:
            self._dirty = False
            try:
                await self._host.publish()
            except Exception:
                log.exception("the status of pod %s could not be told", self._host.pod.full_name)

    # -- restart

    def _failed(self, run: _Run, kind: Kind) -> None:
        self._end(run, Kind.STARTUP, Kind.LIVENESS)
        if run.stopping or self._host.to_end:
            return
        run.stopping = True
        task = asyncio.create_task(self._stop_run(run, kind), name=f"stop {run.container.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stop_run(self, run: _Run, kind: Kind) -> None:
        """End the container; its end is an event like any other, and its restart policy decides."""
        container, pod = run.container, self._host.pod
        probe = container.startup_probe if kind is Kind.STARTUP else container.liveness_probe
        own = probe.termination_grace_period_seconds if probe is not None else None
        grace = float(pod.spec.termination_grace_period_seconds if own is None else own)
        message = f"Container {container.name} failed {kind.lower()} probe"
        if (container.restart_policy or pod.spec.restart_policy) != "Never":
            message += ", will be restarted"
        runtime = self._host.context.runtime
        while self._runs.get(container.name) is run and not self._host.to_end:
            try:
                # It may have ended by itself meanwhile, and the probe have failed of that.
                if (await runtime.container_status(run.status.id)).state is ContainerState.RUNNING:
                    await self._stop(run.status, grace, message)
                return
            except NotFound:
                return
            except RuntimeFailure as error:
                self._host.record("", WARNING, "FailedKillPod", f"error killing pod: {error}")
                await asyncio.sleep(_STOP_RETRY)


def _has_probes(container: Container) -> bool:
    return bool(container.startup_probe or container.liveness_probe or container.readiness_probe)


def _has_started(container: Container, obj: Object, status: ContainerStatus) -> bool:
    """Before its startup probe has said anything."""
    return container.startup_probe is None or bool(_known(obj, status).get("started"))


def _is_ready(container: Container, obj: Object, status: ContainerStatus) -> bool:
    """Before its readiness probe has said anything."""
    return container.readiness_probe is None or bool(_known(obj, status).get("ready"))


def _known(obj: Object, status: ContainerStatus) -> Mapping[str, Any]:
    """Return what the API says of this very run of a container."""
    told = obj.get("status") or {}
    for known in (*(told.get("containerStatuses") or ()), *(told.get("initContainerStatuses") or ())):
        if known["name"] == status.name and str(known.get("containerID", "")).endswith(f"://{status.id}"):
            return dict(known)
    return {}
