"""Measures volumes: exchange between containers beside the bare file system, ConfigMaps in many places.

    .venv/bin/python benchmarks/volumes.py [--quick] [--json FILE]

Needs root. The instance is the benchmark's own and is removed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import mmap
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import machine
from podstead_side import IMAGE, Api, Instance, PodsteadFailed
from program import measured, show

REPOSITORY = Path(__file__).resolve().parent.parent
MAPS = "/api/v1/namespaces/default/configmaps"
_CHUNK = 1 << 20
_VOLUMES = 50
"""ConfigMap volumes of one pod."""


@dataclass
class Line:
    """One line of the table. `limit` is the most, `least` the least that the median may be."""

    name: str
    unit: str
    limit: float | None = None
    least: float | None = None
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def target(self) -> str:
        if self.limit is not None:
            return f"<= {self.limit:g} {self.unit}"
        return f">= {self.least:g} {self.unit}" if self.least is not None else ""

    @property
    def verdict(self) -> str:
        if not self.target:
            return ""
        met = self.median <= self.limit if self.limit is not None else self.median >= (self.least or 0)
        return "met" if met else "NOT MET"


# -- what one container writes and another reads


def by_file(writer: Path, reader: Path, size: int) -> None:
    """Write `size` bytes through one path, read them through another."""
    chunk = os.urandom(_CHUNK)
    with writer.open("wb", buffering=0) as out:
        for _ in range(size // _CHUNK):
            out.write(chunk)
    into, read = bytearray(_CHUNK), 0
    with reader.open("rb", buffering=0) as source:
        while count := source.readinto(into):
            read += count
    if read != size or into != chunk:
        raise PodsteadFailed("the reader has not what the writer wrote")


def by_mapping(writer: Path, reader: Path, size: int) -> None:
    """The same through memory that both have mapped."""
    chunk = os.urandom(_CHUNK)
    with writer.open("w+b") as out, reader.open("rb") as source:
        out.truncate(size)
        to, came = mmap.mmap(out.fileno(), size), mmap.mmap(source.fileno(), size, access=mmap.ACCESS_READ)
        with to, came:
            for at in range(0, size, _CHUNK):
                to[at : at + _CHUNK] = chunk
                if came[at : at + _CHUNK] != chunk:
                    raise PodsteadFailed("the reader has not what the writer wrote")


def rate(exchange: Callable[[Path, Path, int], None], writer: Path, reader: Path, size: int) -> float:
    """Return MB a second; the file is gone afterwards."""
    began = time.perf_counter()
    exchange(writer, reader, size)
    took = time.perf_counter() - began
    writer.unlink()
    return size / machine.MEGABYTE / took


async def exchanges(api: Api, instance: Instance, bare: Path, size: int, rounds: int) -> list[Line]:
    """c1 writes, c2 reads: each through the mount of its own container, in turn with the bare file system."""
    mounts = [[{"name": "v", "mountPath": path}] for path in ("/tmp/xchange", "/tmp/data")]
    containers = [container(f"c{number}", volumeMounts=mount) for number, mount in enumerate(mounts, start=1)]
    await api.until_running([pod("exchange", containers, [{"name": "v", "emptyDir": {}}])])
    roots = [Path(f"/proc/{pid}/root") for pid in machine.children(instance.monitors())]
    writer = next(root / "tmp/xchange/file" for root in roots if (root / "tmp/xchange").is_dir())
    reader = next(root / "tmp/data/file" for root in roots if (root / "tmp/data").is_dir())
    bare.mkdir(exist_ok=True)
    made = []
    for what, exchange in (("files", by_file), ("mmap", by_mapping)):
        inside = Line(f"exchange through a volume, {what}", "MB/s")
        outside = Line(f"the same on the bare file system, {what}", "MB/s")
        share = Line(f"volume by bare, {what}", "%", least=90)
        ways = [(inside, writer, reader), (outside, bare / "file", bare / "file")]
        for number in range(rounds):
            for line, source, sink in ways if number % 2 else reversed(ways):
                line.values.append(await asyncio.to_thread(rate, exchange, source, sink, size))
            share.values.append(100 * inside.values[-1] / outside.values[-1])
        made += [inside, outside, share]
    await api.until_gone(["exchange"])
    await api.settled()
    return made


# -- ConfigMaps


def container(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": IMAGE, "command": ["sleep", "10000"], **more}


def pod(name: str, containers: list[dict[str, Any]], volumes: list[dict[str, Any]]) -> dict[str, Any]:
    spec = {"terminationGracePeriodSeconds": 0, "containers": containers, "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def with_maps(name: str, maps: list[str]) -> dict[str, Any]:
    """A pod that mounts each of `maps` (names, which may repeat) at /m/NUMBER."""
    mounts = [{"name": f"v{number}", "mountPath": f"/m/{number}"} for number in range(len(maps))]
    volumes = [{"name": f"v{number}", "configMap": {"name": one}} for number, one in enumerate(maps)]
    return pod(name, [container("c1", volumeMounts=mounts)], volumes)


async def prepared(api: Api, rounds: int) -> list[Line]:
    """How much longer a pod takes with 50 ConfigMaps of its own: reading, writing, and mounting them."""
    plain = Line("create -> running, no ConfigMap", "ms")
    many = Line(f"create -> running, {_VOLUMES} ConfigMap volumes", "ms")
    more = Line(f"what {_VOLUMES} ConfigMap volumes add", "ms", limit=100)
    names = [f"own-{number}" for number in range(_VOLUMES)]
    for name in names:
        await api.send("POST", MAPS, {"metadata": {"name": name}, "data": {"key": "x" * 1000}})
    kinds: list[tuple[Line, list[str]]] = [(plain, []), (many, names)]
    for number in range(rounds):
        for line, maps in kinds if number % 2 else reversed(kinds):
            line.values.append(1000 * await api.until_running([with_maps("maps", maps)]))
            await api.until_gone(["maps"])
            await api.settled()
        more.values.append(many.values[-1] - plain.values[-1])
    return [plain, many, more]


async def updated(api: Api, instance: Instance, pods: int, rounds: int) -> Line:
    """From sending a PATCH to the moment in which the last container reads the new content at the last mount."""
    total = pods * _VOLUMES
    line = Line(f"ConfigMap update inside {total:,} mounts", "ms", limit=1000)
    await api.send("POST", MAPS, {"metadata": {"name": "shared"}, "data": {"key": "0"}})
    names = [f"shown-{number}" for number in range(pods)]
    await api.until_running([with_maps(name, ["shared"] * _VOLUMES) for name in names])
    roots = [Path(f"/proc/{pid}/root/m") for pid in machine.children(instance.monitors())]
    files = [root / f"{number}/key" for root in roots if root.is_dir() for number in range(_VOLUMES)]
    if len(files) != total:
        raise PodsteadFailed(f"{len(files)} mounts are there, not {total}")
    for number in range(1, rounds + 1):
        began = time.perf_counter()
        change = {"data": {"key": str(number)}}
        await api.send("PATCH", f"{MAPS}/shared", change, "application/merge-patch+json")
        await asyncio.to_thread(until_shown, files, str(number))
        line.values.append(1000 * (time.perf_counter() - began))
    await api.until_gone(names)
    await api.settled()
    return line


def until_shown(files: list[Path], text: str) -> None:
    """Return once all of `files` hold `text`; raises PodsteadFailed where that takes too long."""
    deadline = time.monotonic() + 60
    left = list(files)
    while left := [file for file in left if content(file) != text]:
        if time.monotonic() > deadline:
            raise PodsteadFailed(f"{len(left)} of {len(files)} mounts do not show the change")
        time.sleep(0.005)


def content(file: Path) -> str:
    """Return what is in a file; nothing where its set was swapped away just between its link and itself."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""


# -- the run


def table(found: list[Line]) -> str:
    rows = [["", "median", "worst", "unit", "target", ""]]
    for line in found:
        worst = min(line.values) if line.unit in ("MB/s", "%") else max(line.values)
        rows.append([line.name, f"{line.median:.0f}", f"{worst:.0f}", line.unit, line.target, line.verdict])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def show(row: list[str]) -> str:
        cells = (
            cell.rjust(width) if column in (1, 2) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join(cells)} |"

    rule = ["-" * (width - 1) + ":" if column in (1, 2) else "-" * width for column, width in enumerate(widths)]
    return "\n".join([show(rows[0]), f"| {' | '.join(rule)} |", *map(show, rows[1:])])


async def measure(options: argparse.Namespace) -> tuple[list[Line], list[str]]:
    """Run it all and clean up, whatever happens; returns the lines and what is known of the machine."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    size, rounds, pods = (8 << 20, 1, 2) if options.quick else (256 << 20, 5, 20)
    with tempfile.TemporaryDirectory(prefix="podstead-volumes-", dir=options.directory) as made:
        directory = Path(made)
        instance = Instance(f"volumes-{os.getpid()}", directory, "auto")
        busy = await asyncio.to_thread(machine.busy_share, 1.0)
        try:
            rootfs = directory / "standin.tar"
            await instance.command(str(REPOSITORY / "script" / "make-standin-image"), str(rootfs))
            await instance.up()
            await instance.import_image(rootfs)
            async with instance.api() as api:
                found = await exchanges(api, instance, directory / "bare", size, rounds)
                found += await prepared(api, rounds)
                found.append(await updated(api, instance, pods, rounds))
        finally:
            await asyncio.shield(instance.purge())
    return found, [
        machine.describe(),
        f"{size / machine.MEGABYTE:.0f} MB each, {rounds} of everything; others used {busy:.0%} of the processors "
        f"before, load average {os.getloadavg()[0]:.2f} at the end",
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure volumes: exchange, preparation, updates.")
    parser.add_argument("--quick", action="store_true", help="one of everything, small: does it work at all")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all values there")
    parser.add_argument("--directory", metavar="DIR", type=Path, help="where data goes (default: a temporary one)")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    found, about = measured(measure(options))
    rows = [{"name": line.name, "unit": line.unit, "values": line.values} for line in found]
    show(table(found), about, options.json, {"machine": about, "rows": rows})


if __name__ == "__main__":
    main()
