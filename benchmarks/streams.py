"""Measures how fast bytes pass through exec and port-forward, one way, beside a bare TLS copy in the same run.

    .venv/bin/python benchmarks/streams.py [--quick] [--json FILE]

Needs root. The instance is the benchmark's own and is removed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import machine
import stream_client as client
from podstead_side import IMAGE, Instance, PodsteadFailed
from program import measured, show

REPOSITORY = Path(__file__).resolve().parent.parent
TARGET = 300.0
"""MB a second, one way."""

WRITER, READER = 9000, 9001
_POD = "streams"
# The second number of a listener in /proc/net/tcp is its port in hexadecimal, 0A its state.
_SERVE = """
nc -ll -p {writer} -e head -c {count} /dev/zero &
nc -ll -p {reader} -e sh -c 'head -c {count} >/dev/null; echo all of it' &
until [ $(grep -c ':232[89] .* 0A ' /proc/net/tcp6) = 2 ]; do sleep 0.05; done
touch /ready
sleep 10000
"""


@dataclass
class Line:
    """One line of the table: MB a second of each round, and processor seconds of the server for each GB."""

    name: str
    measure: Callable[[], float]
    target: float | None = None
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def cost(self) -> float:
        return statistics.median(self.costs)


class BareServer:
    """bare_copy.py as a process of its own."""

    def __init__(self, certificate: Path) -> None:
        argv = [sys.executable, str(REPOSITORY / "benchmarks" / "bare_copy.py"), str(certificate)]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        self.port = int(self._words().readline())

    def _words(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def close(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=10)


def lines(door: client.Door, bare: BareServer, count: int) -> list[Line]:
    return [
        Line("bare TLS copy, server to client", lambda: client.bare_out(door, bare.port, count)),
        Line("exec, output, WebSocket", lambda: client.exec_out_websocket(door, count), TARGET),
        Line("exec, output, SPDY", lambda: client.exec_out_spdy(door, count), TARGET),
        Line(
            "port-forward, from the pod, SPDY in WebSocket",
            lambda: client.forward_out_tunnel(door, WRITER, count),
            TARGET,
        ),
        Line("port-forward, from the pod, SPDY", lambda: client.forward_out_spdy(door, WRITER, count), TARGET),
        Line("bare TLS copy, client to server", lambda: client.bare_in(door, bare.port, count)),
        Line("exec, input, WebSocket", lambda: client.exec_in_websocket(door, count)),
        Line("exec, input, SPDY", lambda: client.exec_in_spdy(door, count)),
        Line("port-forward, to the pod, SPDY in WebSocket", lambda: client.forward_in_tunnel(door, READER, count)),
        Line("port-forward, to the pod, SPDY", lambda: client.forward_in_spdy(door, READER, count)),
    ]


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process itself has used: not its children's, the commands that were run."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(found: list[Line], server: int, bare: BareServer, count: int, rounds: int) -> None:
    """Measure all in turn, `rounds` times: what else the machine does meets them alike."""
    for number in range(rounds):
        print(f"... round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for line in found:
            pid = bare.pid if line.name.startswith("bare") else server
            used = processor_seconds(pid)
            try:
                seconds = line.measure()
            except OSError as error:
                raise PodsteadFailed(f"{line.name}: {error}") from error
            line.costs.append((processor_seconds(pid) - used) / (count / 1e9))
            line.rates.append(count / seconds / machine.MEGABYTE)


def table(found: list[Line]) -> str:
    rows = [["", "MB/s", "of bare", "server, s/GB", "target", ""]]
    limit = found[0].rate
    for line in found:
        if line.name.startswith("bare"):
            limit = line.rate
        target = f">= {line.target:.0f} MB/s" if line.target else ""
        met = "" if line.target is None else ("met" if line.rate >= line.target else "NOT MET")
        rows.append([line.name, f"{line.rate:.0f}", f"{line.rate / limit:.0%}", f"{line.cost:.2f}", target, met])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def show(row: list[str]) -> str:
        cells = [
            cell.rjust(width) if 0 < column < 4 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = ["-" * width if column in (0, 4, 5) else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([show(rows[0]), f"| {' | '.join(rule)} |", *map(show, rows[1:])])


def manifest(count: int) -> dict[str, Any]:
    script = _SERVE.format(writer=WRITER, reader=READER, count=count)
    container = {"name": "c1", "image": IMAGE, "command": ["sh", "-c", script]}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": _POD}, "spec": spec}


async def measure(options: argparse.Namespace) -> tuple[list[Line], list[str]]:
    """Run it all and clean up, whatever happens; returns the lines and what is known of the machine."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    count, rounds = (32 << 20, 1) if options.quick else (options.megabytes << 20, options.rounds)
    with tempfile.TemporaryDirectory(prefix="podstead-streams-") as made:
        directory = Path(made)
        instance = Instance(f"streams-{os.getpid()}", directory, "auto")
        busy = await asyncio.to_thread(machine.busy_share, 1.0)
        try:
            rootfs = directory / "standin.tar"
            await instance.command(str(REPOSITORY / "script" / "make-standin-image"), str(rootfs))
            await instance.up()
            await instance.import_image(rootfs)
            async with instance.api() as api:
                await api.until_running([manifest(count)])
                await api.execute(_POD, "c1", "sh", "-c", "until [ -e /ready ]; do sleep 0.05; done")
            bare = BareServer(next((directory / "data" / "pki").glob("apiserver.pem")))
            try:
                found = lines(client.Door(directory / "data" / "admin.kubeconfig", _POD), bare, count)
                await asyncio.to_thread(run, found, instance.server, bare, count, rounds)
            finally:
                bare.close()
        finally:
            await asyncio.shield(instance.purge())
    return found, [
        machine.describe(),
        f"{count / machine.MEGABYTE:.0f} MB each, median of {rounds}; others used {busy:.0%} of the processors before, "
        f"load average {os.getloadavg()[0]:.2f} at the end; client and pod ran on the same processors",
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the throughput of exec and port-forward.")
    parser.add_argument("--quick", action="store_true", help="32 MB once: shows that it works, not how fast")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all values there")
    parser.add_argument("--megabytes", metavar="N", type=int, default=1024, help="MiB for each (default 1024)")
    parser.add_argument("--rounds", metavar="N", type=int, default=3, help="times in turn (default 3)")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    found, about = measured(measure(options))
    rows = [{"name": line.name, "MB/s": line.rates, "server s/GB": line.costs} for line in found]
    show(table(found), about, options.json, {"machine": about, "rows": rows})


if __name__ == "__main__":
    main()
