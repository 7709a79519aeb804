"""Pods' sandboxes: pinned namespaces, an address and its links, a shared /dev/shm, and their records."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from podstead import clock
from podstead.linux import mounts, namespaces
from podstead.node.phases import NETWORK, STARTS
from podstead.node.runtime.base import (
    CreateFailed,
    NotFound,
    PodNetwork,
    Resources,
    RuntimeFailure,
    SandboxConfig,
    SandboxStatus,
)
from podstead.node.runtime.cgroups import Cgroups
from podstead.node.runtime.records import Binary, RecordFolder, SandboxPhase, SandboxRecord, boot_id
from podstead.paths import Paths

SHM_BYTES = 64 << 20
_SHM_FLAGS = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC


class Sandbox:
    """One sandbox in memory; `directory` holds net, ipc, uts, shm and hostname."""

    def __init__(self, record: SandboxRecord, directory: Path) -> None:
        self.record = record
        self.directory = directory
        self.making: asyncio.Task[None] | None = None
        self.plumbing: asyncio.Task[None] | None = None
        self.expediting: asyncio.Task[None] | None = None
        self.closing = False
        """Being stopped: nothing new may be made in it."""
        self.lock = asyncio.Lock()

    @property
    def shm(self) -> Path:
        return Path("/dev/shm") if self.record.host_ipc else self.directory / "shm"

    @property
    def netns(self) -> Path:
        """What leads to the network namespace that its containers are in."""
        return Path("/proc/self/ns/net") if self.record.host_network else self.directory / "net"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The namespaces of its own, which are pinned."""
        return own_namespaces(self.record)

    @property
    def hostname_file(self) -> Path:
        return self.directory / "hostname"

    @property
    def ready(self) -> bool:
        return self.record.phase is SandboxPhase.READY and not self.closing

    def status(self) -> SandboxStatus:
        record = self.record
        return SandboxStatus(
            record.id,
            record.namespace,
            record.name,
            record.uid,
            record.ip,
            self.ready,
            record.created_at,
            record.labels,
        )


class Sandboxes:
    """All sandboxes of an instance. Not the containers in them: who stops a sandbox stops those first."""

    def __init__(self, paths: Paths, network: PodNetwork, cgroups: Cgroups) -> None:
        self._paths = paths
        self._network = network
        self._cgroups = cgroups
        self.records = RecordFolder(paths.runtime_state / "sandboxes", SandboxRecord)
        self.by_id: dict[str, Sandbox] = {}

    def get(self, sandbox_id: str) -> Sandbox:
        """Raises NotFound."""
        try:
            return self.by_id[sandbox_id]
        except KeyError:
            raise NotFound(f"sandbox {sandbox_id[:12]} not found") from None

    def hold(self, record: SandboxRecord) -> Sandbox:
        """Take a record into the list, as a new sandbox or one found at start."""
        sandbox = self.by_id[record.id] = Sandbox(record, self._paths.sandboxes / record.id)
        self._cgroups.place_pod(record.uid, record.cgroup_tier)
        return sandbox

    async def run(self, config: SandboxConfig, runtime: Binary | None = None) -> Sandbox:
        """Make a sandbox, the containers of which `runtime` makes.

        A caller that is cancelled leaves one that `stop` and `remove` take away.
        """
        sandbox = self.hold(
            SandboxRecord(
                id=secrets.token_hex(32),
                namespace=config.namespace,
                name=config.name,
                uid=config.uid,
                hostname=config.hostname,
                hosts_file=str(config.hosts_file),
                resolv_conf=str(config.resolv_conf),
                log_directory=str(config.log_directory),
                labels=dict(config.labels),
                shared_pid=config.shared_pid,
                cgroup_tier=config.cgroup_tier,
                created_at=clock.now(),
                boot=boot_id(),
                ip=config.host_address,
                host_network=bool(config.host_address),
                host_ipc=config.host_ipc,
                host_pid=config.host_pid,
                sysctls=dict(config.sysctls),
                ports=list(config.ports),
                runtime=runtime,
            )
        )
        try:
            self.records.save(sandbox.record)
            sandbox.making = asyncio.create_task(self._make(sandbox, config.resources))
            await asyncio.shield(sandbox.making)
        except (OSError, RuntimeFailure) as error:
            await self.remove(sandbox)
            raise RuntimeFailure(f"cannot make the sandbox: {error}", "FailedCreatePodSandBox") from error
        return sandbox

    async def _make(self, sandbox: Sandbox, resources: Resources) -> None:
        record = sandbox.record
        grouping = asyncio.create_task(self._make_group(sandbox, resources))
        try:
            await self._make_namespaces(sandbox)
        finally:
            await _settled(grouping)
        await grouping
        record.phase = SandboxPhase.READY
        self.records.save(record)

    async def _make_group(self, sandbox: Sandbox, resources: Resources) -> None:
        await self.limit(sandbox, resources)
        # The first container's create follows: it finds the kernel ready for it. Not before the group is made, which
        # would have to wait for that.
        sandbox.expediting = asyncio.create_task(asyncio.to_thread(self._cgroups.expedite_moves))

    async def _make_namespaces(self, sandbox: Sandbox) -> None:
        record = sandbox.record
        if record.host_network:
            record.plumbed = True
        else:
            record.ip = self._network.allocate(record.id)
        await namespaces.pin(sandbox.directory, record.hostname, sandbox.kinds, record.sysctls)
        # From here on the links are made while root file systems are mounted and containers created.
        if not record.plumbed:
            self._plumb(sandbox)
        await asyncio.to_thread(_make_files, sandbox)

    async def limit(self, sandbox: Sandbox, resources: Resources) -> None:
        """Make the pod's cgroup with these limits, or change them; raises OSError."""
        await asyncio.to_thread(self._cgroups.limit_pod, sandbox.record.uid, resources)

    def _plumb(self, sandbox: Sandbox) -> asyncio.Task[None]:
        sandbox.plumbing = asyncio.create_task(self._attach(sandbox))
        return sandbox.plumbing

    async def _attach(self, sandbox: Sandbox) -> None:
        await self._network.attach(sandbox.record.id, sandbox.netns)
        if sandbox.record.ports:
            await self._network.publish(sandbox.record.id, sandbox.record.ports)
        sandbox.record.plumbed = True
        STARTS.mark(sandbox.record.uid, NETWORK)
        if sandbox.record.phase is SandboxPhase.READY:
            self.records.save(sandbox.record)

    async def plumbed(self, sandbox: Sandbox) -> None:
        """Wait for the sandbox's network; a plumbing that failed is tried again. Raises CreateFailed."""
        if sandbox.record.plumbed:
            return
        if not sandbox.ready:
            raise CreateFailed(f"sandbox {sandbox.record.id[:12]} is not ready")
        task = sandbox.plumbing
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._plumb(sandbox)
        try:
            await asyncio.shield(task)
        except (OSError, RuntimeFailure) as error:
            raise CreateFailed(f"the pod's network could not be set up: {error}") from error

    async def stop(self, sandbox: Sandbox) -> None:
        """Give back links, address and namespaces; idempotent. Raises OSError, RuntimeFailure: call again."""
        sandbox.closing = True
        async with sandbox.lock:
            if sandbox.record.phase is SandboxPhase.STOPPED:
                return
            await _settled(sandbox.making)
            if sandbox.plumbing is not None:
                sandbox.plumbing.cancel()
                await _settled(sandbox.plumbing)
            await self.release(sandbox)

    async def release(self, sandbox: Sandbox) -> None:
        """As `stop`, for one whose tasks have ended or were never there (a start after a crash)."""
        await self._network.detach(sandbox.record.id)
        await asyncio.to_thread(release_directory, sandbox.directory)
        sandbox.record.phase = SandboxPhase.STOPPED
        sandbox.record.plumbed = False
        self.records.save_if_possible(sandbox.record)

    async def detach(self, sandbox_id: str) -> None:
        """Give back the links and the address of a sandbox that has no record."""
        await self._network.detach(sandbox_id)

    async def remove(self, sandbox: Sandbox) -> None:
        """Stop and forget it, with its pod's cgroup where no other sandbox of the pod is there; idempotent."""
        await self.stop(sandbox)
        uid = sandbox.record.uid
        self.by_id.pop(sandbox.record.id, None)
        if not any(other.record.uid == uid for other in self.by_id.values()):
            try:
                self._cgroups.remove_pod(uid)
            except OSError:
                self.by_id[sandbox.record.id] = sandbox
                raise
        self.records.delete(sandbox.record.id)

    async def close(self) -> None:
        """End the tasks; what they were making is found by its record at the next start."""
        for sandbox in self.by_id.values():
            await _settled(sandbox.making)
            if sandbox.plumbing is not None:
                sandbox.plumbing.cancel()
                await _settled(sandbox.plumbing)


def _make_files(sandbox: Sandbox) -> None:
    if not sandbox.record.host_ipc:
        sandbox.shm.mkdir(exist_ok=True)
        mounts.mount("shm", sandbox.shm, "tmpfs", _SHM_FLAGS, f"mode=1777,size={SHM_BYTES}")
    sandbox.hostname_file.write_text(f"{sandbox.record.hostname}\n")


def release_directory(directory: Path) -> None:
    """Unmount and remove everything of a sandbox's directory; what is not there is not an error. Blocking."""
    shm = directory / "shm"
    while mounts.umount(shm, lazy=True):
        pass
    if shm.exists():
        shm.rmdir()
    (directory / "hostname").unlink(missing_ok=True)
    namespaces.unpin(directory)


def own_namespaces(record: SandboxRecord) -> tuple[str, ...]:
    """Return the kinds of namespaces that a sandbox does not share with the host: a host's network has its name."""
    shared = {*(("net", "uts") if record.host_network else ()), *(("ipc",) if record.host_ipc else ())}
    return tuple(kind for kind in namespaces.ALL if kind not in shared)


def pinned(sandbox: Sandbox, table: frozenset[Path]) -> bool:
    """Whether all that a sandbox has mounted is among the mount points `table`."""
    names = (*sandbox.kinds, *(() if sandbox.record.host_ipc else ("shm",)))
    return all(sandbox.directory / name in table for name in names)


async def _settled(task: asyncio.Task[None] | None) -> None:
    """Wait for the end of a task of ours, however it ends; being cancelled meanwhile is passed on."""
    if task is not None:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
