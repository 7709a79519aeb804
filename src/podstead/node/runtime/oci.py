"""The embedded runtime: crun or runc under conmon, called directly, in sandboxes without a pause process."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from pathlib import Path

from podstead.linux import mounts
from podstead.node.runtime import exec as oci_exec
from podstead.node.runtime import pause, portforward, spec
from podstead.node.runtime.adoption import Adoption
from podstead.node.runtime.attach import ConmonAttach
from podstead.node.runtime.base import (
    AttachStream,
    ContainerConfig,
    ContainerEvent,
    ContainerStatus,
    ExecConfig,
    ExecProcess,
    NotFound,
    PodNetwork,
    Resources,
    RootFilesystems,
    RuntimeFailure,
    SandboxConfig,
    SandboxStatus,
)
from podstead.node.runtime.cgroups import ROOT, Cgroups
from podstead.node.runtime.choice import AUTOMATIC, CANDIDATES, Choice, Chooser
from podstead.node.runtime.command import Commands
from podstead.node.runtime.containers import Container, Containers, Tools
from podstead.node.runtime.logfiles import DEFAULT_LIMITS, LogKeeper, LogLimits
from podstead.node.runtime.records import Binary, Phase
from podstead.node.runtime.sandboxes import Sandbox, Sandboxes
from podstead.node.runtime.views import MountViews
from podstead.paths import Paths


class OCIRuntime:
    """Runtime (see base.py) for one instance. Make it in the loop that it is to run in."""

    def __init__(
        self,
        paths: Paths,
        images: RootFilesystems,
        network: PodNetwork,
        *,
        wanted: str = AUTOMATIC,
        conmon_path: str = "/usr/bin/conmon",
        cgroup_root: Path = ROOT,
        log_limits: LogLimits = DEFAULT_LIMITS,
    ) -> None:
        self._paths = paths
        self._wanted = wanted
        self._cgroups = Cgroups(paths.cgroup, cgroup_root)
        self._views = MountViews(paths.run, self._cgroups.unified_beside)
        self._commands = Commands(paths.runtime_root, self._views)
        self._sandboxes = Sandboxes(paths, network, self._cgroups)
        tools = Tools(paths, images, self._commands, conmon_path, self._cgroups, LogKeeper(log_limits))
        self._containers = Containers(tools, self._sandboxes, limit=2 * (os.cpu_count() or 1))
        self._choice: Choice | None = None
        self._handlers: dict[str, Binary] = {}
        """By a RuntimeClass's handler, once a pod has asked for it."""

    @property
    def name(self) -> str:
        return self._choice.name if self._choice else ""

    @property
    def version(self) -> str:
        return self._choice.version if self._choice else ""

    async def start(self) -> None:
        """See Runtime.start. Raises RuntimeFailure or OSError: no OCI runtime works here, no cgroups."""
        await self.choose()
        await self.adopt()

    async def choose(self) -> Choice:
        """Find the OCI runtime for new containers: `wanted` is auto, a name or a path. Once; `start` does it too.

        Raises RuntimeFailure with the reason in one line, OSError.
        """
        if self._choice is None:
            await self._prepare()
            choice = await Chooser(self._paths, self._cgroups, self._views).choose(self._wanted)
            await self._commands.use(choice.binary)
            self._choice = choice
        return self._choice

    async def adopt(self) -> None:
        """Take over what an earlier server left, as `start`, but without an OCI runtime for anything new."""
        await self._prepare()
        await Adoption(self._paths, self._sandboxes, self._containers, self._commands, self._cgroups).run()

    async def _prepare(self) -> None:
        paths = self._paths
        await asyncio.to_thread(mounts.make_own_mount, paths.run)
        for directory in (paths.sandboxes, paths.containers, paths.exits, paths.runtime_root):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sandboxes.records.prepare()
        self._containers.records.prepare()
        self._cgroups.prepare()

    async def close(self) -> None:
        await self._containers.close()
        await self._sandboxes.close()
        self._views.close()

    # -- sandboxes

    async def run_pod_sandbox(self, config: SandboxConfig) -> SandboxStatus:
        sandbox = await self._sandboxes.run(config, await self._handler(config.handler))
        if config.shared_pid:
            await self._share_pid(sandbox, config)
        return sandbox.status()

    async def _share_pid(self, sandbox: Sandbox, config: SandboxConfig) -> None:
        """Start the first process of the sandbox's PID namespace, which nothing but a process keeps alive."""
        try:
            container = await self._containers.create(sandbox, pause.config(config.log_directory))
            await self._containers.start(container, sandbox)
            sandbox.record.pause = container.record.id
            self._sandboxes.records.save(sandbox.record)
        except (OSError, RuntimeFailure) as error:
            await self.remove_pod_sandbox(sandbox.record.id)
            raise RuntimeFailure(f"cannot share the PID namespace: {error}", "FailedCreatePodSandBox") from error

    async def _handler(self, name: str) -> Binary | None:
        """Return the OCI runtime that a pod asks for by its handler; raises RuntimeFailure where it is none of ours."""
        if not name:
            return None
        if name not in self._handlers:
            if name not in CANDIDATES:
                raise RuntimeFailure(f'no runtime for "{name}" is configured')
            binary = await Chooser(self._paths, self._cgroups, self._views).binary(name)
            await self._commands.prepare(binary)
            self._handlers[name] = binary
        return self._handlers[name]

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._known_sandbox(sandbox_id)
        if sandbox is None:
            return
        sandbox.closing = True
        async with asyncio.TaskGroup() as group:
            for container in self._containers_of(sandbox_id):
                group.create_task(self._containers.stop(container, 0))
        await _told(self._sandboxes.stop(sandbox))

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._known_sandbox(sandbox_id)
        if sandbox is None:
            return
        await self.stop_pod_sandbox(sandbox_id)
        removing = (self.remove_container(container.record.id) for container in self._containers_of(sandbox_id))
        for failure in await asyncio.gather(*removing, return_exceptions=True):
            if failure is not None:
                raise failure
        await _told(self._sandboxes.remove(sandbox))

    async def update_pod_sandbox_resources(self, sandbox_id: str, resources: Resources) -> None:
        await _told(self._sandboxes.limit(self._sandboxes.get(sandbox_id), resources))

    async def list_sandboxes(self) -> list[SandboxStatus]:
        return [self._sandbox_status(sandbox) for sandbox in self._sandboxes.by_id.values()]

    def _sandbox_status(self, sandbox: Sandbox) -> SandboxStatus:
        status = sandbox.status()
        if not sandbox.record.shared_pid:
            return status
        first = self._containers.by_id.get(sandbox.record.pause)
        return replace(status, ready=status.ready and first is not None and first.running)

    def _known_sandbox(self, sandbox_id: str) -> Sandbox | None:
        return self._sandboxes.by_id.get(sandbox_id)

    def _containers_of(self, sandbox_id: str) -> list[Container]:
        return [one for one in self._containers.by_id.values() if one.record.sandbox_id == sandbox_id]

    # -- containers

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        return (await self._containers.create(self._sandboxes.get(sandbox_id), config)).record.id

    async def start_container(self, container_id: str) -> None:
        container = self._containers.get(container_id)
        await self._containers.start(container, self._sandboxes.get(container.record.sandbox_id))

    async def update_container_resources(self, container_id: str, resources: Resources) -> None:
        container = self._containers.get(container_id)
        path = self._cgroups.container_path(container.record.pod_uid, container_id)
        usage = self._cgroups.memory_usage(path)
        if 0 < resources.memory_limit < usage:
            limit = resources.memory_limit
            raise RuntimeFailure(f"attempting to set memory limit ({limit}) below current usage ({usage})")
        found = spec.limits(resources, swap_limited=self._cgroups.swap_limited)
        await self._containers.command(container).update(container_id, found)

    async def stop_container(self, container_id: str, grace: float) -> None:
        container = self._containers.by_id.get(container_id)
        if container is not None:
            await self._containers.stop(container, grace)

    async def remove_container(self, container_id: str) -> None:
        container = self._containers.by_id.get(container_id)
        if container is not None:
            await _told(self._containers.remove(container))

    async def list_containers(self) -> list[ContainerStatus]:
        listed = self._containers.by_id.values()
        return [container.status() for container in listed if pause.LABEL not in container.record.labels]

    async def container_status(self, container_id: str) -> ContainerStatus:
        return self._containers.get(container_id).status()

    async def exec(self, container_id: str, config: ExecConfig) -> ExecProcess:
        container = self._containers.get(container_id)
        if not container.running:
            raise NotFound(f"container {container_id[:12]} is not running")
        return oci_exec.start(self._containers.command(container), container_id, container.bundle, config)

    async def port_forward(self, sandbox_id: str, port: int) -> socket.socket:
        sandbox = self._sandboxes.get(sandbox_id)
        if not sandbox.ready:
            raise NotFound(f"sandbox {sandbox_id[:12]} is not running")
        return await portforward.connect(sandbox.netns, port)

    async def attach(self, container_id: str) -> AttachStream:
        container = self._containers.get(container_id)
        if container.record.phase not in (Phase.CREATED, Phase.STARTING, Phase.RUNNING):
            raise RuntimeFailure(f"container {container_id[:12]} is not running")
        return ConmonAttach.connect(container.bundle)

    async def events(self) -> AsyncIterator[ContainerEvent]:
        while (event := await self._containers.events.get()) is not None:
            yield event


async def _told(work: Awaitable[None]) -> None:
    """What the kernel refuses (a mount in use, a full disk) as the protocol's failure."""
    try:
        await work
    except OSError as error:
        raise RuntimeFailure(f"{error.filename}: {error.strerror}") from error
