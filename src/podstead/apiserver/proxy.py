"""pods/exec and pods/attach: find the node, pass the upgrade on to its server, and join the two connections.

The handshake (WebSocket or SPDY, its subprotocol) is the node's to answer; what it says goes to the client verbatim.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from aiohttp import web

from podstead.apiserver import containers
from podstead.apiserver.call import Call, TakenOver
from podstead.apiserver.nodes import NodeRequest
from podstead.apiserver.request import flag, text
from podstead.apiserver.splice import Taken, splice
from podstead.objects.errors import bad_request
from podstead.registry.entry import Entry
from podstead.streams.dialer import NodeDialer

SUBRESOURCES = ("attach", "exec")

# The API's parameters and the kubelet's.
_STREAMS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
# Not the node's business: credentials, and what describes the connection to this server.
_DROPPED = {b"host", b"authorization", b"cookie", b"content-length", b"transfer-encoding", b"expect", b"te", b"trailer"}


async def serve(call: Call, pod: Entry, dialer: NodeDialer) -> web.StreamResponse:
    """Serve an exec or attach until it ends. Raises StatusError as long as nothing has been answered."""
    container = containers.pick(pod.object, text(call.info.query, "container"))
    node = containers.node_of(pod.object)
    if not node:
        raise bad_request(f"pod {pod.name} does not have a host assigned")
    if "upgrade" not in call.request.headers.get("Connection", "").lower():
        raise bad_request("Upgrade request required")
    kind = call.info.subresource
    target = f"/{kind}/{quote(pod.namespace)}/{quote(pod.name)}/{quote(container)}?{_query(call.info.query, kind)}"
    async with await NodeRequest.open(dialer, node) as request:
        await request.send(call.info.method, target, _headers(call.request, node))
        if request.status != 101:
            raise await request.failure()
        taken = Taken(call.request)
        call.streaming = TakenOver()
        try:
            taken.stream.writer.write(request.head)
            await splice(taken.stream, request.stream)
        finally:
            await taken.release()
    return call.streaming


def _query(query: Mapping[str, list[str]], kind: str) -> str:
    pairs = [(theirs, "1") for ours, theirs in _STREAMS.items() if flag(query, ours)]
    if kind == "exec":
        pairs = [("command", word) for word in query.get("command", [])] + pairs
    return urlencode(pairs)


def _headers(request: web.BaseRequest, node: str) -> list[tuple[bytes, bytes]]:
    headers = [(b"Host", quote(node).encode())]
    headers += [(name, value) for name, value in request.raw_headers if name.lower() not in _DROPPED]
    if request.method == "POST":
        headers.append((b"Content-Length", b"0"))
    return headers
