"""`podman kube play` on the same image, in storage and namespaces of its own: nothing of the user's podman is touched.

One thread has a mount and a network namespace to itself, and every podman is started from it: the bridge, the firewall
rules and what podman keeps in /run and /var/lib/cni are in there and go with it. What a mount cannot hide is cgroups:
those that podman leaves behind are removed by the ids of the pods that were made here.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import machine
from podstead.linux import mounts, namespaces

T = TypeVar("T")

IMAGE = "docker.io/library/centos:7"
PAUSE = "localhost/podstead-benchmark-pause:1"
PATH_OF_IMAGE = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TIMEOUT = 60.0
_HELPERS = "/usr/libexec/podman:/usr/local/libexec/podman:/usr/local/lib/podman:/usr/lib/podman"
_CNI = Path("/var/lib/cni")
_CGROUPS = Path("/sys/fs/cgroup")
_PROCESSES = 4096
"""Limit of processes in a container: podman's own default cannot be had without CAP_SYS_RESOURCE."""


class PodmanFailed(Exception):
    """podman cannot do what is measured; the message is its own last line."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """Seconds of one pod's life: `ended` is when its processes were gone, `removed` when the command was back."""

    created: float
    execed: float
    ended: float
    removed: float


class Podman:
    """podman with everything of its own below `directory`. Close it, whatever happens."""

    def __init__(self, directory: Path, runtime: str) -> None:
        program = shutil.which("podman")
        if program is None:
            raise PodmanFailed("not installed")
        self._directory = directory
        self._program = program
        self._runtime = runtime
        self._configuration = directory / "containers.conf"
        self._made_cni = not _CNI.exists()
        self._parents_before = {path for path in _cgroup_parents() if path.exists()}
        self._pods: set[str] = set()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="podman")
        self.notes: list[str] = []

    async def do(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread that has the namespaces."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # -- what follows runs in the thread

    def prepare(self, rootfs: Path, manifest: dict[str, Any]) -> None:
        """Enter the namespaces and import the image; raises PodmanFailed, OSError."""
        _CNI.mkdir(parents=True, exist_ok=True)
        namespaces.unshare(namespaces.CLONE_NEWNS | namespaces.CLONE_NEWNET)
        mounts.mount("none", "/", flags=mounts.MS_REC | mounts.MS_SLAVE)
        for hidden in (Path("/run"), _CNI):
            mounts.mount("tmpfs", hidden, "tmpfs")
        # crun refuses hybrid cgroups; without this mount it takes them for version 1, and in here nobody else minds.
        mounts.umount(_CGROUPS / "unified", lazy=True)
        self._configure("runc", pause="")
        self._call("import", "--change", f"ENV {PATH_OF_IMAGE}", str(rootfs), IMAGE)
        pause = ""
        if shutil.which("catatonit", path=f"{_HELPERS}:{os.environ.get('PATH', '')}") is None:
            pause = PAUSE
            self._call("import", "--change", 'ENTRYPOINT ["/bin/sleep", "2147483647"]', str(rootfs), pause)
            self.notes.append("podman's pause image holds `sleep`: its own needs catatonit, which is not installed")
        version = self._call("version", "--format", "{{.Client.Version}}").strip()
        self.notes.append(f"podman {version} runs with {self._choose_runtime(pause, manifest)}")

    def _choose_runtime(self, pause: str, manifest: dict[str, Any]) -> str:
        """Return the runtime that podman is to use: crun, its own choice on Debian, if a pod starts with it.

        The one that was asked for with --runtime, if any.
        """
        if self._runtime != "runc" and shutil.which("crun"):
            self._configure("crun", pause)
            try:
                self.play("probe", manifest)
                return "crun"
            except PodmanFailed as failure:
                self.notes.append(f"podman does not run with crun here: {failure}")
            finally:
                self._call("pod", "rm", "--force", "--time", "0", "probe")
        self._configure("runc", pause)
        return "runc"

    def _configure(self, runtime: str, pause: str) -> None:
        """Write containers.conf: locks in files and not in the machine's shared memory; limits that may be set."""
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        processes = _PROCESSES if processes == resource.RLIM_INFINITY else min(processes, _PROCESSES)
        ulimits = [f"nofile={files}:{files}", f"nproc={processes}:{processes}"]
        lines = ["[containers]", f"default_ulimits = {json.dumps(ulimits)}", "[engine]", 'lock_type = "file"']
        lines += [f"runtime = {json.dumps(runtime)}", f"infra_image = {json.dumps(pause)}" if pause else ""]
        self._configuration.write_text("\n".join(lines) + "\n")

    def _argv(self, *arguments: str) -> list[str]:
        where = {"root": "root", "runroot": "run", "tmpdir": "tmp", "network-config-dir": "networks"}
        options = [f"--{option}={self._directory / folder}" for option, folder in where.items()]
        options += ["--storage-driver=overlay", "--cgroup-manager=cgroupfs", "--events-backend=none"]
        return [self._program, *options, *arguments]

    def _start(self, *arguments: str, output: Any, manifest: str = "") -> subprocess.Popen[bytes]:
        environment = {**os.environ, "CONTAINERS_CONF": str(self._configuration)}
        with tempfile.TemporaryFile() as file:
            file.write(manifest.encode())
            file.seek(0)
            return subprocess.Popen(
                self._argv(*arguments), stdin=file, stdout=output, stderr=output, env=environment, cwd="/"
            )

    def _call(self, *arguments: str, manifest: str = "") -> str:
        """Run podman to its end; returns what it printed. Raises PodmanFailed."""
        # A file, not a pipe: a monitor that stays would hold a pipe open.
        with tempfile.TemporaryFile() as output:
            process = self._start(*arguments, output=output, manifest=manifest)
            self._end(process, arguments, output)
            output.seek(0)
            return output.read().decode(errors="replace")

    def _end(self, process: subprocess.Popen[bytes], arguments: tuple[str, ...], output: Any) -> None:
        try:
            code = process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise PodmanFailed(f"podman {arguments[0]} did not end within {TIMEOUT:.0f} s") from None
        if code != 0:
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines() or ["no output"]
            reason = next((line for line in lines if "runc" in line or "crun" in line), lines[-1])
            raise PodmanFailed(f"podman {' '.join(arguments[:2])}: {reason[-300:]}")

    def play(self, name: str, manifest: dict[str, Any]) -> float:
        """Return how long `podman kube play` takes: it is back once both containers run."""
        text = json.dumps({**manifest, "metadata": {"name": name}})
        began = time.perf_counter()
        self._call("kube", "play", "-", manifest=text)
        took = time.perf_counter() - began
        self._pods.add(self._call("pod", "inspect", "--format", "{{.ID}}", name).strip())
        return took

    def remove(self, name: str) -> tuple[float, float]:
        """Remove the one pod that is there; returns when its processes were gone, and when podman was back."""
        processes = machine.Processes(machine.children(self.monitors()))
        with tempfile.TemporaryFile() as output:
            arguments = ("pod", "rm", "-f", "-t", "0", name)
            began = time.perf_counter()
            process = self._start(*arguments, output=output)
            ended = processes.wait(TIMEOUT) - began
            self._end(process, arguments, output)
            return ended, time.perf_counter() - began

    def cycle(self, name: str, manifest: dict[str, Any]) -> Cycle:
        """Create a pod, run `true` in its first container, remove it."""
        created = self.play(name, manifest)
        container = f"{name}-{manifest['spec']['containers'][0]['name']}"
        began = time.perf_counter()
        self._call("exec", container, "/bin/true")
        execed = time.perf_counter() - began
        return Cycle(created, execed, *self.remove(name))

    def several(self, count: int, manifest: dict[str, Any]) -> tuple[float, machine.Memory]:
        """Start `count` pods one by one; returns seconds for all, and the memory of their monitors. They stay."""
        names = [f"many-{number}" for number in range(count)]
        took = sum(self.play(name, manifest) for name in names)
        return took, machine.memory(self.monitors())

    def monitors(self) -> list[int]:
        return machine.monitors(str(self._directory))

    # -- the end

    async def close(self) -> None:
        """Remove pods, processes and cgroups; the namespaces go with the thread."""
        try:
            await self.do(self._clean)
        finally:
            self._thread.shutdown()
            self._remove_cgroups()
            if self._made_cni and _CNI.exists():
                _CNI.rmdir()

    def _clean(self) -> None:
        if not self._configuration.exists():
            return
        try:
            self._pods.update(self._call("pod", "ls", "--quiet", "--no-trunc").split())
            self._call("pod", "rm", "--all", "--force", "--time", "0")
        except PodmanFailed as failure:
            print(f"podman's pods: {failure}", flush=True)
        # What podman could not end, for whatever reason: its monitors and their containers are known by the directory.
        left = self.monitors()
        for pid in (*machine.children(left), *left):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for mount in mounts.mounts_below(self._directory):
            mounts.umount(mount, lazy=True)

    def _remove_cgroups(self) -> None:
        for parent in _cgroup_parents():
            for pod in self._pods:
                for path in (*parent.glob(f"{pod}/*/"), parent / pod):
                    _remove_empty(path)
            if parent not in self._parents_before:
                _remove_empty(parent)


def _cgroup_parents() -> list[Path]:
    """Return where podman puts pods, in cgroup v2's one hierarchy and in v1's several."""
    roots = [_CGROUPS, *(path for path in _CGROUPS.iterdir() if path.is_dir() and not path.is_symlink())]
    return [root / "libpod_parent" for root in roots]


def _remove_empty(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return  # Not there, or somebody's own.
