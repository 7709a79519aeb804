"""Limits of a group of cgroups, as files: v1 and v2. The OCI runtime writes containers' own, these are of pods.

Source: the kernel's admin-guide/cgroup-v1 (cpu, memory, pids) and cgroup-v2; runtime-spec's conversion of shares.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator
from pathlib import Path

from podstead.node.runtime.base import Resources

MIN_SHARES, MAX_SHARES = 2, 262_144
DEFAULT_PERIOD = 100_000
"""Microseconds."""

Setting = tuple[str, str, str]
"""Controller (v1: its hierarchy), file and text."""


def weight(shares: int) -> int:
    """Return v2's cpu.weight (1 to 10000) for v1's cpu.shares: 2 gives 1, 1024 gives 100, 262144 gives 10000.

    Source: KEP-2254's follow-up, the conversion of runc 1.3.2 and crun 1.23.
    """
    shares = min(max(shares, MIN_SHARES), MAX_SHARES)
    bits = math.log2(shares)
    return min(math.ceil(10 ** ((bits * bits + 125 * bits) / 612 - 7 / 34)), 10_000)


def settings(resources: Resources, *, unified: bool) -> Iterator[Setting]:
    """Yield what to write for `resources`; what they do not limit is without a limit."""
    period = resources.cpu_period or DEFAULT_PERIOD
    if unified:
        yield "cpu", "cpu.weight", str(weight(resources.cpu_shares))
        yield "cpu", "cpu.max", f"{resources.cpu_quota or 'max'} {period}"
        yield "memory", "memory.max", str(resources.memory_limit or "max")
    else:
        yield "cpu", "cpu.shares", str(max(resources.cpu_shares, MIN_SHARES))
        yield "cpu", "cpu.cfs_period_us", str(period)
        yield "cpu", "cpu.cfs_quota_us", str(resources.cpu_quota or -1)
        yield "memory", "memory.limit_in_bytes", str(resources.memory_limit or -1)
    yield "pids", "pids.max", str(resources.pids_limit or "max")


def apply(root: Path, path: str, resources: Resources, *, unified: bool) -> None:
    """Make the group `path` in the hierarchies that have a limit to be written, and write those that are different.

    A controller that is not there is left out: the container that asks for its limit fails with the OCI runtime's own
    message. Raises OSError. Blocking for some 100 microseconds.
    """
    for controller, name, text in settings(resources, unified=unified):
        hierarchy = root if unified else root / controller
        if not hierarchy.is_dir():
            continue
        group = hierarchy / path.lstrip("/")
        group.mkdir(parents=True, exist_ok=True)
        file = group / name
        try:
            if file.read_text().strip() != text:
                _write(file, text)
        except FileNotFoundError:
            continue


def memory_usage(root: Path, path: str, *, unified: bool) -> int:
    """Return what the group `path` uses, bytes; 0 where it is not there."""
    hierarchy, name = (root, "memory.current") if unified else (root / "memory", "memory.usage_in_bytes")
    try:
        return int((hierarchy / path.lstrip("/") / name).read_text())
    except (OSError, ValueError):
        return 0


def _write(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        if error.errno == errno.EBUSY and file.name == "memory.limit_in_bytes":
            raise OSError(error.errno, "more memory is in use", str(file)) from error
        raise OSError(error.errno, error.strerror, str(file)) from error
    finally:
        os.close(descriptor)
