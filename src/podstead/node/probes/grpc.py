"""grpc: a server whose grpc.health.v1 answers SERVING is well. One unary call over HTTP/2 in plain text, by h2.

Source: Kubernetes documentation, "Define a gRPC liveness probe"; the gRPC health checking protocol (health.proto);
gRPC over HTTP/2 (framing, status in the trailers). h2 is imported by the first such probe.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING
from urllib.parse import unquote

from podstead.node.probes.connecting import DialError, connect, describe, join
from podstead.node.probes.result import SUCCESS, USER_AGENT, Result, failure

if TYPE_CHECKING:
    from h2.connection import H2Connection
    from h2.events import Event

_RETRY = 1.0
"""Seconds until a connection that was refused is tried again, as gRPC's own back-off."""
_CHUNK = 16 << 10
_ANSWER_LIMIT = 4096
_STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_SERVING = 1
_UNIMPLEMENTED, _DEADLINE_EXCEEDED = 12, 4
_CODES = (
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
)


class _CallFailed(Exception):
    """The call ended with another status than OK."""

    def __init__(self, code: int, message: str) -> None:
        name = _CODES[code] if 0 <= code < len(_CODES) else f"Code({code})"
        super().__init__(f"rpc error: code = {name} desc = {message}")
        self.code = code
        self.message = message


async def probe_grpc(host: str, port: int, service: str, timeout: float) -> Result:
    """Ask for the health of `service` (empty: the server's own); `timeout` in seconds."""
    await asyncio.to_thread(importlib.import_module, "h2.connection")
    where, connected = join(host, port), False
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await _connect(host, port)
            connected = True
            try:
                status = await _Call(where, service).run(reader, writer)
            finally:
                writer.transport.abort()
    except TimeoutError:
        if connected:
            return failure(f"timeout: health rpc did not complete within {timeout:g}s")
        return failure(f'timeout: failed to connect service "{where}" within {timeout:g}s: context deadline exceeded')
    except _CallFailed as error:
        if error.code == _UNIMPLEMENTED:
            protocol = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
            return failure(f"error: {protocol}: {error.message}")
        if error.code == _DEADLINE_EXCEEDED:
            return failure(f"timeout: health rpc did not complete within {timeout:g}s")
        return failure(f"error: health rpc probe failed: {error}")
    if status == _SERVING:
        return SUCCESS
    name = _STATUSES[status] if status < len(_STATUSES) else str(status)
    return failure(f'service unhealthy (responded with "{name}")')


async def _connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return once the server is there: one that refuses is asked again until the probe's time is over."""
    while True:
        try:
            return await asyncio.open_connection(sock=await connect(host, port), limit=_CHUNK)
        except DialError:
            await asyncio.sleep(_RETRY)


class _Call:
    """grpc.health.v1.Health/Check."""

    def __init__(self, authority: str, service: str) -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        self._http: H2Connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._authority = authority
        self._service = service
        self._data = bytearray()
        self._headers: dict[str, str] = {}
        self._ended = False

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        """Return the ServingStatus; raises _CallFailed."""
        from h2.exceptions import ProtocolError

        try:
            self._ask()
            while not self._ended:
                writer.write(self._http.data_to_send())
                data = await reader.read(_CHUNK)
                if not data:
                    raise _CallFailed(14, "error reading from server: EOF")
                for event in self._http.receive_data(data):
                    self._take(event)
        except ProtocolError as error:
            raise _CallFailed(14, f"connection error: {error}") from error
        except OSError as error:
            raise _CallFailed(14, f"error reading from server: {describe(error)}") from error
        return self._status()

    def _ask(self) -> None:
        self._http.initiate_connection()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", self._authority),
            ("content-type", "application/grpc"),
            ("user-agent", USER_AGENT),
            ("te", "trailers"),
        ]
        message = _request(self._service)
        self._http.send_headers(1, headers)
        self._http.send_data(1, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)

    def _take(self, event: Event) -> None:
        from h2 import events

        if isinstance(event, events.ResponseReceived | events.TrailersReceived):
            self._headers.update((str(name), str(value)) for name, value in event.headers or ())
        elif isinstance(event, events.DataReceived):
            self._data += event.data or b""
            if len(self._data) > _ANSWER_LIMIT:
                raise _CallFailed(8, f"received message larger than max ({len(self._data)} vs. {_ANSWER_LIMIT})")
        elif isinstance(event, events.StreamReset):
            raise _CallFailed(13, f"stream terminated by RST_STREAM with error code: {event.error_code}")
        elif isinstance(event, events.ConnectionTerminated):
            raise _CallFailed(14, "the connection is draining")
        self._ended = self._ended or isinstance(event, events.StreamEnded)

    def _status(self) -> int:
        headers = self._headers
        if headers.get(":status") != "200":
            status = headers.get(":status", "")
            code = {"400": 13, "401": 16, "403": 7, "404": _UNIMPLEMENTED}.get(status, 14)
            raise _CallFailed(code, f"unexpected HTTP status code received from server: {status}")
        text = headers.get("grpc-status", "")
        if not text.isdecimal():
            raise _CallFailed(13, "server closed the stream without sending trailers")
        if int(text) != 0:
            raise _CallFailed(int(text), unquote(headers.get("grpc-message", "")))
        return _response(bytes(self._data))


def _request(service: str) -> bytes:
    """HealthCheckRequest: the service's name is field 1."""
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _response(data: bytes) -> int:
    """HealthCheckResponse: the status is field 1, a varint; left out it is 0. Raises _CallFailed."""
    length = int.from_bytes(data[1:5], "big")
    message = data[5 : 5 + length]
    if len(data) < 5 or data[0] != 0 or len(message) != length:
        raise _CallFailed(13, "grpc: error unmarshalling the health check's response")
    if not message:
        return 0
    if message[0] != 0x08 or len(message) < 2:
        raise _CallFailed(13, "grpc: error unmarshalling the health check's response")
    status = 0
    for place, byte in enumerate(message[1:6]):
        status |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            break
    return status
