"""How a client of exec or attach wants to be spoken to: over WebSocket or over SPDY, and in which version."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from podstead.streams import websocket
from podstead.streams.remotecommand import Session, StreamOptions
from podstead.streams.spdy import upgrade as spdy
from podstead.streams.spdy.session import VERSIONS, SpdyHandshake
from podstead.streams.upgrade import UpgradeRefused


class UpgradedSession(Session, Protocol):
    """A session on a connection that came as an HTTP request."""

    @property
    def response(self) -> web.StreamResponse:
        """What the HTTP handler returns."""
        ...


class Handshake(Protocol):
    """What was agreed with a client, before the upgrade is answered."""

    @property
    def failures_inside(self) -> bool:
        """Whether failures are to be told in the session, not by refusing the upgrade."""
        ...

    async def accept(self, request: web.BaseRequest, options: StreamOptions) -> UpgradedSession:
        """Answer the upgrade; raises UpgradeRefused, or ConnectionError where the client goes meanwhile."""
        ...


def choose(request: web.BaseRequest) -> Handshake:
    """Return how to speak with `request`'s client; raises UpgradeRefused where there is no way."""
    if websocket.requested(request):
        return websocket.WebSocketHandshake(websocket.choose(request))
    if spdy.requested(request):
        return SpdyHandshake(spdy.choose(request, tuple(VERSIONS)))
    raise unknown(request)


def unknown(request: web.BaseRequest) -> UpgradeRefused:
    """Return the refusal of a request that asks for no upgrade, or one to something else."""
    asked = request.headers.get("Upgrade", "")
    if not asked:
        return UpgradeRefused(400, "Upgrade request required")
    return UpgradeRefused(400, f"unable to upgrade: WebSocket and SPDY/3.1 are spoken here, not {asked:.100}")
