"""The first process of a PID namespace that a pod's containers share: it waits, and leaves no zombie.

A program of some 160 bytes, made here: no image and no compiler is asked for. It ignores SIGCHLD, so that the kernel
reaps whatever is left to it (wait(2), "POSIX.1-2001 specifies"), and sleeps. Its container has no right, no file and no
user of its own, for other containers of the pod can look at it through /proc/1.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from podstead.linux import mounts
from podstead.node.runtime.base import ContainerConfig, Image, ImageConfig, Resources, RuntimeFailure, Security

LABEL = "io.podstead.container.pause"
"""On containers that are the runtime's own, told to nobody."""
PROGRAM = "/pause"
IMAGE = Image("", (), (), 0, ImageConfig(), ())
_NOBODY = 65535
_BASE = 0x400000
_HEADERS = 64 + 56

# Source: syscall tables of Linux; Intel's and Arm's manuals. Each: rt_sigaction(SIGCHLD, {SIG_IGN}, NULL, 8), then
# pause() or ppoll(NULL, 0, NULL, NULL) without end.
_CODE = {
    "x86_64": (
        62,
        bytes.fromhex(
            "6a00 6a00 6a00 6a01"  # push 0 (mask), 0 (restorer), 0 (flags), 1 (SIG_IGN)
            "b80d000000 bf11000000 4889e6 31d2 41ba08000000 0f05"  # rt_sigaction
            "b822000000 0f05 ebf7"  # pause; again
        ),
    ),
    "aarch64": (
        183,
        struct.pack(
            "<18I",
            *(0xD2800029, 0xA9BE7FE9, 0xA9017FFF),  # x9 = SIG_IGN; the four words on the stack
            *(0xD28010C8, 0xD2800220, 0x910003E1, 0xD2800002, 0xD2800103, 0xD4000001),  # rt_sigaction
            *(0xD2800928, 0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800004, 0xD4000001),  # ppoll
            *(0x17FFFFF9, 0xD503201F),  # again
        ),
    ),
}


def program(machine: str = "") -> bytes:
    """Return the ELF file for this machine (elf(5)); raises RuntimeFailure where there is none for it."""
    machine = machine or platform.machine()
    if machine not in _CODE:
        raise RuntimeFailure(f"shareProcessNamespace is not there for {machine}", "FailedCreatePodSandBox")
    number, code = _CODE[machine]
    size = _HEADERS + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    return ident + header + load + code


def make_rootfs(rootfs: Path) -> None:
    """Mount a root file system with nothing in it but the program. Blocking; raises OSError, RuntimeFailure."""
    rootfs.mkdir(mode=0o755)
    flags = mounts.MS_NOSUID | mounts.MS_NODEV
    mounts.mount("pause", rootfs, "tmpfs", flags, "mode=0755,size=64k")
    path = rootfs / PROGRAM.lstrip("/")
    path.write_bytes(program())
    path.chmod(0o555)


def needed(asked: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those mounts of an ordinary container that an OCI runtime cannot do without."""
    return [mount for mount in asked if mount["destination"] in ("/proc", "/dev")]


def config(log_directory: Path) -> ContainerConfig:
    """Return its container."""
    return ContainerConfig(
        name="pause",
        attempt=0,
        image="",
        image_id="",
        args=(PROGRAM,),
        env=(),
        working_dir="/",
        log_path=log_directory / "pause.log",
        resources=Resources(cpu_shares=2),
        security=Security(
            run_as_user=_NOBODY,
            run_as_group=_NOBODY,
            readonly_rootfs=True,
            allow_privilege_escalation=False,
            capabilities_drop=("ALL",),
        ),
        labels={LABEL: "true"},
    )
