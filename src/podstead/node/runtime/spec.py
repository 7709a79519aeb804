"""The OCI configuration (runtime-spec, config.json) of a container: a dict, from what CRI's verbs were asked for."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podstead.node.runtime import capabilities, seccomp
from podstead.node.runtime.base import ContainerConfig, Mount, Resources, Security
from podstead.node.runtime.users import ProcessUser

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# runtime-spec's and containerd's defaults: what tells of, or reaches into, the host.
_MASKED = (
    "/proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats "
    "/proc/sched_debug /proc/scsi /sys/firmware /sys/devices/virtual/powercap"
)
MASKED_PATHS = tuple(_MASKED.split())
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_NAMESPACES = {"net": "network"}
_SKIPPED_DEVICES = frozenset(("pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"))
_DEVICE_KINDS = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the sandbox and the node give a container: paths on the host."""

    namespaces: Path
    """Folder with those of uts, ipc and net that are in `own_namespaces`."""
    shm: Path
    hosts_file: Path
    resolv_conf: Path
    hostname_file: Path
    hostname: str
    cgroups_path: str
    unified_cgroups: bool
    swap_limited: bool
    """Whether the kernel takes a limit of memory and swap together."""
    target_pid: int = 0
    """A process whose PID namespace the container joins; 0: it gets one of its own."""
    own_namespaces: Sequence[str] = ("uts", "ipc", "net")
    """Those that are not the host's."""
    host_pid: bool = False


def build(config: ContainerConfig, user: ProcessUser, around: Surroundings) -> dict[str, Any]:
    """Return config.json for a bundle whose root file system is at `rootfs`."""
    security = config.security
    propagation = _rootfs_propagation(config.mounts)
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": security.readonly_rootfs},
        "process": _process(config, user, around.hostname),
        "mounts": _mounts(config, around),
        "linux": {
            "namespaces": _namespaces(around),
            "cgroupsPath": around.cgroups_path,
            "resources": _resources(config.resources, security, around),
            **({"rootfsPropagation": propagation} if propagation else {}),
            **({"devices": list(_host_devices())} if security.privileged else {}),
            **_protections(security),
        },
    }


def _process(config: ContainerConfig, user: ProcessUser, hostname: str) -> dict[str, Any]:
    security = config.security
    names = capabilities.granted(security, capabilities.available())
    process: dict[str, Any] = {
        "terminal": config.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "args": list(config.args),
        "env": _environment(config, user, hostname),
        "cwd": config.working_dir or "/",
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        "noNewPrivileges": not security.allow_privilege_escalation and not security.privileged,
    }
    score = allowed_oom_score_adj(config.resources.oom_score_adj)
    if score is not None:
        process["oomScoreAdj"] = score
    return process


def _environment(config: ContainerConfig, user: ProcessUser, hostname: str) -> list[str]:
    defaults = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname, "HOME": user.home}
    if config.tty:
        defaults["TERM"] = "xterm"
    given = dict(config.env)
    return [f"{name}={value}" for name, value in ({**defaults, **given}).items()]


def allowed_oom_score_adj(wanted: int | None) -> int | None:
    """Return `wanted` where this process may set it: it may only raise its own without CAP_SYS_RESOURCE (proc(5))."""
    if wanted is None or "SYS_RESOURCE" in capabilities.available():
        return wanted
    own = int(Path("/proc/self/oom_score_adj").read_text())
    return wanted if wanted >= own else None


def _namespaces(around: Surroundings) -> list[dict[str, str]]:
    names = [{"type": "mount"}]
    if around.target_pid:
        names.append({"type": "pid", "path": f"/proc/{around.target_pid}/ns/pid"})
    elif not around.host_pid:
        names.append({"type": "pid"})
    names += [
        {"type": _NAMESPACES.get(kind, kind), "path": str(around.namespaces / kind)} for kind in around.own_namespaces
    ]
    if around.unified_cgroups:
        names.append({"type": "cgroup"})
    return names


def _mounts(config: ContainerConfig, around: Surroundings) -> list[dict[str, Any]]:
    """The system's mounts, then the pod's from the root outwards; a pod's mount replaces ours of the same path."""
    taken = {os.path.normpath(mount.container_path) for mount in config.mounts}
    ours = [mount for mount in _system_mounts(config.security, around) if mount["destination"] not in taken]
    asked = sorted(config.mounts, key=lambda mount: os.path.normpath(mount.container_path).count("/"))
    return ours + [_bind(mount) for mount in asked]


def _system_mounts(security: Security, around: Surroundings) -> list[dict[str, Any]]:
    kernel = [] if security.privileged else ["ro"]
    safe = ["nosuid", "noexec", "nodev"]
    etc = ["rbind", "rprivate", "ro" if security.readonly_rootfs else "rw"]
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    return [
        _mount("/proc", "proc", "proc", safe),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", terminals),
        _mount("/dev/mqueue", "mqueue", "mqueue", safe),
        _mount("/sys", "sysfs", "sysfs", [*safe, *kernel]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*safe, "relatime", *kernel]),
        _mount("/dev/shm", "bind", str(around.shm), ["rbind", "rprivate", "rw"]),
        _mount("/etc/hosts", "bind", str(around.hosts_file), etc),
        _mount("/etc/resolv.conf", "bind", str(around.resolv_conf), etc),
        _mount("/etc/hostname", "bind", str(around.hostname_file), etc),
    ]


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _bind(mount: Mount) -> dict[str, Any]:
    access = ("rro" if mount.recursive_readonly else "ro") if mount.readonly else "rw"
    options = ["rbind", mount.propagation, access, *mount.options]
    return _mount(mount.container_path, "bind", str(mount.host_path), options)


def _rootfs_propagation(mounts: Sequence[Mount]) -> str:
    """What the root's propagation must be so that a volume's can hold (runtime-spec, rootfsPropagation)."""
    asked = {mount.propagation for mount in mounts}
    return next((kind for kind in ("rshared", "rslave") if kind in asked or kind[1:] in asked), "")


def _resources(resources: Resources, security: Security, around: Surroundings) -> dict[str, Any]:
    found: dict[str, Any] = {"devices": [{"allow": security.privileged, "access": "rwm"}]}
    found |= limits(resources, swap_limited=around.swap_limited)
    if around.unified_cgroups and resources.memory_limit:
        # Out of memory, all of a container's processes end, as with the kubelet since 1.28.
        found["unified"] = {"memory.oom.group": "1"}
    return found


def limits(resources: Resources, *, swap_limited: bool) -> dict[str, Any]:
    """Return the runtime-spec's linux.resources for what is limited."""
    found: dict[str, Any] = {}
    cpu = {"shares": resources.cpu_shares, "quota": resources.cpu_quota, "period": resources.cpu_period}
    if any(cpu.values()):
        found["cpu"] = {name: value for name, value in cpu.items() if value}
    if resources.memory_limit:
        found["memory"] = {"limit": resources.memory_limit}
        if swap_limited:
            # Equal limits: no swap, as the kubelet without NodeSwap.
            found["memory"]["swap"] = resources.memory_limit
    return found


def _protections(security: Security) -> dict[str, Any]:
    if security.privileged:
        return {}
    found: dict[str, Any] = {"maskedPaths": MASKED_PATHS, "readonlyPaths": READONLY_PATHS}
    if security.seccomp == "RuntimeDefault":
        names = capabilities.granted(security, capabilities.available())
        found["seccomp"] = seccomp.runtime_default(frozenset(names))
    elif security.seccomp.startswith("localhost/"):
        found["seccomp"] = seccomp.localhost(Path(security.seccomp.removeprefix("localhost/")))
    return found


def _host_devices(directory: Path = Path("/dev")) -> Iterator[dict[str, Any]]:
    """Yield the host's device nodes, for a privileged container; links and other file systems' folders are left."""
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        if entry.name in _SKIPPED_DEVICES:
            continue
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            yield from _host_devices(Path(entry.path))
            continue
        kind = _DEVICE_KINDS.get(stat.S_IFMT(found.st_mode))
        if kind is not None:
            yield {
                "type": kind,
                "path": entry.path,
                "major": os.major(found.st_rdev),
                "minor": os.minor(found.st_rdev),
                "fileMode": stat.S_IMODE(found.st_mode),
                "uid": found.st_uid,
                "gid": found.st_gid,
            }
