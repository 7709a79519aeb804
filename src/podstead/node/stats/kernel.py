"""Use of processor, memory and network as the kernel counts it, in cgroups v1, hybrid and v2.

cgroups(7), the kernel's admin-guide/cgroup-v1/memory and cgroup-v2; proc(5). Working set is what the kubelet calls so:
memory without the page cache that has not been used lately.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from podstead.node.runtime.cgroups import ROOT

_UNLIMITED = 1 << 60
"""Bytes; what is more is no limit (v1 shows none as nearly 2**63)."""


@dataclass(frozen=True, slots=True)
class Usage:
    """`cpu`: nanoseconds since the beginning; memory in bytes; `limit` is None where there is none."""

    cpu: int
    memory: int
    working_set: int
    rss: int
    cache: int
    swap: int
    page_faults: int
    major_page_faults: int
    limit: int | None = None
    processes: int = 0
    cpu_periods: int = 0
    cpu_throttled_periods: int = 0
    cpu_throttled: int = 0
    """Nanoseconds."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network link's counters, bytes and events since it was made."""

    name: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


def group_usage(path: str, *, unified: bool, root: Path = ROOT) -> Usage | None:
    """Return what the group `path` (of Cgroups.container_path) has used; None where it is gone."""
    try:
        return _unified(root / path.lstrip("/")) if unified else _v1(root, path.lstrip("/"))
    except (FileNotFoundError, OSError):
        return None


def node_usage(*, unified: bool, root: Path = ROOT, proc: Path = Path("/proc")) -> Usage:
    """Return what the whole machine has used."""
    memory = {name: int(rest.split()[0]) << 10 for name, _, rest in _split(_lines(proc / "meminfo"), ":")}
    vm = _pairs(proc / "vmstat")
    used = memory["MemTotal"] - memory["MemFree"]
    return Usage(
        cpu=_node_cpu(root, proc, unified=unified),
        memory=used,
        working_set=max(used - memory.get("Inactive(file)", 0), 0),
        rss=memory.get("AnonPages", 0),
        cache=memory.get("Cached", 0),
        swap=memory.get("SwapTotal", 0) - memory.get("SwapFree", 0),
        page_faults=vm.get("pgfault", 0),
        major_page_faults=vm.get("pgmajfault", 0),
        limit=memory["MemTotal"],
        processes=sum(1 for entry in os.scandir(proc) if entry.name.isdigit()),
    )


def interfaces(pid: int = 0, proc: Path = Path("/proc")) -> list[Interface]:
    """Return the links that process `pid` sees (0: this one), the loopback one not among them."""
    found = []
    try:
        lines = _lines(proc / (str(pid) if pid else "self") / "net/dev")[2:]
    except OSError:
        return []
    for name, _, rest in _split(lines, ":"):
        if name != "lo":
            numbers = [int(word) for word in rest.split()]
            found.append(Interface(name, *numbers[:4], *numbers[8:12]))
    return found


def _unified(group: Path) -> Usage:
    cpu, memory, current = _pairs(group / "cpu.stat"), _pairs(group / "memory.stat"), _number(group / "memory.current")
    return Usage(
        cpu=cpu["usage_usec"] * 1000,
        memory=current,
        working_set=max(current - memory.get("inactive_file", 0), 0),
        rss=memory.get("anon", 0),
        cache=memory.get("file", 0),
        swap=_number(group / "memory.swap.current", 0),
        page_faults=memory.get("pgfault", 0),
        major_page_faults=memory.get("pgmajfault", 0),
        limit=_limit(group / "memory.max"),
        processes=_number(group / "pids.current", 0),
        cpu_periods=cpu.get("nr_periods", 0),
        cpu_throttled_periods=cpu.get("nr_throttled", 0),
        cpu_throttled=cpu.get("throttled_usec", 0) * 1000,
    )


def _v1(root: Path, path: str) -> Usage:
    held = root / "memory" / path
    memory, current, cpu = _pairs(held / "memory.stat"), _number(held / "memory.usage_in_bytes"), root / "cpu" / path
    try:
        throttled = _pairs(cpu / "cpu.stat")
    except FileNotFoundError:
        throttled = {}
    return Usage(
        cpu=_number(root / "cpuacct" / path / "cpuacct.usage"),
        memory=current,
        working_set=max(current - memory.get("total_inactive_file", 0), 0),
        rss=memory.get("total_rss", 0),
        cache=memory.get("total_cache", 0),
        swap=memory.get("total_swap", 0),
        page_faults=memory.get("total_pgfault", 0),
        major_page_faults=memory.get("total_pgmajfault", 0),
        limit=_limit(held / "memory.limit_in_bytes"),
        processes=_number(root / "pids" / path / "pids.current", 0),
        cpu_periods=throttled.get("nr_periods", 0),
        cpu_throttled_periods=throttled.get("nr_throttled", 0),
        cpu_throttled=throttled.get("throttled_time", 0),
    )


def _node_cpu(root: Path, proc: Path, *, unified: bool) -> int:
    try:
        if unified:
            return _pairs(root / "cpu.stat")["usage_usec"] * 1000
        return _number(root / "cpuacct" / "cpuacct.usage")
    except (OSError, KeyError):
        # The cgroup of a container that is itself one may have neither. user nice system idle iowait irq softirq steal
        fields = [int(word) for word in _lines(proc / "stat")[0].split()[1:]]
        return (sum(fields[:3]) + sum(fields[5:8])) * (10**9 // os.sysconf("SC_CLK_TCK"))


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


def _split(lines: list[str], separator: str) -> Iterator[tuple[str, str, str]]:
    for line in lines:
        name, found, rest = line.partition(separator)
        yield name.strip(), found, rest.strip()


def _pairs(file: Path) -> dict[str, int]:
    return {name: int(number) for name, _, number in _split(_lines(file), " ") if number.isdigit()}


def _number(file: Path, default: int | None = None) -> int:
    try:
        return int(file.read_text())
    except FileNotFoundError:
        if default is None:
            raise
        return default


def _limit(file: Path) -> int | None:
    try:
        number = int(file.read_text())
    except (FileNotFoundError, ValueError):
        return None  # the word max
    return number if number < _UNLIMITED else None
