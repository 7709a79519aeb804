"""httpGet: one GET, followed within the same host; 200 to 399 is well.

HTTP/1.1 by h11 on a connection of its own, which costs a fraction of a client session. Certificates are not verified.
Source: Kubernetes documentation, "Configure Probes", HTTP probes; texts as the kubelet's events have them.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from functools import cache
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import h11

from podstead.node.probes.connecting import DialError, connect, describe, join
from podstead.node.probes.result import BODY_LIMIT, SUCCESS, USER_AGENT, Outcome, Result, errored, failure

_REDIRECTS = (301, 302, 303, 307, 308)
_REDIRECT_LIMIT = 10
_CHUNK = 16 << 10
_PORTS = {"http": 80, "https": 443}
_NEVER_SENT = ("host", "user-agent", "accept", "connection", "content-length", "transfer-encoding", "trailer")
_PATH_SAFE = "/%:@!$&'()*+,;=-._~"
_QUERY_SAFE = _PATH_SAFE + "?"
_TOO_LATE = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"


class _Broken(Exception):
    """The exchange failed; the text follows `Get "URL": ` in the event."""


class _BrokenBody(Exception):
    """The answer began well and did not end."""


def probe_url(scheme: str, host: str, port: int, path: str) -> str:
    """Return the URL of a probe. `path` may have a query; scheme and host in it count for nothing."""
    try:
        parts = urlsplit(path)
    except ValueError:
        parts = SplitResult("", "", path, "", "")
    place = quote(parts.path, safe=_PATH_SAFE)
    if not place.startswith("/"):
        place = f"/{place}"
    return SplitResult(scheme, join(host, port), place, quote(parts.query, safe=_QUERY_SAFE), "").geturl()


async def probe_http(url: str, headers: Sequence[tuple[str, str]], timeout: float) -> Result:
    """GET `url` (of `probe_url`) with the probe's own headers; `timeout` in seconds, for all of it."""
    current = url
    reading_body = [False]
    try:
        async with asyncio.timeout(timeout):
            for _ in range(_REDIRECT_LIMIT):
                status, location, body = await _get(current, _head(headers, current, url), reading_body)
                target = urljoin(current, location)
                if status not in _REDIRECTS or not location or urlsplit(target).hostname != urlsplit(url).hostname:
                    return _judged(status, body)
                current = target
    except DialError as error:
        return failure(f'Get "{current}": {error}')
    except _Broken as error:
        return failure(f'Get "{current}": {error}')
    except _BrokenBody as error:
        return errored(str(error), Outcome.FAILURE)
    except ValueError as error:  # a Location that is no address
        return failure(f'Get "{current}": failed to parse Location header: {error}')
    except TimeoutError:
        if reading_body[0]:
            return errored("context deadline exceeded (Client.Timeout or context cancellation while reading body)")
        return failure(f'Get "{current}": {_TOO_LATE}')
    return failure(f'Get "{current}": stopped after {_REDIRECT_LIMIT} redirects')


def _judged(status: int, body: bytes) -> Result:
    if 300 <= status < 400:
        text = body.decode(errors="replace")
        return Result(Outcome.WARNING, f"Probe terminated redirects, Response body: {text}")
    return SUCCESS if 200 <= status < 300 else failure(f"HTTP probe failed with statuscode: {status}")


def _head(headers: Sequence[tuple[str, str]], current: str, first: str) -> list[tuple[str, str]]:
    """Return the headers to send. The probe's own win; one that is empty takes User-Agent or Accept away."""
    given: dict[str, str] = {}
    for name, value in headers:
        given.setdefault(name.lower(), value)
    own_host = given.get("host") if urlsplit(current).netloc == urlsplit(first).netloc else ""
    sent = [("Host", own_host or urlsplit(current).netloc)]
    for name, default in (("User-Agent", USER_AGENT), ("Accept", "*/*")):
        if value := given.get(name.lower(), default):
            sent.append((name, value))
    sent += [(name, value) for name, value in headers if name.lower() not in _NEVER_SENT]
    return [*sent, ("Connection", "close")]


async def _get(url: str, headers: list[tuple[str, str]], reading_body: list[bool]) -> tuple[int, str, bytes]:
    """Return status, Location and the beginning of the body."""
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    reading_body[0] = False
    if parts.scheme not in _PORTS:
        raise _Broken(f'unsupported protocol scheme "{parts.scheme}"')
    state = h11.Connection(h11.CLIENT)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        request = state.send(h11.Request(method="GET", target=target, headers=headers))
    except h11.LocalProtocolError as error:
        raise _Broken(f"net/http: invalid header field value: {error}") from error
    connection = await connect(host, parts.port or _PORTS[parts.scheme])
    try:
        reader, writer = await _streams(connection, host if secure else "")
    except BaseException:
        connection.close()
        raise
    try:
        writer.write(request or b"")
        state.send(h11.EndOfMessage())
        response = await _response(state, reader)
        location = next((value.decode() for name, value in response.headers if name == b"location"), "")
        reading_body[0] = True
        return response.status_code, location, await _body(state, reader)
    finally:
        transport = writer.transport
        transport.abort()


async def _streams(connection: socket.socket, server: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """`server`: speak TLS to it; an IP address is not sent as a name."""
    if not server:
        return await asyncio.open_connection(sock=connection, limit=_CHUNK)
    try:
        return await asyncio.open_connection(sock=connection, limit=_CHUNK, ssl=_context(), server_hostname=server)
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
            raise _Broken("http: server gave HTTP response to HTTPS client") from error
        raise _Broken(f"remote error: tls: {(error.reason or str(error)).lower().replace('_', ' ')}") from error
    except ConnectionResetError as error:
        raise _Broken("EOF") from error
    except OSError as error:
        raise _Broken(describe(error)) from error


@cache
def _context() -> ssl.SSLContext:
    """Any certificate will do, however weak its key: probes ask for health, not for identity."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


async def _response(state: h11.Connection, reader: asyncio.StreamReader) -> h11.Response:
    """Return the final answer's head."""
    try:
        while True:
            event = state.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(_CHUNK)
                if not data:
                    raise _Broken("EOF")
                state.receive_data(data)
            elif isinstance(event, h11.Response):
                return event
            elif not isinstance(event, h11.InformationalResponse):
                raise _Broken("EOF")
    except h11.RemoteProtocolError as error:
        raise _Broken(f"net/http: HTTP/1.x transport connection broken: malformed HTTP response: {error}") from error
    except OSError as error:
        raise _Broken(f"read: {describe(error)}") from error


async def _body(state: h11.Connection, reader: asyncio.StreamReader) -> bytes:
    """Read BODY_LIMIT bytes at most."""
    body = bytearray()
    try:
        while len(body) < BODY_LIMIT:
            event = state.next_event()
            if event is h11.NEED_DATA:
                state.receive_data(await reader.read(_CHUNK))
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                break
    except h11.RemoteProtocolError as error:
        raise _BrokenBody("unexpected EOF") from error
    except OSError as error:
        raise _BrokenBody(f"read: {describe(error)}") from error
    return bytes(body[:BODY_LIMIT])
