"""Where the server spends its time while something is measured: py-spy from outside, which must be installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RATE = 250
"""Samples a second, taken without stopping the process: some are torn and left out, but nothing is held up."""
_TOP = 25


class Profiler:
    """Profiles of one process by name, as text. Raises FileNotFoundError where py-spy is not to be found."""

    def __init__(self, pid: int, directory: Path) -> None:
        found = shutil.which("py-spy")
        if found is None:
            raise FileNotFoundError("py-spy is not installed: pip install py-spy")
        self._argv = [found, "record", "--pid", str(pid), "--rate", str(_RATE), "--format", "raw"]
        self._argv += ["--nonblocking", "--function"]
        self._cores = range(os.cpu_count() or 1)
        self._file = directory / "profile.raw"
        self.texts: dict[str, str] = {}

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        argv = [*self._argv, "--duration", "600", "--output", str(self._file)]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.sched_setaffinity(process.pid, self._cores)
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)
        if self._file.exists():
            self.texts[name] = _summary(self._file.read_text())
            self._file.unlink()


def _summary(stacks: str) -> str:
    """Return the functions with the most time of their own, and with what they call, in % of all samples."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        own[frames[-1]] += int(count)
        for frame in set(frames):
            total[frame] += int(count)
    samples = max(sum(own.values()), 1)
    ranked = [name for name, _ in own.most_common(_TOP)] + [name for name, _ in total.most_common(2 * _TOP)]
    lines = [f"{own[name] / samples:6.1%} {total[name] / samples:6.1%}  {name}" for name in dict.fromkeys(ranked)]
    return "\n".join([f"{samples} samples; own, with what it calls", *lines])
