"""The runtime's intent on disk: one JSON file a sandbox and a container, written before each step is taken.

A file is replaced by rename, so that a reader sees the old or the new one. Nothing is synced: a record matters after
the server's death, which loses no page; after a power failure nothing that it speaks of runs any more.
"""

from __future__ import annotations

import errno
import logging
import os
import select
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from podstead.node.runtime.base import PortMapping

_log = logging.getLogger(__name__)


@cache
def boot_id() -> str:
    """The kernel's name for this boot: a pid or a mount recorded under another one means nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int:
    """When process `pid` started, in clock ticks since boot (proc(5), stat field 22); 0 if it is not there."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    return int(stat.rpartition(b")")[2].split()[19])


class SandboxPhase(StrEnum):
    MAKING = "making"
    READY = "ready"
    STOPPED = "stopped"


class Phase(StrEnum):
    """How far a container has come. CREATING and STARTING are intents; REMOVING means: finish removing it."""

    CREATING = "creating"
    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"
    REMOVING = "removing"


class ProcessIdentity(msgspec.Struct, frozen=True):
    """A process that no other can be mistaken for. `boot` and `started` as `boot_id` and `start_time` give them."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        return cls(pid, start_time(pid), boot_id())

    def open(self) -> int:
        """Return a pidfd of it, or -1 if it has ended (even if its parent has not taken notice yet)."""
        if self.boot != boot_id() or self.started == 0:
            return -1
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:
            return -1
        # The descriptor pins whatever has the pid now, so the comparison cannot be overtaken.
        if start_time(self.pid) != self.started or _ended(descriptor):
            os.close(descriptor)
            return -1
        return descriptor


def _ended(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


class Binary(msgspec.Struct, frozen=True):
    """An OCI runtime's program; `private_mounts`: it works only where the cgroup2 mount of hybrid cgroups is not."""

    path: str
    private_mounts: bool = False


class SandboxRecord(msgspec.Struct):
    id: str
    namespace: str
    name: str
    uid: str
    hostname: str
    hosts_file: str
    resolv_conf: str
    log_directory: str
    labels: dict[str, str]
    created_at: datetime
    boot: str
    phase: SandboxPhase = SandboxPhase.MAKING
    ip: str = ""
    plumbed: bool = False
    shared_pid: bool = False
    pause: str = ""
    """Id of the container whose PID namespace all of them share; empty until it runs."""
    cgroup_tier: str = ""
    host_network: bool = False
    host_ipc: bool = False
    host_pid: bool = False
    sysctls: dict[str, str] = {}
    ports: list[PortMapping] = []
    runtime: Binary | None = None
    """What makes its containers; None: what the node has chosen."""


class ContainerRecord(msgspec.Struct):
    id: str
    sandbox_id: str
    pod_uid: str
    name: str
    attempt: int
    image: str
    image_id: str
    log_path: str
    labels: dict[str, str]
    created_at: datetime
    boot: str
    runtime: Binary
    """What made it goes on with it, whatever makes the next."""
    stop_signal: int = 15
    joined_pid: bool = False
    """It is in another container's PID namespace: its processes do not end with its first."""
    phase: Phase = Phase.CREATING
    monitor: ProcessIdentity | None = None
    init: ProcessIdentity | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    reason: str = ""
    message: str = ""


R = TypeVar("R", SandboxRecord, ContainerRecord)


class RecordFolder(Generic[R]):
    """The records of one kind: DIRECTORY/ID.json."""

    def __init__(self, directory: Path, kind: type[R]) -> None:
        self._directory = directory
        self._decoder: msgspec.json.Decoder[R] = msgspec.json.Decoder(kind)
        self._encoder = msgspec.json.Encoder()

    def prepare(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def save(self, record: R) -> None:
        """Write the record in place of what is there; raises OSError, and what is there stays whole then."""
        path, data = f"{self._directory}/{record.id}", self._encoder.encode(record)
        descriptor = os.open(f"{path}.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            # A disk that fills up just now takes a part, without an error.
            if os.write(descriptor, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{path}.tmp")
        finally:
            os.close(descriptor)
        os.rename(f"{path}.tmp", f"{path}.json")  # noqa: PTH104 - on the path of every start

    def save_if_possible(self, record: R) -> None:
        """Write the record of an end, for which no room on the disk is no hindrance: the next start finds it out."""
        try:
            self.save(record)
        except OSError as error:
            _log.warning("%s is not recorded as %s: %s", record.id[:12], record.phase, error)

    def delete(self, record_id: str) -> None:
        (self._directory / f"{record_id}.json").unlink(missing_ok=True)

    def load(self) -> Iterator[R]:
        """Yield every readable record; the rest (cut short by a power failure) is removed."""
        for path in sorted(self._directory.iterdir()):
            try:
                if path.suffix != ".json":
                    raise ValueError(path.name)
                yield self._decoder.decode(path.read_bytes())
            except ValueError:
                path.unlink(missing_ok=True)
