"""nodes/proxy, pods/proxy and services/proxy: a request for what a node, pod or service serves over HTTP.

Where it goes is read from the registry's objects, never from the request: to the node's server over the dialer, to
a pod's own address, to an address of a service's Endpoints that belongs to a pod.
https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from podstead.apiserver.answers import Answer
from podstead.apiserver.call import Call
from podstead.apiserver.nodes import NodeRequest
from podstead.apiserver.splice import Stream, splice
from podstead.apiserver.target import Target
from podstead.objects.errors import StatusError, bad_request, service_unavailable
from podstead.registry.registry import Registry
from podstead.streams.dialer import NodeDialer
from podstead.streams.upgrade import TakenOver

SUBRESOURCE = "proxy"
_CONNECT_SECONDS = 30.0
_KUBELET_PORT = 10250
_HOP_BY_HOP = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer"),
        *(b"transfer-encoding", b"upgrade"),
    )
)
# Credentials are this server's business alone.
_DROPPED = frozenset((b"host", b"authorization", b"expect", b"x-forwarded-uri", b"x-forwarded-host"))
_IMPERSONATE = b"impersonate-"
_BODILESS = (204, 304)


@dataclass(frozen=True, slots=True)
class Place:
    """An HTTP server: of `node` over the dialer, or at `host` (an address) and `port`."""

    node: str = ""
    scheme: str = "http"
    host: str = ""
    port: int = 0

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.node or f"{host}:{self.port}"


async def serve(call: Call, target: Target, registry: Registry, dialer: NodeDialer) -> Answer | web.StreamResponse:
    """Pass a request on and its answer back. Raises StatusError 400, 404; 503 where nobody answers."""
    root, path = _split(call.request.raw_path)
    if not path.partition("?")[0] and call.info.method in ("GET", "HEAD"):
        # Else the links of what is served would lead elsewhere.
        return Answer(b"", 301, headers={"Location": f"{root}/{path}"})
    place = _place(registry, target)
    async with await _connect(place, dialer) as request:
        upgrades = "upgrade" in call.request.headers.get("Connection", "").lower()
        headers = _headers(call.request, place, root, upgrades)
        sent = None if upgrades or not call.request.can_read_body else call.request
        await _continue(call.request)
        try:
            await request.send(call.info.method, path if path.startswith("/") else f"/{path}", headers, sent)
        except StatusError as error:
            raise service_unavailable(f"error trying to reach service: {error.message}") from error
        if upgrades and request.status == 101:
            call.streaming = TakenOver()
            await splice(call.request, request.head, request.give_away())
            return call.streaming
        return await _answer(call, request, root)


def _split(raw_path: str) -> tuple[str, str]:
    """Return the URL up to and with `proxy`, and the path and query behind it, as they were sent."""
    found = re.match(r"((?:/+[^/?]+){2}(?:/+namespaces/+[^/?]+)?/+[^/?]+/+[^/?]+/+proxy)(.*)\Z", raw_path)
    if found is None:
        raise bad_request("the path of a proxied request is that of an object, with proxy and the rest behind it")
    return found[1], found[2]


async def _continue(request: web.BaseRequest) -> None:
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


async def _connect(place: Place, dialer: NodeDialer) -> NodeRequest:
    if place.node:
        return await NodeRequest.open(dialer, place.node)
    context = None
    if place.scheme == "https":
        # As a real server: nobody says which authority a pod's certificate would be of.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            return NodeRequest(Stream(*await asyncio.open_connection(place.host, place.port, ssl=context)))
    except (OSError, TimeoutError) as error:
        why = getattr(error, "strerror", "") or str(error) or "i/o timeout"
        raise service_unavailable(
            f"error trying to reach service: dial tcp {place.authority}: connect: {why.lower()}"
        ) from error


def _headers(request: web.BaseRequest, place: Place, root: str, upgrades: bool) -> list[tuple[bytes, bytes]]:
    drop = _DROPPED if upgrades else _DROPPED | _HOP_BY_HOP
    headers = [(b"Host", place.authority.encode())]
    headers += [
        (name, value)
        for name, value in request.raw_headers
        if name.lower() not in drop and not name.lower().startswith(_IMPERSONATE)
    ]
    if not upgrades and request.headers.get("Transfer-Encoding"):
        headers.append((b"Transfer-Encoding", b"chunked"))
    forwarded = [
        (b"X-Forwarded-Uri", request.raw_path.partition("?")[0].encode()),
        (b"X-Forwarded-Host", request.headers.get("Host", "").encode()),
        (b"X-Forwarded-Proto", b"https"),
    ]
    return headers + forwarded


async def _answer(call: Call, request: NodeRequest, root: str) -> web.StreamResponse:
    headers = call.headers()
    for name, value in request.headers():
        if name.lower() == b"location" and value.startswith(b"/") and not value.startswith(b"//"):
            value = root.encode() + value
        if name.lower() not in _HOP_BY_HOP:
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
    response = web.StreamResponse(status=request.status, headers=headers)
    bodiless = call.info.method == "HEAD" or request.status in _BODILESS
    if not bodiless and "Content-Length" not in headers:
        response.enable_chunked_encoding()
    call.streaming = response
    await response.prepare(call.request)
    if not bodiless:
        async for part in request.body():
            await response.write(part)
    await response.write_eof()
    return response


# -- where it goes


def _place(registry: Registry, target: Target) -> Place:
    scheme, name, port = _parts(target)
    match target.info.plural:
        case "nodes":
            return _of_node(registry, scheme, name, port)
        case "pods":
            return _of_pod(registry, target, scheme, name, port)
    return _of_service(registry, target, scheme, name, port)


def _parts(target: Target) -> tuple[str, str, str]:
    """Return scheme, name and port of NAME, NAME:PORT or SCHEME:NAME:PORT. Raises StatusError 400."""
    found = re.fullmatch(r"(?:(https?|):)?([^:]+):([^:]*)|([^:]+)", target.name)
    if found is None:
        raise bad_request(f'invalid {target.info.singular} request "{target.name}"')
    scheme, name, port, alone = found.groups()
    return scheme or "http", alone or name, port or ""


def _present(registry: Registry, resource: str, name: str, namespace: str = "") -> Mapping[str, Any]:
    return registry.resources[resource].core.current(namespace, name).object


def _number(port: str, what: str) -> int:
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise bad_request(f'invalid {what} request: "{port}" is not the number of a port')
    return int(port)


def _of_node(registry: Registry, scheme: str, name: str, port: str) -> Place:
    status = _present(registry, "nodes", name).get("status") or {}
    own = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or _KUBELET_PORT
    if not port or port == str(own):
        return Place(node=name)
    addresses = {one["type"]: one["address"] for one in reversed(status.get("addresses") or ())}
    return Place("", scheme, _allowed(addresses.get("InternalIP", "")), _number(port, "node"))


def _of_pod(registry: Registry, target: Target, scheme: str, name: str, port: str) -> Place:
    pod = _present(registry, "pods", name, target.namespace)
    declared = (one["containerPort"] for container in pod["spec"]["containers"] for one in container.get("ports") or ())
    address = _allowed((pod.get("status") or {}).get("podIP", ""))
    default = 443 if scheme == "https" else 80
    return Place("", scheme, address, _number(port, "pod") if port else next(declared, default))


def _allowed(address: str) -> str:
    """400 for what is no address of a machine: nobody shall reach this one's own through a status that they wrote."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        raise bad_request("address not allowed") from None
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        raise bad_request("address not allowed")
    return address


def _of_service(registry: Registry, target: Target, scheme: str, name: str, port: str) -> Place:
    namespace = target.namespace
    if port.isascii() and port.isdigit():
        ports = _present(registry, "services", name, namespace)["spec"].get("ports") or ()
        named = next((one.get("name", "") for one in ports if one["port"] == int(port)), None)
        if named is None:
            raise service_unavailable(f'no service port {int(port)} found for service "{name}"')
        port = named
    endpoints = _present(registry, "endpoints", name, namespace)
    found = [
        Place("", scheme, address["ip"], one["port"])
        for subset in endpoints.get("subsets") or ()
        for one in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
        if one.get("name", "") == port and _is_of_pod(registry, namespace, address)
    ]
    if not found:
        raise service_unavailable(f'no endpoints available for service "{name}"')
    return random.choice(found)


def _is_of_pod(registry: Registry, namespace: str, address: Mapping[str, Any]) -> bool:
    """Tell whether an endpoint's address is that of the pod that it names: else it could be anybody's."""
    reference = address.get("targetRef") or {}
    if reference.get("kind") != "Pod" or reference.get("namespace", namespace) != namespace:
        return False
    pod = registry.find("pods", reference.get("name", ""), namespace)
    return pod is not None and address["ip"] == (pod.get("status") or {}).get("podIP")
