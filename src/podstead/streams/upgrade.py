"""Upgrades of HTTP requests: how they are refused, and a connection taken away from aiohttp for other bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web


class UpgradeRefused(Exception):
    """An upgrade cannot be answered with 101; `code` is HTTP's, `headers` go with the answer."""

    def __init__(self, code: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.headers = headers or {}


class TakenOver(web.StreamResponse):
    """What a handler returns when nothing more may be written on the connection; the server then closes it."""

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class Takeover:
    """The transport of `request`'s client speaks to `protocol` from now on. Raises ConnectionResetError if it is gone.

    The handler returns a TakenOver after `release`. aiohttp does not cancel the handler of a connection that was taken
    when its client goes: `protocol` hears of that.
    """

    def __init__(self, request: web.BaseRequest, protocol: asyncio.Protocol) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        self.transport = transport
        self._http = request.protocol
        # What the client sent behind the request's head, if the parser has kept it (it does after an Upgrade).
        tail: bytes = self._http._message_tail
        self._http._message_tail = b""
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        try:
            transport.resume_reading()  # aiohttp may have paused it
        except RuntimeError:
            pass
        if tail:
            protocol.data_received(tail)

    def release(self) -> None:
        """Have aiohttp forget the connection, once it is closed."""
        # The loop tells only the new protocol that the connection is gone; aiohttp's bookkeeping must hear it too,
        # but not before the handler has returned: it would cancel that.
        asyncio.get_running_loop().call_soon(self._http.connection_lost, None)
