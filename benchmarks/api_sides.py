"""Both sides of api.py: podstead's API and the bare processes that are its limit, asked in the same way."""

from __future__ import annotations

import itertools
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import machine
from podstead.pki import Pki
from raw_client import Connection, Dial, request
from stream_client import Door

REPOSITORY = Path(__file__).resolve().parent.parent
NAMESPACES = "/api/v1/namespaces"
VALUE = 1024
"""Bytes of the value that each configmap holds."""


def path(namespace: str, name: str = "") -> str:
    return f"{NAMESPACES}/{namespace}/configmaps" + (f"/{name}" if name else "")


def configmap(name: str, serial: int = 0) -> dict[str, Any]:
    """Return a configmap with 1 KiB of its own: no two share it in memory."""
    data = {"serial": str(serial), "value": f"{name}-{serial}-".ljust(VALUE, "x")}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def encoded(name: str, serial: int = 0) -> bytes:
    return json.dumps(configmap(name, serial), separators=(",", ":")).encode()


def creation(namespace: str, name: str) -> bytes:
    return request("POST", path(namespace), encoded(name))


def update(namespace: str, name: str, serial: int) -> bytes:
    return request("PUT", path(namespace, name), encoded(name, serial))


class Side:
    """One server and its connections. `one` is a single connection, `all` are as many as are measured together."""

    def __init__(self, pid: int, dial: Dial, connections: int) -> None:
        self.pid = pid
        self.dial = dial
        self.all = [Connection(dial) for _ in range(connections)]
        self.one = self.all[:1]

    def ask(self, text: bytes, *expected: int) -> bytes:
        return self.all[0].ask(text, *expected)

    def close(self) -> None:
        for connection in self.all:
            connection.close()


class BareProcess:
    """A script of this directory, pinned to the server's core; it says and hears lines."""

    def __init__(self, core: int, script: str, *arguments: str | Path) -> None:
        argv = [sys.executable, str(REPOSITORY / "benchmarks" / script), *map(str, arguments)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        machine.pin(self.pid, core)

    @property
    def _output(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def line(self) -> str:
        """Return its next line; raises RuntimeError where it has ended."""
        text = self._output.readline()
        if not text:
            raise RuntimeError(f"{self._process.args!r} has ended")
        return text

    def say(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=10)


class BareApi:
    """bare_api.py: gives back what it was given."""

    def __init__(self, core: int, door: Door, pki: Pki, connections: int) -> None:
        self._process = BareProcess(core, "bare_api.py", pki.server_pem, pki.ca_certificate)
        try:
            self.port = int(self._process.line())
            self.side = Side(self._process.pid, lambda: door.connect(self.port), connections)
        except BaseException:
            self._process.close()
            raise

    def answer(self, method: str, where: str, body: bytes, status: int = 200) -> None:
        """Let it answer a request with these bytes from now on."""
        headers = (f"X-For: {method} {where}", f"X-Status: {status}")
        self.side.ask(request("PUT", "/answers", body, *headers))

    def close(self) -> None:
        self.side.close()
        self._process.close()


class BareCommits:
    """bare_commits.py: SQLite on the same file system as the instance's data."""

    def __init__(self, core: int, database: Path) -> None:
        self._process = BareProcess(core, "bare_commits.py", database)
        self.pid = self._process.pid

    def commit(self, count: int, together: int, size: int, keys: int = 0) -> float:
        """Return the seconds that `count` rows of `size` bytes took, `together` in a transaction."""
        self._process.say(f"{count} {together} {size} {keys}")
        return float(self._process.line())

    def close(self) -> None:
        self._process.close()


def shared(requests: Iterator[bytes] | Sequence[bytes], connections: Sequence[Connection]) -> list[Iterator[bytes]]:
    """Return one iterator for all of these connections: whichever is free takes the next."""
    source = iter(requests)
    return [source] * len(connections)


def again(text: bytes, connections: Sequence[Connection]) -> list[Iterator[bytes]]:
    return shared(itertools.repeat(text), connections)


def tls_of(connection: ssl.SSLSocket) -> str:
    cipher = connection.cipher()
    return f"{connection.version()}, {cipher[0] if cipher else 'no cipher'}"
