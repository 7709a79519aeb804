"""cgroups of an instance in v1, hybrid and v2: where containers and monitors live, and how their groups go away.

The OCI runtime makes a container's own group and writes its limits (cgroupfs driver). Here are the groups around it:
PARENT/pod<UID>/<CONTAINER> of guaranteed pods, PARENT/burstable/pod<UID>/<CONTAINER>, PARENT/besteffort/pod<UID>/...
and PARENT/monitors. Source: cgroups(7), the kernel's admin-guide/cgroup-v2; for the tiers Kubernetes' documentation,
"Node resource managers" and the proposal "Pod level resource management in kubelet".
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from podstead.node.runtime import limits
from podstead.node.runtime.base import Resources
from podstead.paths import Paths

ROOT = Path("/sys/fs/cgroup")
BURSTABLE, BEST_EFFORT = "burstable", "besteffort"
_TIERS = (BURSTABLE, BEST_EFFORT)
_OWN_GROUPS = Path("/proc/self/cgroup")
_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb")
# What decides in v1 and hybrid whether a service manager counts a process to the service that it stops.
_TRACKING = ("systemd", "unified", "elogind")

log = logging.getLogger(__name__)


class Cgroups:
    """The groups below `parent` (a relative path) in every hierarchy found under `root`."""

    def __init__(self, parent: str, root: Path = ROOT) -> None:
        self.parent = parent
        self.unified = (root / "cgroup.controllers").exists()
        self._root = root
        self._hierarchies = [root] if self.unified else list(_v1_hierarchies(root))
        self._tiers: dict[str, str] = {}
        self._shares: dict[str, int] = {}
        """By uid: the tier of a pod (none: it is guaranteed), and the shares of one in the burstable tier."""
        self._lock = threading.Lock()

    @property
    def unified_beside(self) -> Path:
        """Where a hybrid layout has its cgroup2 mount (systemd's convention)."""
        return self._root / "unified"

    @property
    def mode(self) -> str:
        """v1, v2, or hybrid: v1's hierarchies with a cgroup2 mount beside them."""
        if self.unified:
            return "v2"
        return "hybrid" if (self.unified_beside / "cgroup.procs").exists() else "v1"

    def container_path(self, pod_uid: str, container_id: str) -> str:
        """The OCI configuration's linux.cgroupsPath: absolute within each hierarchy."""
        return f"{self.pod_path(pod_uid)}/{container_id}"

    @property
    def swap_limited(self) -> bool:
        """Whether a limit of memory and swap can be asked for: v1 has the file only with swapaccount=1."""
        return self.unified or (self._root / "memory" / "memory.memsw.limit_in_bytes").exists()

    def prepare(self) -> None:
        """Make the monitors' group and, in v2, hand the root's controllers down to the instance.

        A controller that cannot be handed down (threaded parent, processes in a delegated root) is left out: the
        container that asks for its limit fails with the OCI runtime's own message.
        """
        for directory in self._monitor_groups():
            directory.mkdir(parents=True, exist_ok=True)
        if self.unified:
            tiers = [self._root / self.parent / tier for tier in _TIERS]
            for directory in (self._root, self._root / self.parent, *tiers):
                directory.mkdir(exist_ok=True)
                self._hand_down(directory)
        self._limit(f"/{self.parent}/{BEST_EFFORT}", Resources(cpu_shares=limits.MIN_SHARES))

    def prepare_pod(self, pod_uid: str) -> None:
        """Make a pod's group where the OCI runtime would not hand controllers down to it (v2); else it makes it."""
        if self.unified:
            directory = self._root / self.pod_path(pod_uid).lstrip("/")
            directory.mkdir(parents=True, exist_ok=True)
            self._hand_down(directory)

    def place_pod(self, pod_uid: str, tier: str) -> None:
        """Say that the pod's group is in `tier`: burstable, besteffort, or empty for beside them."""
        self._tiers[pod_uid] = tier

    def limit_pod(self, pod_uid: str, resources: Resources) -> None:
        """Make a pod's group with these limits, or change them; raises OSError naming the file. Blocking."""
        self.prepare_pod(pod_uid)
        self._limit(self.pod_path(pod_uid), resources)
        if self._tiers.get(pod_uid) == BURSTABLE:
            with self._lock:
                self._shares[pod_uid] = resources.cpu_shares
                self._limit_burstable()

    def memory_usage(self, path: str) -> int:
        """What the group `path` (of `container_path`) uses, bytes."""
        return limits.memory_usage(self._root, path, unified=self.unified)

    def _limit_burstable(self) -> None:
        """The tier has what its pods have together, so that it holds its own beside the guaranteed ones."""
        shares = min(max(sum(self._shares.values()), limits.MIN_SHARES), limits.MAX_SHARES)
        self._limit(f"/{self.parent}/{BURSTABLE}", Resources(cpu_shares=shares))

    def _limit(self, path: str, resources: Resources) -> None:
        limits.apply(self._root, path, resources, unified=self.unified)

    def enter_monitors(self, pid: int) -> None:
        """Move a process into the monitors' group. Blocking: the kernel may take 10 ms. Raises OSError."""
        for directory in self._monitor_groups():
            _write(directory / "cgroup.procs", str(pid))

    def expedite_moves(self) -> None:
        """Have the kernel make the next moves of processes between groups, within some 10 ms, without a wait.

        The first move after a rest waits for an RCU grace period (percpu_down_write of cgroup_threadgroup_rwsem), and
        those that follow closely do not. So this process is moved to where it is, early, while others prepare what a
        runtime's `create` will move. Blocking for that period; where it is not possible, creating takes longer.
        """
        try:
            for line in _OWN_GROUPS.read_text().splitlines():
                _, hierarchy, path = line.split(":", 2)
                name = "" if self.unified else hierarchy.removeprefix("name=") or self.unified_beside.name
                file = self._root / name / path.lstrip("/") / "cgroup.procs"
                if file.exists():
                    _write(file, str(os.getpid()))
                    return
        except OSError as error:
            log.debug("the next container is created without haste: %s", error)

    def oom_killed(self, path: str) -> bool:
        """Whether the kernel killed a process in the group `path` (of `container_path`) for want of memory."""
        if self.unified:
            file = self._root / path.lstrip("/") / "memory.events"
        else:
            file = self._root / "memory" / path.lstrip("/") / "memory.oom_control"
        try:
            lines = file.read_text().splitlines()
        except OSError:
            return False
        return any(name == "oom_kill" and count != "0" for name, _, count in (line.partition(" ") for line in lines))

    def kill(self, path: str) -> None:
        """SIGKILL to everything in the group `path` and below it; a group that is not there is not an error."""
        for hierarchy in self._hierarchies:
            group = hierarchy / path.lstrip("/")
            if not group.is_dir():
                continue
            try:
                # With cgroup.kill (Linux 5.14) no fork can escape; elsewhere init's death ends the PID namespace.
                _write(group / "cgroup.kill", "1")
            except OSError:
                _kill_members(group)

    def remove(self, path: str) -> None:
        """Remove the group `path` with its children in every hierarchy; raises OSError (EBUSY) if one is in use."""
        for hierarchy in self._hierarchies:
            _remove_tree(hierarchy / path.lstrip("/"))

    def pod_path(self, pod_uid: str) -> str:
        """The group of all of a pod's containers, as `container_path`."""
        tier = self._tiers.get(pod_uid)
        if tier is None:
            tier = next((one for one in _TIERS if self._has(f"{one}/pod{pod_uid}")), "")
        return f"/{self.parent}/{tier}/pod{pod_uid}" if tier else f"/{self.parent}/pod{pod_uid}"

    def _has(self, group: str) -> bool:
        return any((hierarchy / self.parent / group).is_dir() for hierarchy in self._hierarchies)

    def remove_pod(self, pod_uid: str) -> None:
        self.remove(self.pod_path(pod_uid))
        self._tiers.pop(pod_uid, None)
        with self._lock:
            if self._shares.pop(pod_uid, None) is not None:
                self._limit_burstable()

    def pods(self) -> set[str]:
        """The uids of all pods that have a group in any hierarchy."""
        found: set[str] = set()
        for hierarchy in self._hierarchies:
            for tier in ("", *_TIERS):
                groups = (hierarchy / self.parent / tier).glob("pod*")
                found.update(path.name[3:] for path in groups if path.is_dir())
        return found

    def remove_all(self) -> None:
        """Remove every group of the instance; raises OSError (EBUSY) while a process lives in one."""
        self.remove(self.parent)

    def _monitor_groups(self) -> list[Path]:
        if self.unified:
            return [self._root / self.parent / "monitors"]
        tracking = [path for path in self._hierarchies if path.name in _TRACKING]
        return [path / self.parent / "monitors" for path in tracking]

    def _hand_down(self, directory: Path) -> None:
        available = (directory / "cgroup.controllers").read_text().split()
        enabled = (directory / "cgroup.subtree_control").read_text().split()
        for controller in _CONTROLLERS:
            if controller in available and controller not in enabled:
                try:
                    _write(directory / "cgroup.subtree_control", f"+{controller}")
                except OSError:
                    continue


def remove_instance_cgroups(paths: Paths, root: Path = ROOT) -> None:
    """Remove all cgroups of an instance, for `podstead down`; raises OSError while one of its processes lives."""
    Cgroups(paths.cgroup, root).remove_all()


def _v1_hierarchies(root: Path) -> Iterator[Path]:
    for path in sorted(root.iterdir()):
        # cpu -> cpu,cpuacct are links where controllers share a hierarchy.
        if not path.is_symlink() and (path / "cgroup.procs").exists():
            yield path


def _write(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _kill_members(group: Path) -> None:
    for directory in [*_groups_below(group), group]:
        try:
            members = (directory / "cgroup.procs").read_text().split()
        except OSError:
            continue
        for member in members:
            try:
                os.kill(int(member), signal.SIGKILL)
            except ProcessLookupError:
                continue


def _groups_below(group: Path) -> list[Path]:
    """Every group below `group`, innermost first."""
    found: list[Path] = []
    try:
        children = [Path(entry.path) for entry in os.scandir(group) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return found
    for child in children:
        found += _groups_below(child)
        found.append(child)
    return found


def _remove_tree(group: Path) -> None:
    for directory in [*_groups_below(group), group]:
        try:
            directory.rmdir()
        except FileNotFoundError:
            continue
