"""pods/log: the query is checked here, the text comes from the node as it is written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from urllib.parse import quote, urlencode

from aiohttp import web

from podstead.apiserver import containers
from podstead.apiserver.answers import Answer
from podstead.apiserver.call import Call
from podstead.apiserver.nodes import NodeRequest
from podstead.apiserver.request import flag, integer, text
from podstead.objects.errors import FieldError, StatusError, bad_request, invalid
from podstead.registry.entry import Entry
from podstead.streams import websocket
from podstead.streams.dialer import NodeDialer
from podstead.streams.outflow import Outflow
from podstead.streams.upgrade import TakenOver, UpgradeRefused

_TEXT = "text/plain"
_FLAGS = ("follow", "previous", "timestamps")
_NUMBERS = {"tailLines": 0, "sinceSeconds": 1, "limitBytes": 1}
"""The smallest value of each."""
_STREAMS = ("All", "Stderr", "Stdout")
"""KEP-3288."""


async def serve(call: Call, pod: Entry, dialer: NodeDialer) -> web.StreamResponse | Answer:
    """Stream a container's log. Raises StatusError: 422 for its options, 400 for the container, the node's own."""
    query = log_query(call.info.query, call.info.name)
    container = containers.pick(pod.object, text(call.info.query, "container"))
    node = containers.node_of(pod.object)
    if not node:
        # Nothing runs yet, so there is no log yet: not an error in Kubernetes.
        return await _send(call, _nothing()) if websocket.requested(call.request) else Answer(b"", 200, _TEXT)
    target = f"/containerLogs/{quote(pod.namespace)}/{quote(pod.name)}/{quote(container)}"
    if query:
        target += "?" + urlencode(query)
    async with await NodeRequest.open(dialer, node) as request:
        await request.send("GET", target, [(b"Host", quote(node).encode()), (b"Connection", b"close")])
        if request.status != 200:
            raise await request.failure()
        return await _send(call, request.body())


async def _send(call: Call, pieces: AsyncIterator[bytes]) -> web.StreamResponse:
    try:
        if websocket.requested(call.request):
            return await _send_messages(call, pieces)
        response = await call.stream(_TEXT)
        async for data in pieces:
            await response.write(data)
        await response.write_eof()
    except ConnectionResetError:
        # Either end is gone. The client must not take a log that broke off for a whole one.
        if call.request.transport is not None:
            call.request.transport.abort()
        return TakenOver()
    return response


async def _send_messages(call: Call, pieces: AsyncIterator[bytes]) -> web.StreamResponse:
    """Send the log over WebSocket. Raises StatusError for the handshake, ConnectionResetError."""
    try:
        outflow = await Outflow.accept(call.request)
    except UpgradeRefused as refused:
        raise StatusError(refused.code, "Forbidden" if refused.code == 403 else "BadRequest", refused.message) from None
    call.streaming = outflow.response
    await outflow.send_all(pieces)
    await outflow.close()
    return outflow.response


async def _nothing() -> AsyncIterator[bytes]:
    none: tuple[bytes, ...] = ()
    for piece in none:
        yield piece


def log_query(query: Mapping[str, list[str]], name: str) -> dict[str, str]:
    """Return the node's query for a request's. Raises StatusError 400, 422 (PodLogOptions)."""
    checked = {key: "true" for key in _FLAGS if flag(query, key)}
    problems = []
    for key, least in _NUMBERS.items():
        number = integer(query, key)
        if number is None:
            continue
        checked[key] = str(number)
        if number < least:
            bound = f"greater than {least - 1}" if least else "greater than or equal to 0"
            problems.append(FieldError(key, "FieldValueInvalid", f"Invalid value: {number}: must be {bound}"))
    since = text(query, "sinceTime")
    if since:
        checked["sinceTime"] = _timestamp(since)
        if "sinceSeconds" in checked:
            why = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
            problems.append(FieldError("[]", "FieldValueForbidden", why))
    stream = text(query, "stream")
    if stream and stream not in _STREAMS:
        why = f'Unsupported value: "{stream}": supported values: "All", "Stderr", "Stdout"'
        problems.append(FieldError("stream", "FieldValueNotSupported", why))
    elif stream:
        checked["stream"] = stream
        if stream != "All" and "tailLines" in checked:
            why = "Forbidden: `tailLines` and specific `stream` are mutually exclusive for now"
            problems.append(FieldError("[]", "FieldValueForbidden", why))
    if problems:
        raise invalid("PodLogOptions", name, problems)
    return checked


def _timestamp(value: str) -> str:
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise bad_request(f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": it is not an RFC 3339 time')
    return value
