"""What a runtime does at its start with what an earlier server left: adopt what lives, settle or remove the rest.

A container is adopted only if its monitor lives: pid, start time and boot as recorded. Nothing healthy is touched.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Iterator
from pathlib import Path

from podstead.linux import mounts
from podstead.node.runtime.base import RuntimeFailure
from podstead.node.runtime.cgroups import Cgroups
from podstead.node.runtime.command import Commands
from podstead.node.runtime.conmon import Monitor
from podstead.node.runtime.containers import Container, Containers
from podstead.node.runtime.processes import kill_children, with_argument
from podstead.node.runtime.records import Phase, ProcessIdentity, SandboxPhase, boot_id
from podstead.node.runtime.sandboxes import Sandbox, Sandboxes, pinned, release_directory
from podstead.node.runtime.signals import killed
from podstead.paths import Paths

_log = logging.getLogger(__name__)


class Adoption:
    """One start's work on the records, and on what lies about without one."""

    def __init__(
        self, paths: Paths, sandboxes: Sandboxes, containers: Containers, commands: Commands, cgroups: Cgroups
    ) -> None:
        self._paths = paths
        self._sandboxes = sandboxes
        self._containers = containers
        self._commands = commands
        self._cgroups = cgroups
        self._mounted = frozenset(entry.target for entry in mounts.mount_table())

    async def run(self) -> None:
        """Settle everything. What cannot be settled now (a mount in use) is logged and stays listed."""
        sandboxes = [self._sandboxes.hold(record) for record in self._sandboxes.records.load()]
        containers = [self._containers.hold(record) for record in self._containers.records.load()]
        async with asyncio.TaskGroup() as group:
            for container in containers:
                group.create_task(_logged(self._container(container), f"container {container.record.id}"))
        async with asyncio.TaskGroup() as group:
            for sandbox in sandboxes:
                group.create_task(_logged(self._sandbox(sandbox), f"sandbox {sandbox.record.id}"))
        await _logged(self._remains(), "what has no record")

    # -- what has a record

    async def _sandbox(self, sandbox: Sandbox) -> None:
        record = sandbox.record
        if record.phase is SandboxPhase.STOPPED:
            return
        whole = record.boot == boot_id() and pinned(sandbox, self._mounted)
        if record.phase is SandboxPhase.MAKING or not whole:
            await self._sandboxes.release(sandbox)

    async def _container(self, container: Container) -> None:
        record = container.record
        match record.phase:
            case Phase.CREATING | Phase.REMOVING:
                await self._abandon(container)
            case Phase.CREATED | Phase.STARTING | Phase.RUNNING:
                await self._take_over(container)
            case Phase.EXITED:
                return

    async def _take_over(self, container: Container) -> None:
        record = container.record
        monitor = Monitor.adopt(record.monitor) if record.monitor else None
        if monitor is not None:
            await self._learn_phase(container)
            self._containers.watch(container, monitor)
        elif record.boot == boot_id() and self._containers.finish_from_file(container):
            return
        elif record.phase is Phase.CREATED:
            # It could be started, but would have no log and no exit code, ever.
            await self._abandon(container)
        else:
            await self._containers.finish_lost(container)

    async def _learn_phase(self, container: Container) -> None:
        """Find out whether a start that was under way took place; if not, it can be asked for again."""
        record = container.record
        if record.phase is not Phase.STARTING:
            return
        if await self._containers.command(container).status(record.id) == "created":
            record.phase = Phase.CREATED
        else:
            record.phase = Phase.RUNNING
        self._containers.records.save(record)

    async def _abandon(self, container: Container) -> None:
        record = container.record
        if record.monitor is not None:
            await _end_monitor(record.monitor)
        elif record.boot == boot_id():
            # Death came between the monitor's start and its record: it has the id, which nobody else can have.
            for pid in await asyncio.to_thread(with_argument, record.id):
                await _end_monitor(ProcessIdentity.of(pid))
        if record.init is not None:
            await killed(record.init)
        container.ended.set()
        await self._containers.remove(container)

    # -- what has none

    async def _remains(self) -> None:
        containers, sandboxes = self._containers.by_id, self._sandboxes.by_id
        hybrid = self._cgroups.mode == "hybrid"
        for command, container_id in list(self._commands.strays(frozenset(containers), private_mounts=hybrid)):
            await command.delete(container_id)
        places = (self._paths.containers, self._paths.runtime_state / "rootfs", self._paths.exits)
        for container_id in {name for place in places for name in _names(place)} - containers.keys():
            await self._containers.remove_remains(container_id)
        for sandbox_id in set(_names(self._paths.sandboxes)) - sandboxes.keys():
            await self._sandboxes.detach(sandbox_id)
            await asyncio.to_thread(release_directory, self._paths.sandboxes / sandbox_id)
        uids = {sandbox.record.uid for sandbox in sandboxes.values()}
        uids |= {container.record.pod_uid for container in containers.values()}
        for uid in self._cgroups.pods() - uids:
            await self._containers.remove_cgroup(self._cgroups.pod_path(uid))


async def _logged(work: Awaitable[None], what: str) -> None:
    try:
        await work
    except (OSError, RuntimeFailure) as error:
        _log.warning("left by an earlier server, not settled: %s: %s", what, error)


async def _end_monitor(identity: ProcessIdentity) -> None:
    """Kill a monitor whose creator died on the way, with the OCI runtime that it may be calling just now."""
    descriptor = identity.open()
    if descriptor < 0:
        return
    try:
        await asyncio.to_thread(kill_children, identity.pid)
    finally:
        os.close(descriptor)
    await killed(identity)


def _names(directory: Path) -> Iterator[str]:
    if directory.is_dir():
        yield from (path.name for path in directory.iterdir())
