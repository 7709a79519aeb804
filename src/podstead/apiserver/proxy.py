"""pods/exec, attach and portforward: find the node, pass the upgrade on to its server, and join the two connections.

The handshake (WebSocket or SPDY, its subprotocol) is the node's to answer; what it says goes to the client verbatim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote, urlencode

from aiohttp import web

from podstead.apiserver import answers, containers
from podstead.apiserver.answers import Answer
from podstead.apiserver.call import Call
from podstead.apiserver.nodes import NodeRequest
from podstead.apiserver.request import flag, text
from podstead.apiserver.splice import splice
from podstead.objects.errors import bad_request
from podstead.registry.entry import Entry
from podstead.streams.dialer import NodeDialer
from podstead.streams.spdy.upgrade import ACCEPTED
from podstead.streams.upgrade import TakenOver

SUBRESOURCES = ("attach", "exec", "portforward")

# The API's parameters and the kubelet's.
_STREAMS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
# Not the node's business: credentials, and what describes the connection to this server.
_DROPPED = {b"host", b"authorization", b"cookie", b"content-length", b"transfer-encoding", b"expect", b"te", b"trailer"}


async def serve(call: Call, pod: Entry, dialer: NodeDialer) -> Answer | web.StreamResponse:
    """Serve an exec, attach or portforward until it ends. Raises StatusError as long as nothing has been answered."""
    target = _target(call, pod)
    node = containers.node_of(pod.object)
    if not node:
        raise bad_request(f"pod {pod.name} does not have a host assigned")
    if "upgrade" not in call.request.headers.get("Connection", "").lower():
        raise bad_request("Upgrade request required")
    async with await NodeRequest.open(dialer, node) as request:
        await request.send(call.info.method, target, _headers(call.request, node))
        if request.status != 101:
            answer = answers.of_error(await request.failure())
            accepted = request.header(ACCEPTED)
            return replace(answer, headers={**answer.headers, ACCEPTED: accepted}) if accepted else answer
        call.streaming = TakenOver()
        await splice(call.request, request.head, request.give_away())
    return call.streaming


def _target(call: Call, pod: Entry) -> str:
    """Return the path and query of the node's server; raises StatusError 400."""
    query, kind = call.info.query, call.info.subresource
    where = f"{quote(pod.namespace)}/{quote(pod.name)}"
    if kind == "portforward":
        # What a pod's ports may be is the node's to say: with SPDY they come later, in the streams' headers.
        ports = [("port", port) for ports in query.get("ports", []) for port in ports.split(",")]
        return f"/portForward/{where}?{urlencode(ports)}"
    container = containers.pick(pod.object, text(query, "container"))
    return f"/{kind}/{where}/{quote(container)}?{_query(query, kind)}"


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
