"""Which OCI runtime makes an instance's containers: the fastest that a trial proves here, or the one asked for.

A trial creates and deletes a container just as a pod's is, which takes some 30 ms. What it found is kept with the
binary's size and time, the kernel's boot and the layout of its cgroups, so that the next start has nothing to try.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from podstead.linux import process
from podstead.node.runtime import spec
from podstead.node.runtime.base import ContainerConfig, RuntimeFailure
from podstead.node.runtime.cgroups import Cgroups
from podstead.node.runtime.command import NSENTER, RuntimeCommand
from podstead.node.runtime.errors import last_error
from podstead.node.runtime.records import Binary, ProcessIdentity, boot_id
from podstead.node.runtime.signals import killed
from podstead.node.runtime.users import ProcessUser
from podstead.node.runtime.views import MountViews
from podstead.paths import Paths

_log = logging.getLogger(__name__)

CANDIDATES = ("crun", "runc")
"""The faster one first; each is Debian's package too."""
AUTOMATIC = "auto"
PATIENCE = 60.0
"""Seconds for one call of a trial: a machine may be slow."""
_TRIAL = "trial"
_PRIVATE = "in a private mount namespace since cgroups are hybrid"


class Finding(msgspec.Struct, frozen=True):
    """What a trial found out: `failure` is empty where the binary works; the first four fields say what was tried."""

    path: str
    stamp: str
    boot: str
    cgroups: str
    name: str = ""
    version: str = ""
    private_mounts: bool = False
    failure: str = ""


class _Memory(msgspec.Struct):
    """The file Paths.runtime_choice."""

    description: str = ""
    findings: list[Finding] = []


@dataclass(frozen=True, slots=True)
class Choice:
    """`name` and `version` as the binary tells them; `description` says for people what was chosen and why."""

    binary: Binary
    name: str
    version: str
    description: str


class Chooser:
    """Chooses for one instance. `root` is where OCI runtimes keep their state, one folder each."""

    def __init__(self, paths: Paths, cgroups: Cgroups, views: MountViews) -> None:
        self._paths = paths
        self._cgroups = cgroups
        self._views = views
        self._memory = _load(paths.runtime_choice)

    async def choose(self, wanted: str = AUTOMATIC) -> Choice:
        """Return the runtime for `wanted`: auto, a name or a path.

        Raises RuntimeFailure, in one line with the reason: it is not there, or it does not work here.
        """
        forced = wanted not in ("", AUTOMATIC)
        failures: dict[str, str] = {}
        for name in (wanted,) if forced else CANDIDATES:
            path = shutil.which(name)
            if path is None:
                failures[name] = "is not installed"
                continue
            finding = await self._find_out(path, again=forced)
            if not finding.failure:
                return self._settle(finding, _reason(finding, forced, failures))
            failures[name] = f"does not work here: {finding.failure}"
        raise RuntimeFailure("; ".join(f"the OCI runtime {name} {failure}" for name, failure in failures.items()))

    async def binary(self, name: str) -> Binary:
        """Return the runtime of that name, proved to work, without choosing it for all. Raises RuntimeFailure."""
        path = shutil.which(name)
        finding = await self._find_out(path, again=True) if path is not None else None
        if finding is None or finding.failure:
            failure = f"does not work here: {finding.failure}" if finding else "is not installed"
            raise RuntimeFailure(f"the OCI runtime {name} {failure}")
        return Binary(finding.path, finding.private_mounts)

    def _settle(self, finding: Finding, reason: str) -> Choice:
        description = f"{finding.name} {finding.version} ({reason})"
        if description != self._memory.description:
            self._memory.description = description
            self._save()
        binary = Binary(finding.path, finding.private_mounts)
        return Choice(binary, finding.name, finding.version, description)

    async def _find_out(self, path: str, *, again: bool) -> Finding:
        """Return what is remembered of `path`, or try it; `again`: also where it failed before."""
        subject = _subject(path, self._cgroups.mode)
        for known in self._memory.findings:
            if (known.path, known.stamp, known.boot, known.cgroups) == subject and not (again and known.failure):
                return known
        found = await self._try(Finding(*subject))
        self._memory.findings = [one for one in self._memory.findings if one.path != path] + [found]
        self._save()
        return found

    def _save(self) -> None:
        file = self._paths.runtime_choice
        fresh = file.with_suffix(".new")
        try:
            fresh.write_bytes(msgspec.json.encode(self._memory))
            fresh.replace(file)
        except OSError as error:
            _log.warning("what was found out about OCI runtimes cannot be kept: %s: %s", file, error.strerror)

    # -- the trial

    async def _try(self, finding: Finding) -> Finding:
        """Try the binary as it is and, where hybrid cgroups may be what it cannot stand, without cgroup2's mount."""
        name, version = Path(finding.path).name, ""
        try:
            # Both cores: the version is not needed for the trial. A trial is never left to clean up behind our back.
            trial = asyncio.create_task(self._failure(Binary(finding.path, False)))
            try:
                name, version = await _version(finding.path)
            finally:
                await asyncio.wait([trial])
            failure = await trial
            private = bool(failure) and finding.cgroups == "hybrid" and shutil.which(NSENTER) is not None
            if private:
                second = await self._failure(Binary(finding.path, True))
                failure, private = second and failure, not second
        except (OSError, RuntimeFailure, TimeoutError) as error:
            failure, private = _text(error), False
        return msgspec.structs.replace(finding, name=name, version=version, private_mounts=private, failure=failure)

    async def _failure(self, binary: Binary) -> str:
        """Create and delete a container; returns why that failed, empty if it did not."""
        command = RuntimeCommand(binary, self._paths.runtime_root / Path(binary.path).name, self._views)
        # Not below /run, which systemd mounts noexec: runc asks whether it may execute the program.
        bundle = self._paths.runtime_state / _TRIAL
        shutil.rmtree(bundle, ignore_errors=True)
        try:
            await command.delete(_TRIAL)  # what a server left that died in a trial
            self._cgroups.prepare_pod(_TRIAL)
            _write_bundle(bundle, self._cgroups)
            await _create(command, bundle)
            await command.delete(_TRIAL)
        except (OSError, RuntimeFailure, TimeoutError) as error:
            return _text(error)
        finally:
            command.forget(_TRIAL)
            shutil.rmtree(bundle, ignore_errors=True)
            await asyncio.to_thread(self._remove_cgroup)
        return ""

    def _remove_cgroup(self) -> None:
        path = self._cgroups.container_path(_TRIAL, _TRIAL)
        self._cgroups.kill(path)
        try:
            self._cgroups.remove_pod(_TRIAL)
        except OSError:
            pass  # A process that has ended may still be counted; adoption removes groups without a pod.


async def _create(command: RuntimeCommand, bundle: Path) -> None:
    """Create the container and end its first process; raises RuntimeFailure, OSError, TimeoutError."""
    pid_file = bundle / "pidfile"
    async with command.creating() as words:
        argv = [*words, "create", "--bundle", str(bundle), "--pid-file", str(pid_file), _TRIAL]
        result = await process.run(argv, env=command.environment(), timeout=PATIENCE)
    if result.returncode != 0:
        raise RuntimeFailure(last_error(result.stderr) or f"{command.name} create ended with {result.returncode}")
    await killed(ProcessIdentity.of(int(pid_file.read_text())))


def _write_bundle(bundle: Path, cgroups: Cgroups) -> None:
    """Write a container as a pod's, with a program that is there but never runs, in the server's own namespaces."""
    rootfs = bundle / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    program, file = rootfs / "bin/program", bundle / "file"
    program.touch(0o755)
    file.touch()
    (bundle / "shm").mkdir()
    config = ContainerConfig(_TRIAL, 0, "", "", ["/bin/program"], (), "/", bundle / "log")
    around = spec.Surroundings(
        namespaces=Path(f"/proc/{os.getpid()}/ns"),
        shm=bundle / "shm",
        hosts_file=file,
        resolv_conf=file,
        hostname_file=file,
        hostname=_TRIAL,
        cgroups_path=cgroups.container_path(_TRIAL, _TRIAL),
        unified_cgroups=cgroups.unified,
        swap_limited=cgroups.swap_limited,
    )
    (bundle / "config.json").write_bytes(msgspec.json.encode(spec.build(config, ProcessUser(), around)))


async def _version(path: str) -> tuple[str, str]:
    """("crun", "1.8.1") from `crun version 1.8.1`; raises RuntimeFailure, OSError, TimeoutError."""
    result = await process.run([path, "--version"], env=RuntimeCommand.environment(), timeout=PATIENCE)
    words = result.stdout.decode(errors="replace").partition("\n")[0].split()
    if result.returncode != 0 or len(words) < 3 or words[1] != "version":
        raise RuntimeFailure(f"{path} is no OCI runtime: its --version does not say `NAME version NUMBER`")
    return words[0], words[2]


# -- words


def _reason(finding: Finding, forced: bool, failures: dict[str, str]) -> str:
    """Say why this one. `failures`: of those that would have been better."""
    if forced:
        return f"as asked for; {_PRIVATE}" if finding.private_mounts else "as asked for"
    if failures:
        return "; ".join(f"{name}, which is faster, {failure}" for name, failure in failures.items())
    return f"faster; works {_PRIVATE}" if finding.private_mounts else "faster"


def _text(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"it did not answer within {PATIENCE:.0f} s"
    return f"{error.filename or 'it'}: {error.strerror}" if isinstance(error, OSError) else str(error)


# -- memory


def _subject(path: str, cgroups: str) -> tuple[str, str, str, str]:
    found = os.stat(path)  # noqa: PTH116 - of what a link leads to
    return path, f"{found.st_mtime_ns}:{found.st_size}", boot_id(), cgroups


def _load(file: Path) -> _Memory:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Memory)
    except (OSError, msgspec.DecodeError):
        return _Memory()
