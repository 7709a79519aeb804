"""Pulls from a registry on this machine, side by side with `podman pull`, which uses the same libraries.

Both start with an empty store each time, in turn, in directories of their own; what podman keeps elsewhere is its cache
of blobs' names alone. Run as root: python benchmarks/images.py [--rounds N] [--json FILE].
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from report import Row, table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/node/images"))

from image_parts import Registry, write_layout  # type: ignore[import-not-found]

from podstead.node.images.pull import Images
from podstead.paths import Paths

TIMEOUT = 300.0
SHAPES = {
    "small: 1 layer of 0.3 MB": [(3, 100_000)],
    "deep: 20 layers of 1 MB": [(50, 20_000)] * 20,
    "large: 5 layers of 133 MB": [
        (2000, 40_000),
        (300, 100_000),
        (500, 20_000),
        (10, 1_000_000),
        (1, 100),
    ],
}
"""By name: number and size of the files of each layer. Half of every file does not compress."""


def make_layer(number: int, files: int, size: int) -> bytes:
    """Return a tar of that many files, the same ones each time."""
    contents, buffer = random.Random(number), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for index in range(files):
            info = tarfile.TarInfo(f"layer{number}/{index % 40}/file{index}")
            info.size = size
            archive.addfile(info, io.BytesIO(contents.randbytes(size // 2) + bytes(size - size // 2)))
    return buffer.getvalue()


class Sides:
    """Both ways to pull, each with an empty store for each measurement, and a second pull of what is there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._paths = Paths("benchmark-images", directory / "podstead", directory / "podstead-run")
        self._podman = directory / "podman"

    def clear(self) -> None:
        """Empty both stores."""
        for path in (self._paths.data, self._paths.run, self._podman):
            shutil.rmtree(path, ignore_errors=True)
        os.sync()  # what the last measurement wrote is not the next one's burden

    def server(self, name: str) -> float:
        """Pull as the server does for a pod; seconds."""

        async def pull() -> float:
            images = Images(self._paths)
            began = time.perf_counter()
            await images.pull_image(name, (), lambda _done, _total: None)
            return time.perf_counter() - began

        return asyncio.run(pull())

    def command(self, name: str) -> float:
        """Pull by `podstead image pull`; seconds."""
        options = ("--name", self._paths.name, "--data-dir", str(self._paths.data))
        program = str(Path(sys.executable).with_name("podstead"))
        return _timed(program, "image", "pull", *options, name)

    def podman(self, name: str) -> float:
        """Pull by `podman pull`; seconds."""
        root = ("--root", str(self._podman / "root"), "--runroot", str(self._podman / "run"))
        return _timed("podman", *root, "--events-backend", "none", "pull", "-q", "--tls-verify=false", name)


def _timed(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT)
    return time.perf_counter() - began


def measure(directory: Path, rounds: int) -> list[Row]:
    """Return the rows, in milliseconds."""
    rows = []
    (directory / "registry").mkdir()
    registry = Registry(directory / "registry")
    try:
        for number, (label, shape) in enumerate(SHAPES.items()):
            layers = [make_layer(100 * number + index, *layer) for index, layer in enumerate(shape)]
            name = registry.push(write_layout(directory / f"layout{number}", layers, {}), f"image{number}:1")
            rows += _measure_one(Sides(directory), name, label, rounds)
    finally:
        registry.stop()
    return rows


def _measure_one(sides: Sides, name: str, label: str, rounds: int) -> list[Row]:
    server = Row(f"{label}; by the server", "ms", factor=1.0)
    command = Row("  by podstead image pull", "ms")
    again = Row("  again, nothing new", "ms", factor=1.0)
    for turn in range(rounds + 1):
        for row, pull in ((server, sides.server), (command, sides.command)):
            sides.clear()
            # Who comes first changes: the other finds the registry's files in memory.
            order = [(row.podstead, pull), (row.podman, sides.podman)]
            values = [(series, run(name)) for series, run in (order if turn % 2 else order[::-1])]
            if turn:  # the first round only warms up
                for series, value in values:
                    series.add(value * 1000)
        os.sync()
        order = [(again.podstead, sides.server), (again.podman, sides.podman)]
        values = [(series, run(name)) for series, run in (order if turn % 2 else order[::-1])]
        if turn:
            for series, value in values:
                series.add(value * 1000)
    sides.clear()
    return [server, command, again]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--directory", type=Path, help="where the stores are, /tmp if not given")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root")
    with tempfile.TemporaryDirectory(prefix="podstead-images-", dir=arguments.directory) as directory:
        rows = measure(Path(directory), arguments.rounds)
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([row.as_json() for row in rows], indent=2))


if __name__ == "__main__":
    main()
