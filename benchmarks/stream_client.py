"""Clients of one stream each, as fast as Python's blocking sockets are: what they cost must not hide what is measured.

Every function moves `count` bytes one way and returns the seconds from the first byte asked for to the last.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import yaml

from podstead.streams.spdy import frames
from podstead.streams.spdy.headers import Compressor

PIECE = 32 << 10
"""Bytes of a frame that a client sends, as kubectl's."""

TIMEOUT = 60.0
_BUFFER = 256 << 10
_DONE = b"all of it"
_MASK = b"mask"


class Door:
    """TLS connections to a server, with the administrator's certificate of a kubeconfig."""

    def __init__(self, kubeconfig: Path, pod: str) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        with tempfile.NamedTemporaryFile() as pair:
            for part in ("client-certificate-data", "client-key-data"):
                pair.write(base64.b64decode(user[part]))
            pair.flush()
            self._context.load_cert_chain(pair.name)
        self._port = urlsplit(cluster["server"]).port or 443
        self._pod = f"/api/v1/namespaces/default/pods/{pod}"

    def connect(self, port: int | None = None) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", port or self._port), TIMEOUT)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._context.wrap_socket(raw, server_hostname="127.0.0.1")

    @contextlib.contextmanager
    def upgraded(self, path: str, *headers: str) -> Iterator[ssl.SSLSocket]:
        """Open an upgraded connection to a path below the pod; `headers` are whole lines."""
        lines = [f"GET {self._pod}/{path} HTTP/1.1", "Host: 127.0.0.1", "Connection: Upgrade", *headers, "", ""]
        with self.connect() as connection:
            connection.sendall("\r\n".join(lines).encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                byte = connection.recv(1)
                if not byte:
                    break
                head += byte
            if head.split(b" ", 2)[1:2] != [b"101"]:
                raise ConnectionError(f"the upgrade was refused: {head!r}")
            yield connection


def websocket(protocol: str) -> Sequence[str]:
    key = base64.b64encode(bytes(16)).decode()
    fixed = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}")
    return (*fixed, f"Sec-WebSocket-Protocol: {protocol}")


def spdy(protocol: str) -> Sequence[str]:
    return ("Upgrade: SPDY/3.1", f"X-Stream-Protocol-Version: {protocol}")


def message(payload: bytes) -> bytes:
    """Return a binary WebSocket message, masked as a client's must be."""
    mask = (_MASK * (len(payload) // 4 + 1))[: len(payload)]
    masked = int.from_bytes(payload) ^ int.from_bytes(mask)
    return struct.pack(">BBQ", 0x82, 0xFF, len(payload)) + _MASK + masked.to_bytes(len(payload))


def streams(*headers: dict[str, str]) -> bytes:
    """Return the frames that open streams 1, 3, 5 ..."""
    compressor = Compressor()
    opened = b""
    for number, each in enumerate(headers):
        body = struct.pack(">IIBB", 2 * number + 1, 0, 0, 0) + compressor.compress(each)
        opened += frames.control(frames.Kind.SYN_STREAM, body)
    return opened


def _take(connection: ssl.SSLSocket, count: int) -> float:
    buffer, taken, began = bytearray(_BUFFER), 0, time.perf_counter()
    while taken < count:
        size = connection.recv_into(buffer)
        if not size:
            raise ConnectionError(f"the stream ended after {taken} of {count} bytes")
        taken += size
    return time.perf_counter() - began


def _give(connection: ssl.SSLSocket, count: int, piece: bytes, end: bytes = _DONE) -> float:
    """Send `count` bytes in `piece`s, then read until `end`, which says that they were taken.

    What the server sends meanwhile (window updates, less than 100 KB) waits in the socket's buffer: one thread reads
    and writes, since two may not on one TLS connection.
    """
    began = time.perf_counter()
    for _ in range(count // PIECE):
        connection.sendall(piece)
    heard = b""
    while end not in heard:
        chunk = connection.recv(_BUFFER)
        if not chunk:
            raise ConnectionError("the stream ended before everything was taken")
        heard = heard[-len(end) :] + chunk
    return time.perf_counter() - began


def bare_out(door: Door, port: int, count: int) -> float:
    with door.connect(port) as connection:
        connection.sendall(b"o" + count.to_bytes(8))
        return _take(connection, count)


def bare_in(door: Door, port: int, count: int) -> float:
    with door.connect(port) as connection:
        connection.sendall(b"i" + count.to_bytes(8))
        return _give(connection, count, bytes(PIECE), b".")


def _exec(command: str, *asked: str) -> str:
    words = [("command", word) for word in ("sh", "-c", command)]
    return f"exec?{urlencode([*words, *((name, '1') for name in asked)])}"


def _writes(count: int) -> str:
    return _exec(f"exec head -c {count} /dev/zero", "stdout")


def _reads(count: int) -> str:
    return _exec(f"head -c {count} >/dev/null; echo {_DONE.decode()}", "stdin", "stdout")


def exec_out_websocket(door: Door, count: int) -> float:
    with door.upgraded(_writes(count), *websocket("v5.channel.k8s.io")) as connection:
        return _take(connection, count)


def exec_in_websocket(door: Door, count: int) -> float:
    with door.upgraded(_reads(count), *websocket("v5.channel.k8s.io")) as connection:
        return _give(connection, count, message(b"\0" + bytes(PIECE)))


def exec_out_spdy(door: Door, count: int) -> float:
    with door.upgraded(_writes(count), *spdy("v4.channel.k8s.io")) as connection:
        connection.sendall(streams({"streamtype": "error"}, {"streamtype": "stdout"}))
        return _take(connection, count)


def exec_in_spdy(door: Door, count: int) -> float:
    with door.upgraded(_reads(count), *spdy("v4.channel.k8s.io")) as connection:
        connection.sendall(streams(*({"streamtype": name} for name in ("error", "stdout", "stdin"))))
        return _give(connection, count, frames.data_head(5, PIECE) + bytes(PIECE))


Wrap = Callable[[bytes], bytes]


def _pair(port: int) -> bytes:
    each = {"port": str(port), "requestid": "0"}
    return streams({"streamtype": "error", **each}, {"streamtype": "data", **each})


def _forward_out(door: Door, headers: Sequence[str], wrap: Wrap, port: int, count: int) -> float:
    with door.upgraded("portforward", *headers) as connection:
        connection.sendall(wrap(_pair(port)))
        return _take(connection, count)


def _forward_in(door: Door, headers: Sequence[str], wrap: Wrap, port: int, count: int) -> float:
    with door.upgraded("portforward", *headers) as connection:
        connection.sendall(wrap(_pair(port)))
        return _give(connection, count, wrap(frames.data_head(3, PIECE) + bytes(PIECE)))


def forward_out_tunnel(door: Door, port: int, count: int) -> float:
    return _forward_out(door, websocket("SPDY/3.1+portforward.k8s.io"), message, port, count)


def forward_in_tunnel(door: Door, port: int, count: int) -> float:
    return _forward_in(door, websocket("SPDY/3.1+portforward.k8s.io"), message, port, count)


def forward_out_spdy(door: Door, port: int, count: int) -> float:
    return _forward_out(door, spdy("portforward.k8s.io"), bytes, port, count)


def forward_in_spdy(door: Door, port: int, count: int) -> float:
    return _forward_in(door, spdy("portforward.k8s.io"), bytes, port, count)
