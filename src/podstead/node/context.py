"""What every pod's worker shares: the node's parts, built once by the agent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from podstead.client.base import Client
from podstead.client.events import EventRecorder
from podstead.node.backoff import Backoff
from podstead.node.room import NodeRoom
from podstead.node.runtime.base import ContainerStatus, ImageService, Runtime
from podstead.node.services import ServiceLinks
from podstead.node.status_writer import StatusWriter
from podstead.objects.pod import Pod
from podstead.paths import Paths


class Volumes(Protocol):
    """What a worker asks of the volume manager."""

    async def set_up(self, pod: Pod) -> Mapping[str, Path]:
        """Return the host path of every volume of the pod, set up; idempotent. Raises VolumeError."""
        ...

    async def update(self, pod: Pod) -> None:
        """Have volumes show what has changed of the pod since they were set up."""
        ...

    def tear_down(self, pod_uid: str) -> Awaitable[None]:
        """Unmount and remove all volumes of the pod; idempotent."""
        ...


class Prober(Protocol):
    """What is known of a running container besides that it runs."""

    def sync(self, attempts: Mapping[str, Sequence[ContainerStatus]], pod_ip: str, held: Collection[str] = ()) -> None:
        """Probe what runs; `attempts`: by container name, the oldest first, `held`: ids of what is not to be yet."""
        ...

    def started(self, status: ContainerStatus) -> bool:
        """Whether it has started: its startup probe has succeeded, or it has none."""
        ...

    def ready(self, status: ContainerStatus) -> bool:
        """Whether it may be sent requests: its readiness probe says so, or it has none."""
        ...


class Unprobed:
    """The Prober of a pod without probes: what runs has started and is ready."""

    def sync(self, attempts: Mapping[str, Sequence[ContainerStatus]], pod_ip: str, held: Collection[str] = ()) -> None:
        return

    def started(self, status: ContainerStatus) -> bool:
        return True

    def ready(self, status: ContainerStatus) -> bool:
        return True


@dataclass(slots=True)
class NodeContext:
    """See the module's docstring. `memory_capacity` is in bytes."""

    client: Client
    runtime: Runtime
    images: ImageService
    volumes: Volumes
    recorder: EventRecorder
    statuses: StatusWriter
    paths: Paths
    node_name: str
    host_ip: str
    memory_capacity: int
    room: NodeRoom
    pod_pids: int
    """How many processes and threads a pod may have."""
    services: ServiceLinks
    allocatable: Callable[[], Mapping[str, str]]
    """What the node can give: the downward API's limits where none is set."""
    pull_backoff: Backoff = field(default_factory=Backoff)
    network_ready: asyncio.Event = field(default_factory=asyncio.Event)
