"""Counters, gauges and histograms, and Prometheus' text format for them.

https://prometheus.io/docs/instrumenting/exposition_formats/. An observation is one look-up and two additions; text is
made when somebody asks. A metric belongs to one thread, which is the only one to observe.
"""

from __future__ import annotations

import os
import resource
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of a histogram's buckets, in seconds."""

Labels = tuple[str, ...]


class Series:
    """One histogram's values for one set of labels: how many in each bucket (the last: above all), and their sum."""

    __slots__ = ("counts", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.sum = 0.0

    def add(self, other: Series) -> None:
        """Count what `other` has counted, with the same buckets."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


class Histogram:
    """Values by labels. `labels` are the labels' names; `observe` takes their values in that order."""

    def __init__(self, name: str, about: str, labels: Labels = (), buckets: Sequence[float] = LATENCIES) -> None:
        self.name = name
        self.about = about
        self.labels = labels
        self.buckets = tuple(buckets)
        self.series: dict[Labels, Series] = {}

    def observe(self, value: float, labels: Labels = ()) -> None:
        """Count a value."""
        series = self.series.get(labels)
        if series is None:
            series = self.series[labels] = Series(len(self.buckets))
        series.counts[bisect_left(self.buckets, value)] += 1
        series.sum += value

    def text(self) -> Iterator[str]:
        """Yield the lines of the text format."""
        yield from _head(self.name, "histogram", self.about)
        bounds = [*(f"{bound:g}" for bound in self.buckets), "+Inf"]
        for values, series in list(self.series.items()):
            labels = dict(zip(self.labels, values, strict=True))
            total = 0
            for bound, total in zip(bounds, accumulate(series.counts), strict=True):
                yield f"{self.name}_bucket{_labels(labels | {'le': bound})} {total}"
            yield f"{self.name}_sum{_labels(labels)} {series.sum:.9g}"
            yield f"{self.name}_count{_labels(labels)} {total}"


def family(
    name: str, kind: str, about: str, samples: Iterable[tuple[Mapping[str, str], float]], when: int | None = None
) -> Iterator[str]:
    """Yield the lines of a counter or gauge (`kind`); `when`: milliseconds since 1970, where it was not taken now."""
    yield from _head(name, kind, about)
    stamp = f" {when}" if when is not None else ""
    for labels, value in samples:
        yield f"{name}{_labels(labels)} {value:.16g}{stamp}"


def encode(lines: Iterable[str]) -> bytes:
    """Return the lines as a whole answer."""
    return "".join(f"{line}\n" for line in lines).encode()


def process_families() -> Iterator[str]:
    """Yield what Prometheus' clients tell of their process: processor seconds, memory in bytes, descriptors."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    page, ticks = resource.getpagesize(), os.sysconf("SC_CLK_TCK")
    boot = next(int(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if line[:6] == "btime ")
    figures = (
        ("cpu_seconds_total", "counter", "User and system processor time, in seconds.", used.ru_utime + used.ru_stime),
        ("start_time_seconds", "gauge", "Start of the process, in seconds since 1970.", boot + int(stat[19]) / ticks),
        ("virtual_memory_bytes", "gauge", "Virtual memory, in bytes.", int(stat[20])),
        ("resident_memory_bytes", "gauge", "Resident memory, in bytes.", int(stat[21]) * page),
        ("open_fds", "gauge", "Open file descriptors.", sum(1 for _ in os.scandir("/proc/self/fd")) - 1),
        ("max_fds", "gauge", "Most file descriptors.", resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
    )
    for name, kind, about, value in figures:
        yield from family(f"process_{name}", kind, about, [({}, float(value))])


def _head(name: str, kind: str, about: str) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
