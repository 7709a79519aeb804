"""Instances on this machine: which there are, where each keeps its data, which port and subnet each took.

The files live in one directory for all instances, whatever their data directories, and are changed under one lock:
two `up` at once never take the same port or subnet.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from podstead import paths
from podstead.paths import Paths

FIRST_PORT, PORTS = 6443, 1000
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")


class InstanceError(Exception):
    """What a user must put right; the message is one line."""


@dataclass(frozen=True, slots=True)
class Instance:
    """What was chosen for an instance at its first `up`; `runtime`: auto, or the OCI runtime that was asked for."""

    name: str
    data: str
    port: int
    subnet: str
    runtime: str = "auto"
    system_reserved: str = ""
    """What of the machine is not for pods: `cpu=500m,memory=1Gi`."""

    @property
    def paths(self) -> Paths:
        return Paths.of(self.name, Path(self.data))

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def context(self) -> str:
        """The name of cluster, user and context in a kubeconfig."""
        return "podstead" if self.name == "default" else f"podstead-{self.name}"


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server process: `started` is its start time in clock ticks after `boot`, so that a pid is never mistaken."""

    pid: int
    started: int
    foreground: bool = False
    boot: str = ""
    ready: bool = True
    """False while it is starting."""


def check_name(name: str) -> str:
    """Return `name`; raises InstanceError if it is not a DNS label of 32 characters at most."""
    if not _NAME.fullmatch(name):
        raise InstanceError(
            f'"{name}" is no name for an instance: lower case letters, digits and "-", at most 32 characters'
        )
    return name


@contextmanager
def _locked() -> Iterator[None]:
    paths.INSTANCES.mkdir(parents=True, exist_ok=True)
    with (paths.INSTANCES / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def find(name: str) -> Instance | None:
    """Return the instance, or None if there was no `up` of that name (or it was purged)."""
    import ipaddress

    file = Paths.of(check_name(name)).instance_file
    try:
        record = json.loads(file.read_text())
        # A newer podstead may have written more; what this one does not know is not its business.
        known = Instance(**{key: record[key] for key in record if key in Instance.__dataclass_fields__})
        if [type(value) for value in asdict(known).values()] != [str, str, int, str, str, str]:
            raise ValueError("not what was written")
        ipaddress.IPv4Network(known.subnet)
        return known
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise InstanceError(f"{file} is damaged ({error}); remove it, then `podstead up` again") from error


def every() -> list[Instance]:
    """Return all instances of this machine."""
    return [instance for name in names() if (instance := find(name)) is not None]


def names() -> list[str]:
    """Return the names of all instances of this machine, in order; their records are not read."""
    files = paths.INSTANCES.glob("*.json") if paths.INSTANCES.is_dir() else ()
    return sorted(file.stem for file in files if _NAME.fullmatch(file.stem))


def locate(name: str, data_dir: Path | None) -> Paths:
    """Return the paths of an instance that may never have been up."""
    known = find(name)
    if data_dir is not None:
        return Paths.of(name, data_dir.resolve())
    return known.paths if known else Paths.of(name)


def settle(
    name: str, data_dir: Path | None, port: int | None, runtime: str | None = None, reserved: str | None = None
) -> Instance:
    """Return the instance, made or changed as asked, with a port and a subnet that no other one has."""
    with _locked():
        known = find(name)
        data = str(data_dir.resolve()) if data_dir else (known.data if known else str(paths.DATA_ROOT / name))
        others = [instance for instance in every() if instance.name != name]
        for other in others:
            if other.data == data:
                raise InstanceError(
                    f"the data directory {data} belongs to the instance {other.name!r}: give another with --data-dir"
                )
        if known and data != known.data and known.paths.run.exists():
            raise InstanceError(f"the instance {name!r} has its data in {known.data}, and pods: `podstead down` first")
        taken_ports = {other.port for other in others}
        chosen = port or (known.port if known else _free_port(taken_ports))
        subnet = known.subnet if known else _free_subnet(name, others)
        runtime = runtime or (known.runtime if known else "auto")
        reserved = (known.system_reserved if known else "") if reserved is None else reserved
        instance = Instance(name, data, chosen, subnet, runtime, reserved)
        if instance != known:
            _write(instance)
        return instance


def _free_subnet(name: str, others: list[Instance]) -> str:
    from ipaddress import IPv4Network

    from podstead.node.network.subnet import choose_subnet
    from podstead.node.runtime.base import RuntimeFailure

    try:
        return str(choose_subnet([IPv4Network(other.subnet) for other in others], seed=name))
    except RuntimeFailure as error:
        raise InstanceError(f"{error}: remove a route that is not needed (ip route), or purge an instance") from error


def _write(instance: Instance) -> None:
    _replace(instance.paths.instance_file, json.dumps(asdict(instance)))


def _replace(file: Path, text: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def forget(name: str) -> None:
    """Remove the record of an instance."""
    with _locked():
        Paths.of(name).instance_file.unlink(missing_ok=True)


def _free_port(taken: set[int]) -> int:
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        if port not in taken and port_is_free(port):
            return port
    raise InstanceError(f"no free port between {FIRST_PORT} and {FIRST_PORT + PORTS - 1}: give one with --port")


def port_is_free(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


# -- the server process


def start_time(pid: int) -> int | None:
    """Return when `pid` started (clock ticks after boot, proc(5)), None if it has ended (a zombie has)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


def running(instance_paths: Paths) -> RunningServer | None:
    """Return the instance's server if it lives."""
    try:
        server = RunningServer(**json.loads(instance_paths.server_pid_file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return server if server.boot == _boot() and start_time(server.pid) == server.started else None


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def note_running(instance_paths: Paths, *, foreground: bool, ready: bool) -> None:
    """Record this process as the instance's server. Raises OSError."""
    pid = os.getpid()
    server = RunningServer(pid, start_time(pid) or 0, foreground, _boot(), ready)
    instance_paths.run.mkdir(parents=True, exist_ok=True)
    _replace(instance_paths.server_pid_file, json.dumps(asdict(server)))


def stop(server: RunningServer, timeout: float) -> None:
    """Ask the server to end and wait for it; kill it after `timeout` seconds."""
    import select

    try:
        descriptor = os.pidfd_open(server.pid)
    except ProcessLookupError:
        return
    try:
        for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, 5.0)):
            try:
                signal.pidfd_send_signal(descriptor, number)
            except ProcessLookupError:
                return
            if select.select([descriptor], [], [], patience)[0]:
                return
    finally:
        os.close(descriptor)
    raise InstanceError(f"the server (pid {server.pid}) does not end, not even by SIGKILL: it waits for a disk")
