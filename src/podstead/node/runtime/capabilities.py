"""Linux capabilities by name: what a container gets by default, and never more than this process could give."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from podstead.node.runtime.base import Security

# In the order of their bits (linux/capability.h).
_BITS = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
NAMES = tuple(_BITS.split())

# containerd's and CRI-O's default set.
_DEFAULT = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
    "AUDIT_WRITE"
)
DEFAULT = frozenset(_DEFAULT.split())


@cache
def available() -> frozenset[str]:
    """The names in this process's bounding set: a runtime that is asked for more fails the container."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            bits = int(line.split()[1], 16)
            return frozenset(name for bit, name in enumerate(NAMES) if bits >> bit & 1)
    return frozenset()


def granted(security: Security, within: frozenset[str]) -> list[str]:
    """The CAP_ names for a container, in the order of their bits.

    ALL in add or drop comes first, single names after it, so that `drop: [ALL], add: [X]` leaves X and
    `add: [ALL], drop: [X]` all but X. A name that is added and dropped is dropped.
    """
    add, drop = frozenset(security.capabilities_add), frozenset(security.capabilities_drop)
    if security.privileged:
        names = frozenset(NAMES)
    else:
        names = frozenset(NAMES) if "ALL" in add else frozenset() if "ALL" in drop else DEFAULT
        names = (names | add) - drop
    return [f"CAP_{name}" for name in NAMES if name in names & within]
