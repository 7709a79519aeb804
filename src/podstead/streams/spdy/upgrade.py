"""The upgrade of an HTTP request to SPDY/3.1, and the choice of the protocol that is spoken in its streams.

Kubernetes' own headers: the client offers in `X-Stream-Protocol-Version`, the answer echoes the one that is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from podstead.streams.carrier import RawCarrier
from podstead.streams.upgrade import Takeover, UpgradeRefused

OFFERED = "X-Stream-Protocol-Version"
ACCEPTED = "X-Accepted-Stream-Protocol-Versions"
STREAM_TIMEOUT = 30.0
"""Seconds that a client has to open the streams that belong together."""


def requested(request: web.BaseRequest) -> bool:
    """Whether `request` asks for an upgrade to SPDY/3.1."""
    return request.headers.get("Upgrade", "").strip().lower() == "spdy/3.1"


def choose(request: web.BaseRequest, known: Sequence[str]) -> str:
    """Return the first that the client offers of what is `known`; raises UpgradeRefused (400, 403)."""
    headers = request.headers.getall(OFFERED, [])
    offered = [name.strip() for header in headers for name in header.split(",") if name.strip()]
    if not offered:
        raise UpgradeRefused(400, f"unable to upgrade: {OFFERED} is required")
    for name in offered:
        if name in known:
            return name
    message = f"unable to negotiate protocol: client supports [{' '.join(offered)}], server accepts [{' '.join(known)}]"
    raise UpgradeRefused(403, f"unable to upgrade: {message}", {ACCEPTED: ", ".join(known)})


async def switch(request: web.BaseRequest, chosen: str) -> tuple[RawCarrier, Takeover]:
    """Answer 101 and take the connection over; raises ConnectionError where the client has gone."""
    carrier = RawCarrier()
    takeover = Takeover(request, carrier)
    head = (
        f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n{OFFERED}: {chosen}\r\n\r\n"
    )
    await carrier.send(head.encode())
    return carrier, takeover
