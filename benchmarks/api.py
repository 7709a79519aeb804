"""Measures the API server with clients that cost little, each figure beside what bare servers reach that do the same.

    .venv/bin/python benchmarks/api.py [--quick] [--json FILE]

Needs root. The instance is the benchmark's own and is removed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import machine
from api_official import Official
from api_profile import Profiler
from api_sides import (
    NAMESPACES,
    BareApi,
    BareCommits,
    Side,
    again,
    creation,
    path,
    shared,
    tls_of,
    update,
)
from api_table import Figure, table
from podstead.pki import Pki
from podstead_side import Instance
from program import measured, show
from raw_client import Pumped, RequestFailed, Watcher, fan_out, pump, request, verified
from stream_client import Door

CONNECTIONS = 16
READS, SHORT, LONG, WRITES, WATCHED, MORE = (
    f"bench-{one}" for one in ["get", "short", "long", "writes", "watch", "more"]
)
STAGE_ROUNDS = 5
MICRO = 1e6


@dataclass(frozen=True, slots=True)
class Plan:
    """How often and how much."""

    rounds: int
    seconds: float
    """How long each read is repeated."""
    short: int
    long: int
    """Objects of the two lists."""
    writes: int
    """Creates or updates in one measurement."""
    stage: int
    """Creates in one measurement of their cost."""
    watchers: int
    updates: int
    calls: int
    """Creates of the official client in one measurement."""
    settle: float
    """The longest time, in seconds, for memory to stop moving."""
    rest: float
    """Seconds after which the server has done its house-keeping, which it does once a minute."""
    many: int = 0
    """Objects of the last measurement of a create's cost; 0 leaves it out."""


FULL = Plan(5, 1.0, 1000, 10_000, 1600, 300, 50, 1000, 200, 30.0, 65.0)
QUICK = Plan(1, 0.02, 50, 200, 32, 8, 5, 32, 4, 0.5, 0.0)


class Figures:
    """All lines, in the order of the table."""

    def __init__(self, plan: Plan) -> None:
        def pair(name: str, unit: str) -> tuple[Figure, Figure]:
            one = Figure(f"{name}, 1 connection", unit, share=0.7)
            return one, Figure(f"{name}, {CONNECTIONS} connections", unit, share=0.5)

        self.get = pair("GET one configmap of 1 KiB", "1/s")
        self.short = pair(f"LIST {plan.short:,}", "1/s")
        self.long = pair(f"LIST {plan.long:,}", "1/s")
        self.create = Figure("create, 1 writer", "1/s"), Figure(f"create, {CONNECTIONS} writers", "1/s", least=1500)
        self.update = Figure("update, 1 writer", "1/s"), Figure(f"update, {CONNECTIONS} writers", "1/s")
        events = f"watch, {plan.watchers} watchers, {plan.updates:,} updates"
        self.events = Figure(events, "events/s", least=16_000)
        self.official_get = Figure("official client: get", "1/s")
        self.official_list = Figure(f"official client: list {plan.short:,}", "1/s")
        self.official_create = Figure("official client: create", "1/s")
        self.rest = Figure("memory (PSS) at rest", "MB")
        memory = f"memory (PSS) for {plan.long:,} configmaps of 1 KiB"
        self.memory_at_once = Figure(f"{memory}, just created", "MB")
        self.memory = Figure(memory, "MB", most=40)
        counts = [100, plan.long, *([plan.many] if plan.many else [])]
        self.stages = {count: Figure(f"create, 1 writer, {count:,} objects present", "ms") for count in counts}
        self.growth = {
            count: Figure(f"processor time of a create, {count:,} present by 100", "x", most=1.2)
            for count in counts[1:]
        }

    def all(self) -> list[Figure]:
        pairs = (*self.get, *self.short, *self.long, *self.create, *self.update)
        official = (self.official_get, self.official_list, self.official_create)
        stages = (*self.stages.values(), *self.growth.values())
        return [*pairs, self.events, *official, self.rest, self.memory_at_once, self.memory, *stages]


class Benchmark:
    """One run against a server that is up; blocking. `notes` are what a reader must know to judge the figures."""

    def __init__(self, plan: Plan, instance: Instance, directory: Path, profile: bool) -> None:
        self._plan = plan
        self._pid = instance.server
        self._directory = directory
        self._kubeconfig = directory / "data" / "admin.kubeconfig"
        self._serial = 0
        self._size = 0
        """Bytes of an object as the server gives it back."""
        self.figures = Figures(plan)
        self.notes: list[str] = []
        self.profiler = Profiler(self._pid, directory) if profile else None

    def run(self) -> None:
        """Measure everything. Raises RequestFailed or OSError."""
        cores = sorted(os.sched_getaffinity(0))
        server, client = cores[0], cores[-1]
        self._core = server
        if server == client:
            self.notes.append("there is one processor only: client and server share it, the rates are too low")
        os.sched_setaffinity(0, {client})
        machine.pin(self._pid, server)
        door = Door(self._kubeconfig, "")
        with ExitStack() as stack:
            self._podstead = stack.enter_context(closing(Side(self._pid, door.connect, CONNECTIONS)))
            self._commits = stack.enter_context(closing(BareCommits(server, self._directory / "bare.db")))
            pki = Pki(self._directory / "data" / "pki")
            self._bare = stack.enter_context(closing(BareApi(server, door, pki, CONNECTIONS)))
            self._official = self._officials(stack)
            with door.connect() as connection:
                self.notes.append(f"TLS of all: {tls_of(connection)}; the administrator's client certificate")
            self._fill()
            self._prepare()
            for number in range(self._plan.rounds):
                say(f"round {number + 1} of {self._plan.rounds}")
                self._round(number == 0)
            self._many()
            self._growth()

    def _officials(self, stack: ExitStack) -> tuple[Official, Official] | None:
        try:
            ours, bare = Official(self._kubeconfig), Official(self._kubeconfig, self._bare.port)
        except ImportError:
            self.notes.append("the official Python client is not installed: its rows are empty")
            return None
        return stack.enter_context(closing(ours)), stack.enter_context(closing(bare))

    # -- objects, memory, and what a create costs beside many

    def _fill(self) -> None:
        """Create all objects that stay, and measure on the way what they take."""
        plan, figures = self._plan, self.figures
        for name in (READS, SHORT, LONG, WRITES, WATCHED, MORE):
            body = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).encode()
            self._podstead.ask(request("POST", NAMESPACES, body), 201)
        say("memory and what a create costs")
        self._create(MORE, 100)
        rest = self._settled()
        figures.rest.podstead.add(rest)
        self._create(LONG, plan.long)
        figures.memory_at_once.podstead.add(self._settled() - rest)
        time.sleep(plan.rest)
        figures.memory.podstead.add(self._settled() - rest)
        # With many first: both are measured with a history that is full, and memory in a server that is fresh.
        self._stage(plan.long)
        self._podstead.ask(request("DELETE", path(LONG)))
        self._stage(100)
        self._create(LONG, plan.long)
        self._create(SHORT, plan.short)
        self._create(READS, 1)
        self._create(WATCHED, CONNECTIONS)

    def _create(self, namespace: str, count: int) -> None:
        requests = (creation(namespace, f"object-{number:06d}") for number in range(count))
        pump(self._podstead.all, shared(requests, self._podstead.all), 201)

    def _settled(self) -> float:
        """Return the server's memory in MB once it does not move any more."""
        deadline, before = time.monotonic() + self._plan.settle, 0.0
        while True:
            now = machine.memory([self._pid]).pss
            if abs(now - before) < 0.1 or time.monotonic() >= deadline:
                return now
            before = now
            time.sleep(min(2.0, self._plan.settle / 4))

    def _stage(self, present: int) -> None:
        """Measure creates while `present` objects are there, beside a database of as many rows."""
        figure, count = self.figures.stages[present], self._plan.stage
        self._size = len(self._podstead.ask(request("GET", path(MORE, "object-000000"))))
        with closing(BareCommits(self._core, self._directory / f"bare-{present}.db")) as commits:
            commits.commit(present, CONNECTIONS, self._size)
            for _ in range(min(STAGE_ROUNDS, self._plan.rounds)):
                one = Figure("", "")
                bare = partial(self._rows, 1, count, commits=commits)
                self._compare(one, partial(self._creates, 1, count), bare, commits.pid)
                for whole, part in ((figure.podstead, one.podstead), (figure.limit, one.limit)):
                    whole.add(1000 / part.values[0])
                figure.cost.add(one.cost.values[0])
                figure.limit_cost.add(one.limit_cost.values[0])
        self._podstead.ask(request("DELETE", path(WRITES)))

    def _growth(self) -> None:
        first = self.figures.stages[100]
        for present, growth in self.figures.growth.items():
            many = self.figures.stages[present]
            pairs = ((growth.podstead, many.cost, first.cost), (growth.limit, many.limit_cost, first.limit_cost))
            for series, now, then in pairs:
                series.add(statistics.median(now.values) / max(statistics.median(then.values), 1e-3))

    def _many(self) -> None:
        plan = self._plan
        if plan.many:
            say(f"what a create costs beside {plan.many:,} objects")
            requests = (creation(MORE, f"more-{number:06d}") for number in range(plan.many - plan.long - plan.short))
            pump(self._podstead.all, shared(requests, self._podstead.all), 201)
            self._stage(plan.many)

    # -- in rounds

    def _prepare(self) -> None:
        """Give the bare server the bytes that podstead answers with."""
        bare, plan = self._bare, self._plan
        one = path(READS, "object-000000")
        body = self._podstead.ask(request("GET", one))
        self._size = len(body)
        bare.answer("GET", one, body)
        bare.answer("POST", path(WRITES), body, 201)
        for namespace, least in ((SHORT, plan.short), (LONG, plan.long)):
            body = self._podstead.ask(request("GET", path(namespace)))
            count = len(json.loads(body)["items"])
            if not least <= count <= least + 1:  # each namespace may have its kube-root-ca.crt
                raise RequestFailed(f"{least} objects were made, {count} are listed")
            bare.answer("GET", path(namespace), body)
            if namespace == LONG:
                for figure in (self.figures.memory_at_once, self.figures.memory):
                    figure.limit.add(len(body) / machine.MEGABYTE)
        self.notes.append(f"a configmap is {self._size} bytes as it is given back")

    def _round(self, first: bool) -> None:
        figures, plan = self.figures, self._plan
        reads = ((figures.get, path(READS, "object-000000")), (figures.short, path(SHORT)), (figures.long, path(LONG)))
        for pair, where in reads:
            for figure, connections in zip(pair, (1, CONNECTIONS), strict=True):
                with self._profiled(figure, first):
                    self._read(figure, where, connections)
        for figure, writers in zip(figures.create, (1, CONNECTIONS), strict=True):
            with self._profiled(figure, first):
                ours, theirs = partial(self._creates, writers), partial(self._rows, writers)
                self._compare(figure, ours, theirs, self._commits.pid)
        self._podstead.ask(request("DELETE", path(WRITES)))
        for figure, writers in zip(figures.update, (1, CONNECTIONS), strict=True):
            with self._profiled(figure, first):
                ours, theirs = partial(self._updates, writers), partial(self._rows, writers, keys=writers)
                self._compare(figure, ours, theirs, self._commits.pid)
        with self._profiled(figures.events, first):
            self._compare(figures.events, self._events, lambda: self._bare_events(self._seen), self._bare.side.pid)
        if self._official is not None:
            self._by_official(*self._official, plan)

    def _profiled(self, figure: Figure, first: bool) -> contextlib.AbstractContextManager[None]:
        return self.profiler.during(figure.name) if self.profiler and first else contextlib.nullcontext()

    def _compare(
        self, figure: Figure, ours: Callable[[], Pumped], theirs: Callable[[], Pumped], limit_pid: int
    ) -> None:
        sides = (
            (ours, self._pid, figure.podstead, figure.cost),
            (theirs, limit_pid, figure.limit, figure.limit_cost),
        )
        for measure, pid, rates, costs in sides:
            used = machine.processor_seconds([pid])
            done = measure()
            costs.add((machine.processor_seconds([pid]) - used) / done.count * MICRO)
            rates.add(done.rate)

    def _read(self, figure: Figure, where: str, connections: int) -> None:
        text, seconds = request("GET", where), self._plan.seconds

        def of(side: Side) -> Pumped:
            used = side.all[:connections]
            return pump(used, again(text, used), 200, seconds)

        self._compare(figure, lambda: of(self._podstead), lambda: of(self._bare.side), self._bare.side.pid)

    def _names(self, count: int) -> list[str]:
        """Return names that were never used."""
        first, self._serial = self._serial, self._serial + count
        return [f"new-{number:08d}" for number in range(first, first + count)]

    def _creates(self, writers: int, count: int = 0) -> Pumped:
        used = self._podstead.all[:writers]
        requests = [creation(WRITES, name) for name in self._names(count or self._plan.writes)]
        return pump(used, shared(requests, used), 201)

    def _rows(self, writers: int, count: int = 0, keys: int = 0, commits: BareCommits | None = None) -> Pumped:
        """The same commits; the writers who wait together share one, which is the best that any server could do."""
        count = count or self._plan.writes
        return Pumped(count, (commits or self._commits).commit(count, writers, self._size, keys))

    def _updates(self, writers: int) -> Pumped:
        used = self._podstead.all[:writers]
        return pump(used, self._serials(writers, self._plan.writes)[1], 200)

    def _serials(self, writers: int, count: int) -> tuple[dict[str, list[int]], list[Iterator[bytes]]]:
        """Return the serials that each object gets, and each writer's requests: it has an object of its own."""
        written: dict[str, list[int]] = {}
        sources = []
        for writer in range(writers):
            first = self._serial = self._serial + 1
            last = first + len(range(writer, count, writers))
            self._serial, name = last, f"object-{writer:06d}"
            written[name] = list(range(first, last))
            sources.append(iter([update(WATCHED, name, serial) for serial in written[name]]))
        return written, sources

    def _events(self) -> Pumped:
        """Update while all watch; what they have seen is compared with what was written."""
        revision = json.loads(self._podstead.ask(request("GET", path(WATCHED))))["metadata"]["resourceVersion"]
        where = f"{path(WATCHED)}?watch=true&resourceVersion={revision}"
        written, sources = self._serials(CONNECTIONS, self._plan.updates)
        with self._watching(self._podstead, where) as watchers:
            done = fan_out(watchers, self._podstead.all, sources, self._plan.updates)
            self._seen = verified(watchers, written)
        return done

    def _bare_events(self, body: bytes) -> Pumped:
        """Send the same bytes to as many clients, as many together as there are writers who wait together."""
        text = request("POST", "/events", body, f"X-Together: {CONNECTIONS}")
        side = self._bare.side
        with self._watching(side, "/events") as watchers:
            side.one[0].set_blocking(True)
            done = fan_out(watchers, side.one, [iter([text])], self._plan.updates)
            if any(watcher.body() != body for watcher in watchers):
                raise RequestFailed("the bare server has sent something else")
        return done

    @contextlib.contextmanager
    def _watching(self, side: Side, where: str) -> Iterator[list[Watcher]]:
        with ExitStack() as stack:
            text = request("GET", where)
            yield [stack.enter_context(closing(Watcher(side.dial, text))) for _ in range(self._plan.watchers)]

    def _by_official(self, ours: Official, bare: Official, plan: Plan) -> None:
        pid = self._bare.side.pid
        figures, seconds = self.figures, plan.seconds

        def compare(figure: Figure, measure: Callable[[Official], Pumped]) -> None:
            self._compare(figure, lambda: measure(ours), lambda: measure(bare), pid)

        compare(figures.official_get, lambda side: side.get(READS, "object-000000", seconds))
        compare(figures.official_list, lambda side: side.list(SHORT, plan.short, seconds))
        compare(figures.official_create, lambda side: side.create(WRITES, f"by-{self._names(1)[0]}", plan.calls))
        self._podstead.ask(request("DELETE", path(WRITES)))


def say(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


async def measure(options: argparse.Namespace) -> tuple[Benchmark, list[str]]:
    """Run it all and clean up, whatever happens; returns the figures and what is known of the machine."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    plan = chosen(options)
    with tempfile.TemporaryDirectory(prefix="podstead-api-", dir=options.directory) as made:
        directory = Path(made)
        instance = Instance(f"api-{os.getpid()}", directory, "auto")
        busy = await asyncio.to_thread(machine.busy_share, 0.1 if options.quick else 1.0)
        load = os.getloadavg()[0]
        try:
            await instance.up()
            benchmark = Benchmark(plan, instance, directory, options.profile)
            await asyncio.to_thread(benchmark.run)
        except BaseException:
            print(instance.last_words(), file=sys.stderr, flush=True)
            raise
        finally:
            # The client's thread, if it still runs, ends with the server's connections.
            await asyncio.shield(instance.purge())
        return benchmark, [
            machine.describe(),
            f"medians of {plan.rounds}; others used {busy:.0%} of the processors in the second before; load average "
            f"{load:.2f} then, {os.getloadavg()[0]:.2f} at the end",
        ]


def chosen(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else FULL
    if options.rounds:
        plan = replace(plan, rounds=options.rounds)
    if options.profile:
        plan = replace(plan, seconds=3 * plan.seconds, writes=3 * plan.writes)
    return replace(plan, many=options.many)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the API server beside bare servers that do the same.")
    parser.add_argument("--quick", action="store_true", help="a little of everything: shows that it works")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all values there")
    parser.add_argument("--rounds", metavar="N", type=int, help=f"times in turn (default {FULL.rounds})")
    parser.add_argument(
        "--many", metavar="N", type=int, nargs="?", const=50_000, default=0, help="creates beside N objects too (50000)"
    )
    parser.add_argument("--directory", metavar="DIR", type=Path, help="keep data below DIR (default: /tmp)")
    parser.add_argument("--profile", action="store_true", help="say where the server's time goes (needs py-spy)")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    benchmark, about = measured(measure(options))
    figures, notes = benchmark.figures.all(), benchmark.notes
    profiles = benchmark.profiler.texts if benchmark.profiler else {}
    found = {"machine": about, "notes": notes, "rows": [figure.as_json() for figure in figures], "profiles": profiles}
    show(table(figures), [*about, *notes], options.json, found)
    for name, text in profiles.items():
        print(f"\n{name}\n{text}")


if __name__ == "__main__":
    main()
