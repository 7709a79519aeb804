"""A node agent over a runtime that does what a test says, with a real registry as its API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from podstead import clock
from podstead.client.base import EventType
from podstead.node.agent import Agent, NodeParts
from podstead.node.runtime.base import (
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    ContainerStatus,
    ExecConfig,
    Image,
    ImageConfig,
    Progress,
    PullFailed,
    RegistryAuth,
    Resources,
    SandboxConfig,
    SandboxStatus,
)
from podstead.objects.errors import StatusError
from podstead.objects.pod import Pod
from podstead.paths import Paths
from podstead.registry.registry import Registry
from support.registry import ADMIN, open_registry

NODE = "node-1"
DEADLINE = 10.0


class FakeRuntime:
    """Containers are records; `end` ends one. `create_errors`, `start_errors`: by container name, raised once each."""

    name, version = "fake", "1.0"

    def __init__(self) -> None:
        self.sandboxes: dict[str, SandboxStatus] = {}
        self.containers: dict[str, ContainerStatus] = {}
        self.order: list[str] = []
        """`VERB NAME` of what was done with containers and sandboxes."""
        self.graces: list[float] = []
        self.create_errors: dict[str, list[Exception]] = {}
        self.start_errors: dict[str, list[Exception]] = {}
        self.pod_limits: dict[str, Resources] = {}
        self.limits: dict[str, Resources] = {}
        """By sandbox, by container: what was changed while it ran."""
        self.update_errors: list[Exception] = []
        self.deaf = False
        """Containers do not end on their stop signal."""
        self.exec_codes: dict[str, int] = {}
        """By command (its first word): what it ends with, 0 if nothing is said; -1: it never ends."""
        self._events: asyncio.Queue[ContainerEvent] = asyncio.Queue()
        self._count = 0

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def run_pod_sandbox(self, config: SandboxConfig) -> SandboxStatus:
        self._count += 1
        sandbox = SandboxStatus(
            f"s{self._count}", config.namespace, config.name, config.uid, "10.0.0.9", True, datetime.now(UTC), {}
        )
        self.sandboxes[sandbox.id] = sandbox
        self.order.append(f"sandbox {config.name}")
        return sandbox

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        if sandbox_id in self.sandboxes:
            self.sandboxes[sandbox_id] = replace(self.sandboxes[sandbox_id], ready=False)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        self.sandboxes.pop(sandbox_id, None)
        for status in [one for one in self.containers.values() if one.sandbox_id == sandbox_id]:
            del self.containers[status.id]

    async def list_sandboxes(self) -> list[SandboxStatus]:
        return list(self.sandboxes.values())

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        if self.create_errors.get(config.name):
            raise self.create_errors[config.name].pop(0)
        self._count += 1
        status = ContainerStatus(
            id=f"{self._count:064x}",
            sandbox_id=sandbox_id,
            pod_uid=self.sandboxes[sandbox_id].uid,
            name=config.name,
            attempt=config.attempt,
            state=ContainerState.CREATED,
            image=config.image,
            image_id=config.image_id,
            log_path=config.log_path,
            created_at=clock.now(),
            labels=config.labels,
        )
        self.containers[status.id] = status
        self.order.append(f"create {config.name}")
        return status.id

    async def start_container(self, container_id: str) -> None:
        status = self.containers[container_id]
        if self.start_errors.get(status.name):
            error = self.start_errors[status.name].pop(0)
            self._finish(container_id, 128, "StartError", str(error))
            raise error
        self.containers[container_id] = replace(status, state=ContainerState.RUNNING, started_at=clock.now())
        self.order.append(f"start {status.name}")

    async def update_pod_sandbox_resources(self, sandbox_id: str, resources: Resources) -> None:
        self.pod_limits[sandbox_id] = resources

    async def update_container_resources(self, container_id: str, resources: Resources) -> None:
        if self.update_errors:
            raise self.update_errors.pop(0)
        self.limits[container_id] = resources

    async def stop_container(self, container_id: str, grace: float) -> None:
        self.graces.append(grace)
        status = self.containers[container_id]
        if status.state is ContainerState.EXITED:
            return
        if self.deaf and grace > 0:
            await asyncio.sleep(grace)
        self.order.append(f"stop {status.name}")
        self._finish(container_id, 137)

    async def remove_container(self, container_id: str) -> None:
        self.containers.pop(container_id, None)

    async def list_containers(self) -> list[ContainerStatus]:
        return list(self.containers.values())

    async def container_status(self, container_id: str) -> ContainerStatus:
        return self.containers[container_id]

    async def exec(self, container_id: str, config: ExecConfig) -> FakeExec:
        self.order.append(f"exec {config.argv[0]}")
        return FakeExec(self.exec_codes.get(config.argv[0], 0))

    async def events(self) -> AsyncIterator[ContainerEvent]:
        while True:
            yield await self._events.get()

    def end(self, name: str, exit_code: int = 0) -> None:
        """The running container of that name ends by itself."""
        running = [one for one in self.containers.values() if one.name == name and one.state is ContainerState.RUNNING]
        self._finish(running[-1].id, exit_code)

    def _finish(self, container_id: str, exit_code: int, reason: str = "", message: str = "") -> None:
        self.containers[container_id] = replace(
            self.containers[container_id],
            state=ContainerState.EXITED,
            exit_code=exit_code,
            finished_at=clock.now(),
            reason=reason,
            message=message,
        )
        self._events.put_nowait(ContainerEvent(container_id, self.containers[container_id].pod_uid))


class FakeExec:
    """A command that has ended with `code`; -1: one that runs until it is killed."""

    def __init__(self, code: int) -> None:
        self._code = code
        self._killed = asyncio.Event()

    async def wait(self) -> int:
        if self._code < 0:
            await self._killed.wait()
            return 137
        return self._code

    def resized(self) -> None: ...

    def kill(self) -> None:
        self._killed.set()


class FakeImages:
    """`present` are references on the node. A pull waits for `gate`, then raises `errors`' first or succeeds."""

    def __init__(self, *present: str) -> None:
        self.present = set(present)
        self.errors: list[Exception] = []
        self.pulled: list[str] = []
        self.auths: list[RegistryAuth] = []
        self.progress: Progress | None = None
        """What the latest pull was given."""
        self.gate = asyncio.Event()
        self.gate.set()

    async def image_status(self, reference: str) -> Image | None:
        return image(reference) if reference in self.present else None

    async def list_images(self) -> list[Image]:
        return [image(reference) for reference in sorted(self.present)]

    async def pull_image(
        self, reference: str, auths: Sequence[RegistryAuth] = (), progress: Progress | None = None
    ) -> Image:
        self.pulled.append(reference)
        self.auths, self.progress = list(auths), progress
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.present.add(reference)
        return image(reference)


def image(reference: str) -> Image:
    return Image("ab" * 32, (reference,), (), 1000, ImageConfig(cmd=("run",)), ())


class FakeVolumes:
    """Volumes that exist at once, unless `errors` has something to raise or `gate` is closed."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.torn_down: list[str] = []

    async def set_up(self, pod: Pod) -> Mapping[str, Path]:
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        return {volume.name: Path("/nowhere") for volume in pod.spec.volumes}

    async def update(self, pod: Pod) -> None:
        return

    async def tear_down(self, pod_uid: str) -> None:
        self.torn_down.append(pod_uid)


class FakeNode:
    """What a test has in hand: the API (`client`), the parts and the agent."""

    def __init__(self, registry: Registry, directory: Path) -> None:
        self.client = registry.client(ADMIN)
        self.runtime, self.images, self.volumes = FakeRuntime(), FakeImages("busybox:1"), FakeVolumes()
        self.paths = Paths("fake", directory / "data", directory / "run")
        self.paths.data.mkdir(parents=True, exist_ok=True)
        self.agent = self.new_agent()

    def new_agent(self) -> Agent:
        parts = NodeParts(self.client, self.runtime, self.images, self.volumes, self.paths, NODE, "192.0.2.1")  # type: ignore[arg-type]
        return Agent(parts)

    @asynccontextmanager
    async def running(self, *, network: bool = True) -> AsyncIterator[None]:
        """Run the agent, as a server does; what runs goes on running after it."""
        task = asyncio.create_task(self.agent.run())
        if network:
            self.agent.network_is_ready()
        try:
            await _within(self.agent.ready.wait()) if network else None
            yield
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def create(self, name: str = "p", *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
        filled = [
            {"name": f"c{number}", "image": "busybox:1", "imagePullPolicy": "IfNotPresent", **container}
            for number, container in enumerate(containers or ({},), start=1)
        ]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"nodeName": NODE, "containers": filled, **spec},
        }
        return await self.client.create("pods", pod, "default")

    async def pod(self, name: str = "p") -> dict[str, Any]:
        return await self.client.get("pods", name, "default")

    async def until(self, what: Callable[[dict[str, Any]], Any], name: str = "p") -> dict[str, Any]:
        """Return the pod once `what(pod)` holds, seen by a watch."""
        return await until(self.client, "pods", name, what)

    async def running_pod(self, name: str = "p") -> dict[str, Any]:
        return await self.until(lambda pod: pod["status"]["phase"] == "Running" and ready(pod), name)

    async def gone(self, name: str = "p") -> None:
        """Return once the API has no such pod."""
        await gone(self.client, "pods", name)

    async def event(self, reason: str, message: str = "") -> dict[str, Any]:
        """Return the first event of that reason whose message has `message` in it, once it is written."""

        def fits(event: dict[str, Any]) -> bool:
            return event["reason"] == reason and message in event["message"]

        return await until(self.client, "events", "", fits)


def ready(pod: dict[str, Any]) -> bool:
    return all(status["ready"] for status in pod["status"].get("containerStatuses", [{"ready": False}]))


def state(pod: dict[str, Any], number: int = 0) -> dict[str, Any]:
    """Return the one state of a container: {"waiting": {...}} and the like; empty if there is none yet."""
    statuses = pod["status"].get("containerStatuses")
    return statuses[number]["state"] if statuses else {}


def waiting(pod: dict[str, Any], number: int = 0) -> str:
    return state(pod, number).get("waiting", {}).get("reason", "")


async def until(client: Any, resource: str, name: str, what: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Return the first object (of `name`, if given; in `default`) for which `what` holds."""
    field = f"metadata.name={name}" if name else ""

    async def watch() -> dict[str, Any]:
        listed = await client.list(resource, "default", field_selector=field)
        for obj in listed.items:
            if what(obj):
                return obj
        async for event in client.watch(
            resource, "default", resource_version=listed.resource_version, field_selector=field
        ):
            if event.type in (EventType.ADDED, EventType.MODIFIED) and what(event.object):
                return event.object
        raise AssertionError("the watch ended")

    return await _within(watch())


async def gone(client: Any, resource: str, name: str, namespace: str = "default") -> None:
    async def watch() -> None:
        listed = await client.list(resource, namespace, field_selector=f"metadata.name={name}")
        if not listed.items:
            return
        async for event in client.watch(resource, namespace, resource_version=listed.resource_version):
            if event.type is EventType.DELETED and event.object["metadata"]["name"] == name:
                return

    await _within(watch())


async def _within(work: Any) -> Any:
    async with asyncio.timeout(DEADLINE):
        return await work


@asynccontextmanager
async def fake_node(directory: Path) -> AsyncIterator[FakeNode]:
    """A node whose agent does not run yet (`running`), over a registry of its own."""
    async with open_registry(directory / "state.db") as registry:
        yield FakeNode(registry, directory)


__all__ = ["NODE", "FakeNode", "PullFailed", "StatusError", "fake_node", "gone", "ready", "state", "until", "waiting"]
