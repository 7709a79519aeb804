"""Measures the recipe: podstead and, where it is installed, `podman kube play`, in one run on one image.

    .venv/bin/python benchmarks/recipe.py [--quick] [--json FILE]

Needs root. What it makes is its own (an instance, podman's storage in a temporary directory) and is removed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import copy
import os
import signal
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

import machine
from podman_side import Podman, PodmanFailed
from podstead_side import Api, Instance
from program import measured, show
from report import Row, percentile, table

REPOSITORY = Path(__file__).resolve().parent.parent
MANY = 30
MILLI = 1000.0
PHASES = {
    "scheduled": "scheduled (seen by the scheduler -> bound)",
    "image": "image found (this and below: since the node saw the pod)",
    "volumes": "volumes set up",
    "sandbox": "sandbox made",
    "network": "network plumbed",
    "created": "containers created",
    "started": "containers started",
    "running": "Running in the API",
    "seen": "seen by a watch",
}
"""The phases of a start (docs/metrics.md), in their usual order."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How often and how much. `pods` is the number at once, `podman_pods` what podman starts one by one."""

    repetitions: int
    starts: int
    pods: int
    bursts: int
    podman_pods: int
    idle: float
    """Seconds over which idle processor time is taken."""
    settle: float
    """Seconds of rest before that."""
    crowd: int
    """Pods that start while commands are run in another one."""


FULL = Plan(repetitions=20, starts=5, pods=MANY, bursts=3, podman_pods=5, idle=20.0, settle=2.0, crowd=100)
QUICK = Plan(repetitions=1, starts=1, pods=3, bursts=1, podman_pods=0, idle=0.5, settle=0.0, crowd=3)


class Figures:
    """The rows, in the order of the table."""

    def __init__(self, plan: Plan) -> None:
        many = f"{plan.pods} pods"
        self.create = Row("create -> both containers running", "ms", limit=100, factor=4)
        self.phases = {name: Row(f"- {text}", "ms", compared=False) for name, text in PHASES.items()}
        self.create_by_kubectl = Row("the same, by kubectl create", "ms")
        self.execute = Row("exec of true", "ms")
        self.execute_by_kubectl = Row("the same, by kubectl exec", "ms")
        self.execute_above_version = Row("kubectl exec of true, above kubectl version --client", "ms", limit=60)
        self.execute_in_crowd = Row(f"exec of true while {plan.crowd} pods start, p99", "ms", limit=500)
        self.ended = Row("delete, grace 0 -> processes gone", "ms", limit=150)
        self.removed = Row("delete, grace 0 -> object gone (podman: command back)", "ms")
        self.cold = Row("cold start -> node Ready (fresh data)", "ms", limit=1000)
        self.warm = Row("second start -> node Ready (kept data)", "ms")
        self.burst = Row(f"{many} at once -> all running (podman: one by one)", "s", limit=3)
        self.burst_gone = Row(f"{many} deleted at once, grace 0 -> processes gone", "s")
        self.idle_empty = Row("idle processor time, no pod", "% core")
        self.idle_many = Row(f"idle processor time, {many}", "% core", limit=1)
        self.pss_empty = Row("memory (PSS), no pod", "MB", limit=75)
        self.rss_empty = Row("memory (RSS), no pod", "MB")
        self.pss_one = Row("memory (PSS), 1 pod", "MB")
        self.rss_one = Row("memory (RSS), 1 pod", "MB")
        self.pss_many = Row(f"memory (PSS), {many}", "MB")
        self.rss_many = Row(f"memory (RSS), {many}", "MB")
        self.pss_each = Row(f"memory (PSS) a pod more, of {many}", "MB", limit=1.5)
        self.pss_after = Row("memory (PSS), no pod, after all pods of the run", "MB")

    def rows(self) -> list[Row]:
        values = (value.values() if isinstance(value, dict) else (value,) for value in vars(self).values())
        return [row for group in values for row in group]


class Benchmark:
    """One run. `notes` are what a reader must know to judge the figures."""

    def __init__(self, plan: Plan, instance: Instance, directory: Path, runtime: str) -> None:
        self._plan = plan
        self._instance = instance
        self._directory = directory
        self._runtime = runtime
        self._manifest = yaml.safe_load((REPOSITORY / "examples" / "exchangedata.yaml").read_text())
        self.figures = Figures(plan)
        self.notes: list[str] = []
        self.podman: Podman | None = None

    async def run(self) -> None:
        """Measure everything; podman's failures end podman's part only."""
        rootfs = self._directory / "standin.tar"
        await self._instance.command(str(REPOSITORY / "script" / "make-standin-image"), str(rootfs))
        await self._starts()
        await self._instance.import_image(rootfs)
        await self._prepare_podman(rootfs)
        if self._instance.kubectl is None:
            self.notes.append("kubectl was not found: its rows are empty")
        async with self._instance.api() as api:
            runtime = await api.runtime()
            self.notes.append(f"podstead runs with {runtime}")
            if runtime.startswith("crun"):
                self.figures.create.limit, self.figures.create.factor = 70, 6
            await self._memory_and_idle(api)
            await self._cycles(api)
            await self._bursts(api)
            await self._crowd(api)
            self.figures.pss_after.podstead.add(self._instance.memory().pss)
        await self._podman_in_numbers()

    async def _prepare_podman(self, rootfs: Path) -> None:
        directory = self._directory / "podman"
        directory.mkdir()
        try:
            podman = self.podman = Podman(directory, self._runtime)
            await podman.do(lambda: podman.prepare(rootfs, self._manifest))
            self.notes += podman.notes
        except (PodmanFailed, OSError) as failure:
            await self._without_podman(failure)

    async def _without_podman(self, failure: Exception) -> None:
        self.notes.append(f"podman is left out: {failure}")
        podman, self.podman = self.podman, None
        if podman is not None:
            await podman.close()

    def _pod(self, name: str) -> dict[str, Any]:
        manifest: dict[str, Any] = copy.deepcopy(self._manifest)
        manifest["metadata"]["name"] = name
        return manifest

    async def _starts(self) -> None:
        """Start with fresh data and again with what is there; the last one stays up."""
        say("cold and second starts")
        figures = self.figures
        for number in range(self._plan.starts):
            if number:
                await self._instance.purge()
            figures.cold.podstead.add(await self._instance.up() * MILLI)
            await self._instance.down()
            figures.warm.podstead.add(await self._instance.up() * MILLI)

    async def _memory_and_idle(self, api: Api) -> None:
        """With no pod and with one, in a server that is fresh."""
        say("memory and idle time with no pod and with 1")
        figures = self.figures
        await asyncio.sleep(self._plan.settle)
        figures.idle_empty.podstead.add(await self._instance.idle_share(self._plan.idle))
        self._note_memory(figures.pss_empty, figures.rss_empty)
        await api.until_running([self._pod("first")])
        await asyncio.sleep(self._plan.settle)
        self._note_memory(figures.pss_one, figures.rss_one)
        await api.until_gone(["first"])
        await api.settled()

    def _note_memory(self, pss: Row, rss: Row) -> float:
        used = self._instance.memory()
        pss.podstead.add(used.pss)
        rss.podstead.add(used.rss)
        return used.pss

    async def _cycles(self, api: Api) -> None:
        """One pod after the other, podstead's and podman's in turn: what disturbs the machine disturbs both."""
        say(f"{self._plan.repetitions} pods in turn: create, exec, delete")
        figures = self.figures
        for number in range(self._plan.repetitions):
            before = await api.phases()
            ours = await api.cycle(self._pod(f"sharevol-{number}"))
            for name, spent in (await api.phases()).items():
                self.figures.phases[name].podstead.add((spent - before.get(name, 0.0)) * MILLI)
            figures.create.podstead.add(ours.created * MILLI)
            figures.execute.podstead.add(ours.execed * MILLI)
            figures.ended.podstead.add(ours.ended * MILLI)
            figures.removed.podstead.add(ours.removed * MILLI)
            if self._instance.kubectl is not None:
                figures.execute_by_kubectl.podstead.add(ours.exec_by_kubectl * MILLI)
                bare = await self._instance.command(self._instance.kubectl, "version", "--client")
                figures.execute_above_version.podstead.add((ours.exec_by_kubectl - bare) * MILLI)
                await self._cycle_by_kubectl(api, f"typed-{number}")
            await self._podman_cycle(f"sharevol-{number}")

    async def _cycle_by_kubectl(self, api: Api, name: str) -> None:
        self.figures.create_by_kubectl.podstead.add(await api.until_running([self._pod(name)], by_kubectl=True) * MILLI)
        await api.until_gone([name])
        await api.settled()

    async def _podman_cycle(self, name: str) -> None:
        podman, figures = self.podman, self.figures
        if podman is None:
            return
        try:
            theirs = await podman.do(lambda: podman.cycle(name, self._manifest))
        except (PodmanFailed, OSError) as failure:
            await self._without_podman(failure)
            return
        figures.create.podman.add(theirs.created * MILLI)
        figures.create_by_kubectl.podman.add(theirs.created * MILLI)
        figures.execute.podman.add(theirs.execed * MILLI)
        figures.execute_by_kubectl.podman.add(theirs.execed * MILLI)
        figures.ended.podman.add(theirs.ended * MILLI)
        figures.removed.podman.add(theirs.removed * MILLI)

    async def _bursts(self, api: Api) -> None:
        """Many pods at once; memory and idle time with all of them in the last round, beside none just before it."""
        plan, figures = self._plan, self.figures
        say(f"{plan.pods} pods at once, {plan.bursts} times; memory and idle time with them")
        for number in range(plan.bursts):
            before = self._instance.memory().pss
            names = [f"many-{number}-{one}" for one in range(plan.pods)]
            figures.burst.podstead.add(await api.until_running([self._pod(name) for name in names]))
            if number == plan.bursts - 1:
                await asyncio.sleep(plan.settle)
                used = self._note_memory(figures.pss_many, figures.rss_many)
                figures.pss_each.podstead.add((used - before) / plan.pods)
                figures.idle_many.podstead.add(await self._instance.idle_share(plan.idle))
            ended, _ = await api.until_gone(names)
            figures.burst_gone.podstead.add(ended)
            await api.settled()

    async def _crowd(self, api: Api) -> None:
        """Run `true` in one pod, again and again, while many others start."""
        say(f"exec of true while {self._plan.crowd} pods start")
        names = [f"crowd-{one}" for one in range(self._plan.crowd)]
        await api.until_running([self._pod("probe")])
        starting = asyncio.create_task(api.until_running([self._pod(name) for name in names]))
        took: list[float] = []
        while not starting.done():
            took.append(await api.execute("probe", "c1", "/bin/true") * MILLI)
        await starting
        self.figures.execute_in_crowd.podstead.add(percentile(took, 0.99))
        self.notes.append(f"while {len(names)} pods started, true was run {len(took)} times")
        await api.until_gone(["probe", *names])
        await api.settled()

    async def _podman_in_numbers(self) -> None:
        plan, podman = self._plan, self.podman
        if podman is None or not plan.podman_pods:
            return
        say(f"{plan.podman_pods} of podman's pods one by one")
        try:
            took, used = await podman.do(lambda: podman.several(plan.podman_pods, self._manifest))
        except (PodmanFailed, OSError) as failure:
            await self._without_podman(failure)
            return
        self.figures.burst.podman.add(took * plan.pods / plan.podman_pods)
        self.figures.pss_each.podman.add(used.pss / plan.podman_pods)
        if plan.podman_pods != plan.pods:
            self.notes.append(
                f"podman's pods one by one: {plan.podman_pods} were measured and the figure scaled to {plan.pods}"
            )


def say(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


async def measure(plan: Plan, where: Path | None, limit: float, runtime: str) -> tuple[Benchmark, list[str]]:
    """Run it all and clean up, whatever happens; returns the figures and what is known of the machine."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    with tempfile.TemporaryDirectory(prefix="podstead-benchmark-", dir=where) as made:
        directory = Path(made)
        instance = Instance(f"bench-{os.getpid()}", directory, runtime)
        benchmark = Benchmark(plan, instance, directory, runtime)
        busy = await asyncio.to_thread(machine.busy_share, 1.0)
        load = os.getloadavg()[0]
        try:
            async with asyncio.timeout(limit):
                await benchmark.run()
        except BaseException:
            print(instance.last_words(), file=sys.stderr, flush=True)
            raise
        finally:
            # Not in the cancelled task's own time: the end is bounded by its commands' limits.
            await asyncio.shield(clean(benchmark, instance))
        return benchmark, [
            machine.describe(),
            f"others used {busy:.0%} of the processors in the second before; load average {load:.2f} then, "
            f"{os.getloadavg()[0]:.2f} at the end",
        ]


async def clean(benchmark: Benchmark, instance: Instance) -> None:
    """Remove both sides; the second also where the first fails."""
    try:
        if benchmark.podman is not None:
            await benchmark.podman.close()
    finally:
        await instance.purge()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the recipe: podstead, and podman where it is installed.")
    parser.add_argument("--quick", action="store_true", help="a few repetitions: shows that it works, not how fast")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all values there")
    parser.add_argument("--repetitions", metavar="N", type=int, help=f"pods in turn (default {FULL.repetitions})")
    parser.add_argument(
        "--podman-pods", metavar="N", type=int, help=f"podman's one by one (default {FULL.podman_pods})"
    )
    parser.add_argument("--directory", metavar="DIR", type=Path, help="keep images and data below DIR (default: /tmp)")
    parser.add_argument("--time-limit", metavar="S", type=float, default=900.0, help="seconds for all (default 900)")
    runtimes = ("auto", "crun", "runc")
    parser.add_argument("--runtime", choices=runtimes, default="auto", help="both sides' OCI runtime (default: auto)")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else FULL
    asked = {"repetitions": options.repetitions, "podman_pods": options.podman_pods}
    return replace(plan, **{name: max(value, 0) for name, value in asked.items() if value is not None})


def main() -> None:
    options = arguments()
    work = measure(chosen(options), options.directory, options.time_limit, options.runtime)
    benchmark, about = measured(work)
    rows, notes = benchmark.figures.rows(), benchmark.notes
    found = {"machine": about, "notes": notes, "rows": [row.as_json() for row in rows]}
    show(table(rows), [*about, *notes], options.json, found)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
