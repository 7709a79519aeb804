"""Measures whether the removal of a large volume holds up other pods: create -> running alone, and beside it.

    .venv/bin/python benchmarks/removal.py [--files N] [--pods N]

Needs root. The instance is the benchmark's own and is removed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import machine
from podstead_side import IMAGE, Api, Instance
from program import measured

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDERS = 100


def pod(name: str) -> dict[str, Any]:
    """A pod with a volume of its own."""
    container: dict[str, Any] = {"name": "c", "image": IMAGE, "command": ["sleep", "10000"]}
    container["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": [{"name": "v", "emptyDir": {}}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def fill(volume: Path, files: int) -> None:
    for folder in range(FOLDERS):
        (volume / str(folder)).mkdir()
        for number in range(files // FOLDERS):
            (volume / str(folder) / str(number)).touch()


async def starts(api: Api, name: str, count: int) -> list[float]:
    """Return the milliseconds of `count` starts, one after the other."""
    return [1000 * await api.until_running([pod(f"{name}-{number}")]) for number in range(count)]


async def removed(api: Api, volumes: list[Path]) -> None:
    """Delete the pod that owns them all and return when they are gone."""
    await api.send("DELETE", "/api/v1/namespaces/default/pods/large", {"gracePeriodSeconds": 0})
    while any(volume.exists() for volume in volumes):
        await asyncio.sleep(0.02)


async def measure(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="podstead-removal-") as made:
        directory = Path(made)
        instance = Instance(f"removal-{os.getpid()}", directory, "auto")
        try:
            rootfs = directory / "standin.tar"
            await instance.command(str(REPOSITORY / "script" / "make-standin-image"), str(rootfs))
            await instance.up()
            await instance.import_image(rootfs)
            async with instance.api() as api:
                await api.until_running([pod("large")])
                volume = next((directory / "data/pods").glob("*/volumes/kubernetes.io~empty-dir/v"))
                await asyncio.to_thread(fill, volume, options.files)
                alone = await starts(api, "alone", options.pods)
                loop = asyncio.get_running_loop()
                began = loop.time()
                removal = asyncio.create_task(removed(api, [volume.parent]))
                beside: list[float] = []
                while not removal.done() or not beside:
                    beside += await starts(api, f"beside-{len(beside)}", 1)
                took = loop.time() - began
        finally:
            await asyncio.shield(instance.purge())
    for name, values in (("alone", alone), ("beside the removal", beside)):
        worst = sorted(values)[min(len(values) - 1, round(0.99 * len(values)))]
        print(
            f"create -> running, {name}: median {statistics.median(values):.0f} ms, p99 {worst:.0f} ms, {len(values)}"
        )
    print(f"{options.files} files were gone after {took:.1f} s", machine.describe(), sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure starts of pods beside the removal of a large volume.")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--pods", type=int, default=20, help="starts measured alone")
    options = parser.parse_args()
    measured(measure(options))


if __name__ == "__main__":
    main()
