"""Containers from create to removal: records, bundles, monitors and how each ended."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import signal
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from podstead import clock
from podstead.node.runtime import conmon, pause, spec, users
from podstead.node.runtime.base import (
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    ContainerStatus,
    CreateFailed,
    Image,
    NotFound,
    RootFilesystems,
    RuntimeFailure,
)
from podstead.node.runtime.cgroups import Cgroups
from podstead.node.runtime.command import Commands, RuntimeCommand
from podstead.node.runtime.conmon import Monitor
from podstead.node.runtime.logfiles import LogKeeper
from podstead.node.runtime.records import Binary, ContainerRecord, Phase, ProcessIdentity, RecordFolder, boot_id
from podstead.node.runtime.sandboxes import Sandbox, Sandboxes
from podstead.node.runtime.signals import killed, send, stop_signal
from podstead.paths import Paths

MONITOR_LOST = "the container's monitor was lost, so its exit code is unknown; the container was killed"
_CGROUP_DELAYS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_STATES = {
    Phase.CREATING: ContainerState.UNKNOWN,
    Phase.CREATED: ContainerState.CREATED,
    Phase.STARTING: ContainerState.CREATED,
    Phase.RUNNING: ContainerState.RUNNING,
    Phase.EXITED: ContainerState.EXITED,
    Phase.REMOVING: ContainerState.EXITED,
}
_ENDED = frozenset((Phase.EXITED, Phase.REMOVING))


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tools:
    """What containers are made with."""

    paths: Paths
    images: RootFilesystems
    commands: Commands
    conmon_path: str
    cgroups: Cgroups
    logs: LogKeeper = field(default_factory=LogKeeper)


class Container:
    """One container in memory."""

    def __init__(self, record: ContainerRecord, bundle: Path) -> None:
        self.record = record
        self.bundle = bundle
        self.creation: asyncio.Task[None] | None = None
        self.monitor: Monitor | None = None
        self.failure: CreateFailed | None = None
        """Why it could not be started: tells its state once it has ended."""
        self.unmade = False
        """It could not be created and is being removed: it has not ended, for it never was."""
        self.ended = asyncio.Event()
        self.lock = asyncio.Lock()

    @property
    def running(self) -> bool:
        return self.record.phase is Phase.RUNNING

    def signal(self, number: int) -> bool:
        """Send a signal to its first process; returns False if that is gone."""
        return self.record.init is not None and send(self.record.init, number)

    def status(self) -> ContainerStatus:
        record = self.record
        return ContainerStatus(
            id=record.id,
            sandbox_id=record.sandbox_id,
            pod_uid=record.pod_uid,
            name=record.name,
            attempt=record.attempt,
            state=ContainerState.UNKNOWN if self.unmade else _STATES[record.phase],
            image=record.image,
            image_id=record.image_id,
            log_path=Path(record.log_path),
            created_at=record.created_at,
            started_at=record.started_at if record.phase is not Phase.STARTING else None,
            finished_at=record.finished_at,
            exit_code=record.exit_code,
            reason=record.reason,
            message=record.message,
            pid=record.init.pid if record.init and record.phase not in _ENDED else 0,
            labels=record.labels,
        )


class Containers:
    """All containers of an instance. `limit` is how many are created at once."""

    def __init__(self, tools: Tools, sandboxes: Sandboxes, limit: int) -> None:
        self._tools = tools
        self._sandboxes = sandboxes
        self._slots = asyncio.Semaphore(limit)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.records = RecordFolder(tools.paths.runtime_state / "containers", ContainerRecord)
        self.by_id: dict[str, Container] = {}
        self.events: asyncio.Queue[ContainerEvent | None] = asyncio.Queue()

    def get(self, container_id: str) -> Container:
        """Raises NotFound."""
        try:
            return self.by_id[container_id]
        except KeyError:
            raise NotFound(f"container {container_id[:12]} not found") from None

    def hold(self, record: ContainerRecord) -> Container:
        """Take a record into the list, as a new container or one found at start."""
        container = self.by_id[record.id] = Container(record, self._tools.paths.containers / record.id)
        if record.phase in _ENDED:
            container.ended.set()
        return container

    def writable_dir(self, container_id: str) -> Path:
        """Where a container's own layer lies: on the data disk, not in memory."""
        return self._tools.paths.runtime_state / "rootfs" / container_id

    def command(self, container: Container) -> RuntimeCommand:
        """The OCI runtime that made it."""
        return self._tools.commands.of(container.record.runtime)

    # -- create

    async def create(self, sandbox: Sandbox, config: ContainerConfig) -> Container:
        """Create; a caller that is cancelled leaves one that `remove` takes away. Raises CreateFailed."""
        own = pause.LABEL in config.labels
        image = pause.IMAGE if own else await self._tools.images.image_status(config.image_id)
        if image is None:
            raise CreateFailed(f'image "{config.image}" is not on this node', "CreateContainerError")
        if not sandbox.ready:
            raise CreateFailed(f"sandbox {sandbox.record.id[:12]} is not ready", "CreateContainerError")
        try:
            shared = any(mount.propagation == "rshared" for mount in config.mounts)
            commands = self._tools.commands
            asked = commands.of(sandbox.record.runtime) if sandbox.record.runtime else commands.current
            command = commands.with_shared_mounts() if shared else asked
            record = _new_record(sandbox, config, image, command.binary)
            self.records.save(record)
        except OSError as error:
            raise CreateFailed(f"cannot record the container: {error.strerror}", "CreateContainerError") from error
        except RuntimeFailure as error:
            raise CreateFailed(str(error), "CreateContainerError") from error
        container = self.hold(record)
        container.creation = asyncio.create_task(self._create(container, sandbox, config, image))
        # Nobody may be left to ask how it went: the failure is told by the container's absence then.
        container.creation.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(container.creation)
        return container

    async def _create(self, container: Container, sandbox: Sandbox, config: ContainerConfig, image: Image) -> None:
        record = container.record
        moves: list[asyncio.Task[None]] = []
        try:
            launch = await self._prepare(container, sandbox, config, image)

            async def before(identity: ProcessIdentity) -> None:
                record.monitor = identity
                self.records.save(record)
                # The kernel takes 10 ms to move a process: meanwhile the runtime creates, in a group of its own anyway.
                moves.append(asyncio.create_task(self._set_apart(identity), name="monitor's cgroup"))

            async with self._slots, self.command(container).creating() as runtime:
                try:
                    monitor, init = await conmon.create(launch, self._tools.conmon_path, runtime, before)
                finally:
                    await asyncio.gather(*moves)
        except (OSError, RuntimeFailure) as error:
            container.unmade, record.phase = True, Phase.EXITED
            container.ended.set()
            await self._discard(container)
            if isinstance(error, CreateFailed):
                raise
            raise CreateFailed(str(error), "CreateContainerError") from error
        record.init, record.phase = init, Phase.CREATED
        self.records.save(record)
        self.watch(container, monitor)

    async def _set_apart(self, monitor: ProcessIdentity) -> None:
        """Move a monitor into the monitors' cgroup; where that fails it stays in the server's, and works there too."""
        try:
            await asyncio.to_thread(self._tools.cgroups.enter_monitors, monitor.pid)
        except ProcessLookupError:
            pass  # It has ended: conmon.create tells why.
        except OSError as error:
            log.warning("monitor %d stays in the server's cgroup: %s", monitor.pid, error)

    async def _prepare(
        self, container: Container, sandbox: Sandbox, config: ContainerConfig, image: Image
    ) -> conmon.Launch:
        """Mount the root file system and write the bundle."""
        tools, record, bundle = self._tools, container.record, container.bundle
        bundle.mkdir(mode=0o700, parents=True)
        rootfs = bundle / "rootfs"
        if image is pause.IMAGE:
            await asyncio.to_thread(pause.make_rootfs, rootfs)
        else:
            await tools.images.mount_rootfs(image, self.writable_dir(record.id), rootfs)
        user = users.resolve(rootfs, config.user, config.security)
        tools.cgroups.prepare_pod(record.pod_uid)
        around = spec.Surroundings(
            namespaces=sandbox.directory,
            shm=sandbox.shm,
            hosts_file=Path(sandbox.record.hosts_file),
            resolv_conf=Path(sandbox.record.resolv_conf),
            hostname_file=sandbox.hostname_file,
            hostname=sandbox.record.hostname,
            cgroups_path=self._cgroups_path(record),
            unified_cgroups=tools.cgroups.unified,
            swap_limited=tools.cgroups.swap_limited,
            target_pid=self._target_pid(config.target_id or sandbox.record.pause),
            own_namespaces=sandbox.kinds,
            host_pid=sandbox.record.host_pid,
        )
        built = spec.build(config, user, around)
        if image is pause.IMAGE:
            built["mounts"] = pause.needed(built["mounts"])
        (bundle / "config.json").write_bytes(msgspec.json.encode(built))
        config.log_path.parent.mkdir(parents=True, exist_ok=True)
        return conmon.Launch(
            container_id=record.id,
            name=f"{config.name}-{config.attempt}",
            program=next(iter(config.args), ""),
            bundle=bundle,
            log_path=config.log_path,
            exits=tools.paths.exits,
            stdin=config.stdin,
            stdin_once=config.stdin_once,
            tty=config.tty,
            log_size=tools.logs.limits.size,
        )

    def _target_pid(self, target_id: str) -> int:
        """Return the process of the container whose PID namespace is joined; raises CreateFailed if it has none."""
        if not target_id:
            return 0
        target = self.by_id.get(target_id)
        if target is None or not target.running or target.record.init is None:
            message = f"target container {target_id[:12]} is not running"
            raise CreateFailed(message, "CreateContainerConfigError")
        return target.record.init.pid

    def _cgroups_path(self, record: ContainerRecord) -> str:
        return self._tools.cgroups.container_path(record.pod_uid, record.id)

    # -- start and stop

    async def start(self, container: Container, sandbox: Sandbox) -> None:
        """Start what was created, once the network is there. Raises CreateFailed; the container has ended then."""
        await _settled(container.creation)
        async with container.lock:
            record = container.record
            if record.phase not in (Phase.CREATED, Phase.STARTING):
                raise CreateFailed(f"container {record.id[:12]} is {record.phase}, not created")
            try:
                await self._sandboxes.plumbed(sandbox)
                # Kept where the container ends before the runtime has answered.
                record.started_at = clock.now()
                await self._start(container)
            except (OSError, RuntimeFailure) as error:
                container.failure = error if isinstance(error, CreateFailed) else CreateFailed(str(error))
                await self.kill(container)
                raise container.failure from error

    async def _start(self, container: Container) -> None:
        record, command = container.record, self.command(container)
        if record.phase not in _ENDED:
            record.phase = Phase.STARTING
            self.records.save(record)
        try:
            await command.call("start", record.id)
        except RuntimeFailure:
            # An earlier server's call may have come to its end meanwhile.
            if await command.status(record.id) != "running":
                raise
        if record.phase is Phase.STARTING:
            record.phase, record.started_at = Phase.RUNNING, clock.now()
            self.records.save(record)

    async def stop(self, container: Container, grace: float) -> None:
        """Stop signal, SIGKILL after `grace` seconds; returns once it has ended."""
        await _settled(container.creation)
        if container.ended.is_set() or container.record.id not in self.by_id:
            return
        if grace > 0 and container.record.phase in (Phase.STARTING, Phase.RUNNING):
            container.signal(container.record.stop_signal)
            try:
                async with asyncio.timeout(grace):
                    await container.ended.wait()
                return
            except TimeoutError:
                pass
        await self.kill(container)

    async def kill(self, container: Container) -> None:
        """SIGKILL to the first process, with which its PID namespace ends; returns once the exit is recorded."""
        container.signal(signal.SIGKILL)
        await container.ended.wait()

    # -- the end

    def watch(self, container: Container, monitor: Monitor) -> None:
        """See to it that the container's end is recorded and told when its monitor has ended."""
        container.monitor = monitor
        if pause.LABEL not in container.record.labels:
            self._tools.logs.hold(Path(container.record.log_path))
        monitor.ended.add_done_callback(lambda _: self._monitor_ended(container))

    def _monitor_ended(self, container: Container) -> None:
        if self._closed or self.finish_from_file(container):
            return
        task = asyncio.create_task(self.finish_lost(container))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def finish_from_file(self, container: Container) -> bool:
        """Record the end that the monitor wrote down; returns False if it wrote none."""
        path = self._tools.paths.exits / container.record.id
        try:
            code = int(path.read_text())
            finished_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except (OSError, ValueError):
            return False
        self._finish(container, code, finished_at)
        return True

    async def finish_lost(self, container: Container) -> None:
        """Kill and record a container whose monitor has gone without a word: 137, Error."""
        record = container.record
        if record.init is not None:
            await killed(record.init)
        if record.boot == boot_id():
            self._tools.cgroups.kill(self._cgroups_path(record))
        record.message = MONITOR_LOST
        self._finish(container, 128 + signal.SIGKILL, clock.now())

    def _finish(self, container: Container, code: int, finished_at: datetime) -> None:
        record = container.record
        record.phase, record.exit_code, record.finished_at = Phase.EXITED, code, finished_at
        if container.failure is not None:
            failure = container.failure
            record.exit_code, record.reason, record.message = failure.exit_code, failure.reason, str(failure)
        elif code == 0:
            record.reason = "Completed"
        elif self._tools.cgroups.oom_killed(self._cgroups_path(record)):
            record.reason = "OOMKilled"
        else:
            record.reason = "Error"
        if record.joined_pid and record.boot == boot_id():
            self._tools.cgroups.kill(self._cgroups_path(record))
        self.records.save_if_possible(record)
        self._tools.logs.release(Path(record.log_path))
        container.ended.set()
        self.events.put_nowait(ContainerEvent(record.id, record.pod_uid))

    # -- removal

    async def remove(self, container: Container) -> None:
        """Kill it if it runs, and remove all but its log; idempotent. Raises OSError, RuntimeFailure: call again."""
        await self.stop(container, 0)
        async with container.lock:
            if container.record.id in self.by_id:
                await self._discard(container)

    async def _discard(self, container: Container) -> None:
        record = container.record
        record.phase = Phase.REMOVING
        self.records.save_if_possible(record)
        if record.boot == boot_id():
            await self.command(container).delete(record.id)
            await self.remove_cgroup(self._cgroups_path(record))
        else:
            self.command(container).forget(record.id)
        await self.remove_remains(record.id)
        self.records.delete(record.id)
        self.by_id.pop(record.id, None)

    async def remove_remains(self, container_id: str) -> None:
        """Remove the files and mounts that go by a container's id, its record apart."""
        bundle, writable = self._tools.paths.containers / container_id, self.writable_dir(container_id)
        await self._tools.images.unmount_rootfs(bundle / "rootfs", writable)
        _remove_flat(bundle)
        _remove_flat(writable)
        (self._tools.paths.exits / container_id).unlink(missing_ok=True)

    async def remove_cgroup(self, path: str) -> None:
        """Remove what an OCI runtime left of a container's or a pod's cgroup, with the processes in it."""
        for delay in _CGROUP_DELAYS:
            try:
                await asyncio.to_thread(self._tools.cgroups.remove, path)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
            else:
                return
            self._tools.cgroups.kill(path)
            # A process leaves its group some time after its end has been told, and v1 has no event for it.
            await asyncio.sleep(delay)
        await asyncio.to_thread(self._tools.cgroups.remove, path)

    async def close(self) -> None:
        """Let what is being created come to its end and stop telling of ends; containers go on running."""
        for container in list(self.by_id.values()):
            await _settled(container.creation)
        self._closed = True
        await asyncio.gather(*self._tasks)
        for container in self.by_id.values():
            if container.monitor is not None:
                container.monitor.ended.cancel()
        await self._tools.logs.close()
        self.events.put_nowait(None)


def _new_record(sandbox: Sandbox, config: ContainerConfig, image: Image, runtime: Binary) -> ContainerRecord:
    return ContainerRecord(
        id=secrets.token_hex(32),
        sandbox_id=sandbox.record.id,
        pod_uid=sandbox.record.uid,
        name=config.name,
        attempt=config.attempt,
        image=config.image,
        image_id=config.image_id,
        log_path=str(config.log_path),
        labels=dict(config.labels),
        created_at=clock.now(),
        joined_pid=bool(config.target_id or sandbox.record.pause or sandbox.record.host_pid),
        stop_signal=stop_signal(config.stop_signal or image.config.stop_signal),
        boot=boot_id(),
        runtime=runtime,
    )


def _remove_flat(directory: Path) -> None:
    """Remove a directory of plain files and empty directories; raises OSError rather than go deeper."""
    try:
        entries = list(os.scandir(directory))
    except FileNotFoundError:
        return
    for entry in entries:
        path = Path(entry.path)
        path.rmdir() if entry.is_dir(follow_symlinks=False) else path.unlink(missing_ok=True)
    directory.rmdir()


async def _settled(task: asyncio.Task[None] | None) -> None:
    """Wait for the end of a task of ours, however it ends; being cancelled meanwhile is passed on."""
    if task is not None and not task.done():
        await asyncio.wait({task})
