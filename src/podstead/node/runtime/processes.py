"""Which processes are whose, from /proc; for the rare moments in which a family must end."""

from __future__ import annotations

from pathlib import Path


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
