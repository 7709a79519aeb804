"""Which processes are whose, from /proc; for the rare moments in which a family must end."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def with_argument(word: str) -> list[int]:
    """The pids of the processes that have `word` among their arguments."""
    found = []
    for directory in Path("/proc").iterdir():
        try:
            if directory.name.isdigit() and word.encode() in (directory / "cmdline").read_bytes().split(b"\0"):
                found.append(int(directory.name))
        except OSError:
            continue
    return found


def children(pid: int) -> list[int]:
    """The pids of the children of `pid` (proc(5), stat field 4; /proc/PID/task/TID/children is not in every kernel)."""
    found = []
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            stat = (directory / "stat").read_bytes()
        except OSError:
            continue
        if int(stat.rpartition(b")")[2].split()[1]) == pid:
            found.append(int(directory.name))
    return found


def kill_children(pid: int) -> bool:
    """SIGKILL to the children of `pid` and theirs; leaves `pid` itself stopped. Returns whether there were any.

    A parent is stopped before its children are listed: it makes none that would be missed, and as it does not reap
    them either, their pids stay theirs.
    """
    _signal(pid, signal.SIGSTOP)
    family = children(pid)
    for child in family:
        kill_children(child)
        _signal(child, signal.SIGKILL)
    return bool(family)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
