"""HTTP/1.1 clients that cost little: prepared bytes out over TLS that is kept alive, exactly one answer in.

What a client spends must not hide what the server does: no library between the sockets and the loop, heads are parsed
for their status and length only, bodies stay in the buffer that they were read into.
"""

from __future__ import annotations

import gc
import json
import math
import select
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

TIMEOUT = 60.0
_IDLE = 60.0
"""Seconds after which a connection is made anew: servers close those that nobody uses."""
_BUFFER = 64 << 10
_EVENT_END = b"}\n"

Dial = Callable[[], ssl.SSLSocket]


class RequestFailed(Exception):
    """An answer is not what was expected, or none came."""


@dataclass(frozen=True, slots=True)
class Pumped:
    """What was done: `count` operations in `seconds`."""

    count: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.count / self.seconds


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json", *headers]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """One connection, one request at a time. `status` and `body` are of the last answer."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._socket = dial()
        self._used = time.monotonic()
        self._buffer = memoryview(bytearray(_BUFFER))
        self._filled = 0
        self._end: int | None = None
        self._chunk: int | None = None
        """Where the next chunk's head begins, in a body that comes in chunks."""
        self._parts: list[memoryview] = []
        self._body = 0
        self.status = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def set_blocking(self, blocking: bool) -> None:
        self._socket.settimeout(TIMEOUT if blocking else 0.0)

    def renew(self) -> None:
        """Make sure, before it is used again, that the server still wants it."""
        now = time.monotonic()
        if now - self._used > _IDLE:
            self._socket.close()
            self._socket = self._dial()
        self._used = now

    def send(self, request: bytes) -> None:
        """Send a request; one that is small enough for the socket's buffer where it does not block."""
        self._filled, self._end, self._chunk, self._parts, self.status = 0, None, None, [], 0
        self._socket.sendall(request)

    def advance(self) -> bool:
        """Read what is there, or block where the connection does; tells whether the answer is whole."""
        while self._end is None or self._filled < self._end:
            if self._filled == len(self._buffer):
                self._grow(2 * len(self._buffer))
            try:
                size = self._socket.recv_into(self._buffer[self._filled :])
            except ssl.SSLWantReadError:
                return False
            if not size:
                raise RequestFailed("the server closed the connection")
            self._filled += size
            if not self.status:
                self._head()
            if self._chunk is not None:
                self._chunks()
        if self._filled > self._end:
            raise RequestFailed("more than one answer came")
        return True

    @property
    def body(self) -> bytes:
        if self._parts:
            return b"".join(self._parts)
        return bytes(self._buffer[self._body : self._filled])

    def ask(self, request: bytes, *expected: int) -> bytes:
        """Return the body of the answer; blocking. Raises RequestFailed at another status than those `expected`."""
        self.renew()
        self.set_blocking(True)
        self.send(request)
        self.advance()
        self.check(*(expected or (200,)))
        return self.body

    def check(self, *expected: int) -> None:
        if self.status not in expected:
            raise RequestFailed(f"{self.status}: {self.body[:500].decode(errors='replace')}")

    def close(self) -> None:
        self._socket.close()

    def _head(self) -> None:
        start = bytes(self._buffer[: min(self._filled, _BUFFER)])
        end = start.find(b"\r\n\r\n")
        if end < 0:
            return
        head = start[:end].lower()
        self.status = int(head[9:12])
        self._body = end + 4
        at = head.find(b"\r\ncontent-length:")
        if at >= 0:
            value = head[at + 17 :].split(b"\r\n", 1)[0]
            self._end = self._body + int(value)
            if self._end > len(self._buffer):
                self._grow(self._end)
        elif b"\r\ntransfer-encoding: chunked" in head:
            self._chunk = self._body
        else:
            raise RequestFailed(f"an answer without a length: {start[:end].decode(errors='replace')}")

    def _chunks(self) -> None:
        """Go past the chunks that are whole."""
        while self._chunk is not None:
            line = bytes(self._buffer[self._chunk : min(self._chunk + 20, self._filled)])
            digits, found, _ = line.partition(b"\r\n")
            if not found:
                return
            size, begin = int(digits, 16), self._chunk + len(digits) + 2
            if self._filled < begin + size + 2:
                return
            self._parts.append(self._buffer[begin : begin + size])
            self._chunk = begin + size + 2
            if size == 0:
                self._end, self._chunk = self._chunk, None

    def _grow(self, size: int) -> None:
        grown = memoryview(bytearray(size))
        grown[: self._filled] = self._buffer[: self._filled]
        self._buffer = grown


def pump(
    connections: Sequence[Connection],
    requests: Sequence[Iterator[bytes]],
    status: int = 200,
    seconds: float = math.inf,
) -> Pumped:
    """Send each connection's requests one after the other, until they end or `seconds` are over; all are answered.

    Connections may share an iterator. A single one blocks; several are served from one epoll.
    """
    for connection in connections:
        connection.renew()
    gc.disable()
    try:
        return (_pump_one if len(connections) == 1 else _pump_many)(connections, requests, status, seconds)
    finally:
        gc.enable()


def _pump_one(
    connections: Sequence[Connection], requests: Sequence[Iterator[bytes]], status: int, seconds: float
) -> Pumped:
    (connection,), (source,) = connections, requests
    connection.set_blocking(True)
    began = now = time.perf_counter()
    deadline, count = began + seconds, 0
    for one in source:
        connection.send(one)
        connection.advance()
        if connection.status != status:
            connection.check(status)
        count += 1
        now = time.perf_counter()
        if now >= deadline:
            break
    return Pumped(count, now - began)


def _pump_many(
    connections: Sequence[Connection], requests: Sequence[Iterator[bytes]], status: int, seconds: float
) -> Pumped:
    poll, sources = select.epoll(), {}
    for connection, source in zip(connections, requests, strict=True):
        connection.set_blocking(False)
        poll.register(connection, select.EPOLLIN)
        sources[connection.fileno()] = (connection, source)
    began = time.perf_counter()
    deadline, count, busy = began + seconds, 0, 0
    try:
        for connection, source in sources.values():
            busy += _send_next(connection, source)
        while busy:
            ready = poll.poll(TIMEOUT)
            if not ready:
                raise RequestFailed(f"no answer within {TIMEOUT:.0f} s")
            late = time.perf_counter() >= deadline
            for descriptor, _ in ready:
                connection, source = sources[descriptor]
                if not connection.advance():
                    continue
                if connection.status != status:
                    connection.check(status)
                count += 1
                if late or not _send_next(connection, source):
                    busy -= 1
        return Pumped(count, time.perf_counter() - began)
    finally:
        poll.close()


def _send_next(connection: Connection, source: Iterator[bytes]) -> bool:
    following = next(source, None)
    if following is None:
        return False
    connection.send(following)
    return True


class Watcher:
    """A connection on which events come for ever. `received` is all of the body, with its chunks' heads."""

    def __init__(self, dial: Dial, request: bytes) -> None:
        self._socket = dial()
        self._socket.sendall(request)
        head, found = b"", b""
        while not found:
            piece = self._socket.recv(_BUFFER)
            if not piece:
                raise RequestFailed("the server closed the connection")
            head, found, rest = (head + piece).partition(b"\r\n\r\n")
        if int(head[9:12]) != 200:
            raise RequestFailed(f"watch: {(head + found + rest)[:500].decode(errors='replace')}")
        self._socket.setblocking(False)
        self.received = bytearray(rest)
        self.events = rest.count(_EVENT_END)

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> None:
        """Read what is there, and count the ends of events."""
        while True:
            try:
                piece = self._socket.recv(_BUFFER)
            except ssl.SSLWantReadError:
                return
            if not piece:
                raise RequestFailed(f"a watch ended after {self.events} events")
            split = piece[:1] == b"\n" and self.received[-1:] == b"}"
            self.events += piece.count(_EVENT_END) + split
            self.received += piece

    def body(self) -> bytes:
        """Return the body without its chunks' heads."""
        parts, at = [], 0
        while at < len(self.received):
            end = self.received.index(b"\r\n", at)
            size = int(self.received[at:end], 16)
            parts.append(self.received[end + 2 : end + 2 + size])
            at = end + 2 + size + 2
        return b"".join(parts)

    def close(self) -> None:
        self._socket.close()


def fan_out(
    watchers: Sequence[Watcher], connections: Sequence[Connection], requests: Sequence[Iterator[bytes]], events: int
) -> Pumped:
    """Send requests as `pump` does; counts from the first until every watcher has `events`. All are answered."""
    for connection in connections:
        connection.renew()
    poll = select.epoll()
    sources = {one.fileno(): (one, source) for one, source in zip(connections, requests, strict=True)}
    readers = {one.fileno(): one for one in watchers}
    for descriptor in (*sources, *readers):
        poll.register(descriptor, select.EPOLLIN)
    waiting = set(readers)
    gc.disable()
    began = time.perf_counter()
    busy, ended = 0, began
    try:
        for connection, source in sources.values():
            connection.set_blocking(False)
            busy += _send_next(connection, source)
        while busy or waiting:
            ready = poll.poll(TIMEOUT)
            if not ready:
                raise RequestFailed(f"{len(waiting)} of {len(watchers)} watchers still lack events")
            for descriptor, _ in ready:
                if descriptor in sources:
                    connection, source = sources[descriptor]
                    if connection.advance():
                        connection.check(200)
                        busy -= not _send_next(connection, source)
                    continue
                reader = readers[descriptor]
                reader.read()
                if reader.events >= events and descriptor in waiting:
                    waiting.discard(descriptor)
                    ended = time.perf_counter()
        return Pumped(events * len(watchers), ended - began)
    finally:
        gc.enable()
        poll.close()


def verified(watchers: Sequence[Watcher], written: dict[str, list[int]]) -> bytes:
    """Return the events that all watchers have got. Raises RequestFailed unless every one has all, in order, once.

    `written` are the serials that were written to each object, in the order in which that was answered.
    """
    body = watchers[0].body()
    seen: dict[str, list[int]] = {name: [] for name in written}
    last = 0
    for line in body.splitlines():
        event: dict[str, Any] = json.loads(line)
        metadata = event["object"]["metadata"]
        revision = int(metadata["resourceVersion"])
        if event["type"] != "MODIFIED" or revision <= last:
            raise RequestFailed(f"a watch is out of order: {event['type']} {revision} after {last}")
        last = revision
        seen[metadata["name"]].append(int(event["object"]["data"]["serial"]))
    if seen != written:
        raise RequestFailed("a watch has not shown every update, once and in order")
    if any(other.body() != body for other in watchers[1:]):
        raise RequestFailed("two watchers have seen different events")
    return body
