"""How a client of port-forward wants to be spoken to: SPDY, SPDY in WebSocket, or WebSocket's numbered channels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from podstead.streams import handshake, tunnel, websocket
from podstead.streams.portforward import SPDY_PROTOCOL, TUNNEL_PROTOCOL, ForwardSession, parse_ports
from podstead.streams.spdy import upgrade as spdy
from podstead.streams.spdy.portforward import SpdyForwardSession
from podstead.streams.upgrade import UpgradeRefused

Accept = Callable[[web.BaseRequest], Awaitable[ForwardSession]]
"""Answers the upgrade; raises UpgradeRefused (400), ConnectionError where the client goes meanwhile."""

_WEBSOCKET = (TUNNEL_PROTOCOL, tunnel.CHANNEL_PROTOCOL, tunnel.BASE64_PROTOCOL)


def choose(request: web.BaseRequest, ports: Sequence[str]) -> Accept:
    """Return how to speak with `request`'s client; `ports` are the query's. Raises UpgradeRefused (400, 403)."""
    if spdy.requested(request):
        return _spdy(spdy.choose(request, (SPDY_PROTOCOL,)))
    if not websocket.requested(request):
        raise handshake.unknown(request)
    offered = websocket.offered(request)
    chosen = next((name for name in _WEBSOCKET if name in offered), None) if offered else ""
    if chosen is None:
        known = ", ".join(_WEBSOCKET)
        raise UpgradeRefused(403, f"none of the WebSocket subprotocols offered is supported; supported: {known}")
    return _tunnel if chosen == TUNNEL_PROTOCOL else _channels(chosen, ports)


def _spdy(chosen: str) -> Accept:
    async def accept(request: web.BaseRequest) -> ForwardSession:
        carrier, takeover = await spdy.switch(request, chosen)
        return SpdyForwardSession(carrier, takeover)

    return accept


async def _tunnel(request: web.BaseRequest) -> ForwardSession:
    socket = await tunnel.accept(request, TUNNEL_PROTOCOL)
    return SpdyForwardSession(tunnel.WebSocketCarrier(socket), response=socket)


def _channels(chosen: str, values: Sequence[str]) -> Accept:
    try:
        ports = parse_ports(values)
    except ValueError as error:
        raise UpgradeRefused(400, str(error)) from error
    tunnel.ChannelForwardSession.check(ports)

    async def accept(request: web.BaseRequest) -> ForwardSession:
        socket = await tunnel.accept(request, chosen)
        return tunnel.ChannelForwardSession(socket, ports, in_base64=chosen == tunnel.BASE64_PROTOCOL)

    return accept
