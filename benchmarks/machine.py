"""What the kernel tells about processes: monitors and their containers, memory, processor time, and the end of them."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1_000_000
_TICKS = os.sysconf("SC_CLK_TCK")
"""A second."""


@dataclass(frozen=True, slots=True)
class Memory:
    """MB of 1,000,000 bytes. `pss` counts a page that n processes share as 1/n, `rss` counts it n times."""

    pss: float
    rss: float


def monitors(mark: str) -> list[int]:
    """Return the conmon processes that name `mark` on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if Path(os.fsdecode(words[0])).name == "conmon" and any(mark.encode() in word for word in words):
            found.append(int(entry.name))
    return found


def children(pids: Iterable[int]) -> list[int]:
    """Return the children of `pids`: a monitor's is its container's first process."""
    found: list[int] = []
    for pid in pids:
        try:
            found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        except OSError:
            continue
    return found


class Processes:
    """Processes whose end is waited for, held by pidfds: a number given out again is never mistaken for one."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._descriptors: list[int] = []
        for pid in pids:
            try:
                self._descriptors.append(os.pidfd_open(pid))
            except ProcessLookupError:
                continue

    def __len__(self) -> int:
        return len(self._descriptors)

    def wait(self, timeout: float) -> float:
        """Return the time (perf_counter) at which the last one ended, once. Blocking; raises TimeoutError."""
        deadline = time.monotonic() + timeout
        poll = select.poll()
        left = set(self._descriptors)
        for descriptor in left:
            poll.register(descriptor, select.POLLIN)
        try:
            while left:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError(f"{len(left)} of {len(self._descriptors)} processes do not end")
                for descriptor, _ in poll.poll(remaining * 1000):
                    poll.unregister(descriptor)
                    left.discard(descriptor)
            return time.perf_counter()
        finally:
            for descriptor in self._descriptors:
                os.close(descriptor)
            self._descriptors = []


def memory(pids: Iterable[int]) -> Memory:
    """Return the memory of `pids` together; one that has ended counts nothing."""
    pss = rss = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
        pss, rss = pss + sizes["Pss"], rss + sizes["Rss"]
    return Memory(pss / MEGABYTE, rss / MEGABYTE)


def processor_seconds(pids: Iterable[int]) -> float:
    """Return the processor time that `pids` and their children which ended have used, user and system.

    The threads' own is taken from schedstat, in nanoseconds, where the kernel has it: a few milliseconds in many
    seconds would vanish in stat's clock ticks. A thread that ended meanwhile takes its time with it.
    """
    total = 0.0
    for pid in pids:
        try:
            own, ended = _ticks(pid)
            tasks = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
            precise = sum(int(task.read_text().split()[0]) for task in tasks) / 1e9 if tasks else own
        except OSError:
            continue
        total += precise + ended
    return total


def _ticks(pid: int) -> tuple[float, float]:
    """Return the seconds of the process itself, and those of its children that ended, from clock ticks."""
    fields = list(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return sum(fields[:2]) / _TICKS, sum(fields[2:]) / _TICKS


def pin(pid: int, core: int) -> None:
    """Let a process run on one processor only: all threads that it has, and those that they start."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), {core})
        except ProcessLookupError:
            continue


def busy_share(seconds: float) -> float:
    """Return how much of all processors was in use for `seconds`, 0 to 1; time that a hypervisor took is in use."""

    def read() -> tuple[int, int]:
        fields = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
        return sum(fields), fields[3] + fields[4]

    total_before, idle_before = read()
    time.sleep(seconds)
    total, idle = read()
    return 1 - (idle - idle_before) / max(total - total_before, 1)


def describe() -> str:
    """Return what this machine is, in one line."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024 / 1e9
    return f"{os.cpu_count()} x {model}, {total:.0f} GB, Linux {os.uname().release}"
