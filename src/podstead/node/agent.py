"""The node agent: which pods are mine, one worker for each, adoption at the start, the node's own object."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from podstead.client.base import Client, Object
from podstead.client.events import WARNING, EventRecorder
from podstead.client.informer import Informer
from podstead.client.supervise import supervise
from podstead.linux.remove import remove_tree
from podstead.node import admission, info
from podstead.node.context import NodeContext, Volumes
from podstead.node.decisions import by_name
from podstead.node.lease import NodeLease
from podstead.node.phases import SEEN, STARTS
from podstead.node.podlimits import default_pids
from podstead.node.registration import Registration
from podstead.node.room import REJECTED, NodeRoom
from podstead.node.runtime.base import ContainerState, ContainerStatus, ImageService, Runtime, SandboxStatus
from podstead.node.services import ServiceLinks
from podstead.node.status import TERMINAL, default_waiting
from podstead.node.status_writer import StatusWriter
from podstead.node.worker import PodWorker
from podstead.objects.errors import bad_request, not_found
from podstead.objects.pod import from_object
from podstead.paths import Paths

log = logging.getLogger(__name__)

Warn = Callable[[str, str], None]
"""(reason, message)."""


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What cluster.py gives a node agent."""

    client: Client
    runtime: Runtime
    images: ImageService
    volumes: Volumes
    paths: Paths
    name: str
    host_ip: str
    reserved: Mapping[str, str] = field(default_factory=dict)
    """What of the machine is not for pods: quantities by resource."""
    collect_images: Callable[[Warn], Awaitable[None]] | None = None
    """Runs the image garbage collection until cancelled; what it is given records warnings about the node."""


class Agent:
    """Runs the pods that are bound to this node. `run` is its task.

    It registers the node once `network_is_ready` or `network_failed` has told what becomes of the pods' network.
    """

    def __init__(self, parts: NodeParts) -> None:
        self._runtime = parts.runtime
        self._parts = parts
        self._recorder = EventRecorder(parts.client, "kubelet", parts.name)
        self._statuses = StatusWriter(parts.client, self._pod_object)
        self._registration = Registration(
            parts.client, parts.paths, parts.name, parts.host_ip, parts.runtime, self._recorder, parts.reserved
        )
        self._context = NodeContext(
            client=parts.client,
            runtime=parts.runtime,
            images=parts.images,
            volumes=parts.volumes,
            recorder=self._recorder,
            statuses=self._statuses,
            paths=parts.paths,
            node_name=parts.name,
            host_ip=parts.host_ip,
            memory_capacity=info.memory_capacity(),
            services=ServiceLinks(parts.client),
            allocatable=self._allocatable,
            room=NodeRoom(self._allocatable, self._node_object),
            pod_pids=default_pids(),
        )
        self._pods = Informer(parts.client, "pods", field_selector=f"spec.nodeName={parts.name}")
        self._pods.on_add = self._pod_changed
        self._pods.on_update = lambda _old, new: self._pod_changed(new)
        self._pods.on_delete = self._pod_deleted
        self._node = Informer(parts.client, "nodes", field_selector=f"metadata.name={parts.name}")
        self._node.on_delete = lambda _node: self._registration.changed()
        self._workers: dict[str, PodWorker] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._group: asyncio.TaskGroup | None = None
        self._network_known = asyncio.Event()
        self.ready = asyncio.Event()
        """The node is registered and its pods are known."""
        self.adopted = asyncio.Event()
        """The runtime tells the truth from now on."""

    def api_is_at(self, host: str, port: int) -> None:
        """Tell the containers that start from now on where pods reach the API server."""
        self._context.services.api_is_at(host, port)

    def network_is_ready(self) -> None:
        """Pods may be plumbed from now on."""
        self._context.network_ready.set()
        self._set_problem(None)
        self._network_known.set()

    def network_failed(self, problem: str) -> None:
        """Have the node report that it is not ready; pods wait."""
        self._set_problem(problem)
        self._network_known.set()

    @property
    def problem(self) -> str | None:
        """Why the node is not Ready; None when it is."""
        return self._registration.problem

    def _set_problem(self, problem: str | None) -> None:
        if self._registration.problem != problem:
            self._registration.problem = problem
            self._registration.changed()

    async def run(self) -> None:
        """Adopt what runs, register, then run pods until cancelled; containers go on running after that."""
        await self._runtime.start()
        self.adopted.set()
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._keep(group, "statuses", self._statuses.run)
            self._keep(group, "events", self._recorder.run)
            self._keep(group, "services", self._context.services.run)
            self._keep(group, "pods", self._pods.run)
            self._keep(group, "exits", self._follow_exits)
            self._registration.record("Starting", "Starting kubelet.")
            await self._network_known.wait()
            await self._registration.register()
            await self._pods.synced.wait()
            left = self._left_behind()
            self.ready.set()
            self._keep(group, "node", self._node.run)
            self._keep(group, "heartbeat", self._registration.run)
            self._keep(group, "lease", NodeLease(self._parts.client, self._parts.name).run)
            if (collect := self._parts.collect_images) is not None:
                self._keep(group, "image garbage collection", lambda: collect(self._registration.warn))
            await self._clean_orphans(left)

    def _keep(self, group: asyncio.TaskGroup, name: str, work: Callable[[], Awaitable[None]]) -> None:
        group.create_task(supervise(name, work), name=name)

    async def _follow_exits(self) -> None:
        async for event in self._runtime.events():
            if (ended := self._ended.pop(event.container_id, None)) is not None:
                ended.set()
            if (worker := self._workers.get(event.pod_uid)) is not None:
                worker.changed()

    # -- workers

    def _pod_changed(self, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(obj)
            if obj["status"].get("phase") == "Running":
                STARTS.mark(uid, SEEN)
            return
        assert self._group is not None
        worker = PodWorker(self._context, obj)
        self._admit(worker)
        self._workers[uid] = worker
        if (obj.get("status") or {}).get("phase", "Pending") == "Pending":
            STARTS.begin(uid)
        name = f"pod {worker.state.pod.full_name}"
        self._group.create_task(self._work(uid, worker, name), name=name)

    def _admit(self, worker: PodWorker) -> None:
        """Have a pod that this node cannot run as it asks fail, before anything of it is made."""
        state = worker.state
        others = [other.state.pod for other in self._workers.values() if not other.state.to_end]
        refusal = None if state.to_end else admission.refusal(state.pod, others)
        failure = (refusal.reason, refusal.message) if refusal is not None else self._place(worker)
        if failure is not None:
            reason, message = failure
            state.failure = reason, REJECTED + message
            state.record("", WARNING, reason, message)

    def _place(self, worker: PodWorker) -> tuple[str, str] | None:
        """Give a pod its place among those that have one; returns why it has none."""
        state, room = worker.state, self._context.room
        if state.to_end or room.admitted(state.uid):
            return None
        for obj in self._pods.store.values():
            # What an earlier server let run comes before it, wherever it is in the list.
            if _has_begun(obj) and not room.admitted(obj["metadata"]["uid"]):
                room.hold(from_object(obj))
        if room.admitted(state.uid):
            return None
        failure = room.admit(state.pod)
        if failure is None:
            state.allocation.grant(state.pod)
        return failure

    def _pod_deleted(self, obj: Object) -> None:
        if (worker := self._workers.get(obj["metadata"]["uid"])) is not None:
            worker.removed()

    def volume_changed(self, uid: str, problem: str) -> None:
        """A volume of a pod can be tried again (no problem), or cannot be kept up to date."""
        if (worker := self._workers.get(uid)) is None:
            return
        if problem:
            worker.state.record("", WARNING, "FailedMount", problem)
        else:
            worker.changed()

    async def _work(self, uid: str, worker: PodWorker, name: str) -> None:
        try:
            await supervise(name, worker.run)
        finally:
            del self._workers[uid]
            self._statuses.forget(uid)
            STARTS.forget(uid)

    def _pod_object(self, uid: str) -> Object | None:
        worker = self._workers.get(uid)
        return worker.state.obj if worker else None

    def _allocatable(self) -> dict[str, str]:
        return info.allocatable(self._parts.paths.data, self._parts.reserved)

    def _node_object(self) -> Object | None:
        return next(iter(self._node.store.values()), None)

    def _left_behind(self) -> list[tuple[str, Path]]:
        """Return uid and directory of what an earlier server left of pods that the API does not know any more."""
        paths = self._parts.paths
        pods = [(entry.name, entry) for entry in _entries(paths.pods)]
        logs = [(entry.name.rpartition("_")[2], entry) for entry in _entries(paths.pod_logs)]
        return [(uid, entry) for uid, entry in pods + logs if uid not in self._workers]

    async def _clean_orphans(self, left: list[tuple[str, Path]]) -> None:
        """End and remove what belongs to no pod of the API: its pod was deleted while no server ran."""
        runtime = self._runtime
        for sandbox in await runtime.list_sandboxes():
            if sandbox.uid not in self._workers:
                log.info("removing what is left of pod %s/%s (%s)", sandbox.namespace, sandbox.name, sandbox.uid)
                await self._guarded(sandbox.uid, runtime.remove_pod_sandbox(sandbox.id))
        for uid, directory in left:
            await self._guarded(uid, self._remove_directory(uid, directory))

    async def _remove_directory(self, uid: str, directory: Path) -> None:
        await self._parts.volumes.tear_down(uid)
        await asyncio.to_thread(remove_tree, directory)

    async def _guarded(self, uid: str, work: Awaitable[None]) -> None:
        """What cannot be removed now is left for the next start."""
        try:
            await work
        except Exception as error:
            log.error("what is left of pod %s cannot be removed: %s", uid, error)

    # -- what the node's server asks

    def pods(self) -> list[Object]:
        """Return the pods that are bound to this node."""
        return list(self._pods.store.values())

    async def find_container(
        self, namespace: str, pod: str, container: str, *, previous: bool = False
    ) -> ContainerStatus:
        """Return the container's latest attempt, or the one before; raises StatusError (400, 404)."""
        worker = self._worker(namespace, pod)
        attempts = by_name(
            status for status in await self._runtime.list_containers() if status.pod_uid == worker.state.uid
        ).get(container, [])
        if previous:
            ended = [status for status in attempts[:-1] if status.state is ContainerState.EXITED]
            latest = attempts[-1] if attempts else None
            if not ended and latest is not None and latest.state is ContainerState.EXITED and worker.state.waiting:
                ended = [latest]
            if not ended:
                raise bad_request(f'previous terminated container "{container}" in pod "{pod}" not found')
            return ended[-1]
        if not attempts:
            waiting = worker.state.waiting.get(container)
            reason = waiting.reason if waiting else default_waiting(worker.state.pod).reason
            why = _WAITING_TEXTS.get(reason, f"is waiting to start: {reason}")
            raise bad_request(f'container "{container}" in pod "{pod}" {why}')
        return attempts[-1]

    def _worker(self, namespace: str, pod: str) -> PodWorker:
        for worker in self._workers.values():
            meta = worker.state.pod.metadata
            if meta.name == pod and meta.namespace == namespace and not worker.state.removed:
                return worker
        raise not_found("pods", pod)

    def probe_counts(self) -> Iterator[tuple[dict[str, str], int]]:
        """See PodWorker.probe_counts; of all pods."""
        for worker in self._workers.values():
            yield from worker.probe_counts()

    async def find_sandbox(self, namespace: str, pod: str) -> SandboxStatus:
        """Return the sandbox that a pod runs in; raises StatusError (400, 404)."""
        uid = self._worker(namespace, pod).state.uid
        for sandbox in await self._runtime.list_sandboxes():
            if sandbox.uid == uid and sandbox.ready:
                return sandbox
        raise bad_request(f'pod "{pod}" is not running')

    async def wait_ended(self, container_id: str) -> None:
        """Return when the container has ended (or is gone)."""
        ended = self._ended.setdefault(container_id, asyncio.Event())
        states = {status.id: status.state for status in await self._runtime.list_containers()}
        if states.get(container_id, ContainerState.EXITED) is ContainerState.EXITED:
            self._ended.pop(container_id, ended).set()
        await ended.wait()


_WAITING_TEXTS = {
    "ErrImagePull": "is waiting to start: image can't be pulled",
    "ErrImageNeverPull": "is waiting to start: image can't be pulled",
    "ImagePullBackOff": "is waiting to start: trying and failing to pull image",
    "InvalidImageName": "is waiting to start: invalid image name",
}


def _has_begun(obj: Object) -> bool:
    status = obj.get("status") or {}
    return bool(status.get("startTime")) and status.get("phase") not in TERMINAL


def _entries(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []
