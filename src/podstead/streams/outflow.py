"""Bytes from the server to a client as WebSocket messages: how a log is read over WebSocket.

Every piece is a message of its own, and an empty one comes first. The client has nothing to say but that it goes.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterable

from aiohttp import ClientError, WSMsgType, web

from podstead.streams import websocket
from podstead.streams.upgrade import UpgradeRefused

BINARY_PROTOCOL, BASE64_PROTOCOL = "binary.k8s.io", "base64.binary.k8s.io"
"""A client that offers none gets binary messages too."""

_PROTOCOLS = (BINARY_PROTOCOL, BASE64_PROTOCOL)
_MESSAGE_LIMIT = 4096
"""Bytes of the largest message that a client may send: none of them means anything."""
_CLOSE_TIMEOUT = 5.0


class Outflow:
    """An open WebSocket; made by `accept`."""

    def __init__(self, socket: web.WebSocketResponse[bool], *, in_base64: bool) -> None:
        self._socket = socket
        self._in_base64 = in_base64

    @classmethod
    async def accept(cls, request: web.BaseRequest) -> Outflow:
        """Answer the handshake; raises UpgradeRefused (400, 403), ConnectionError where the client goes meanwhile."""
        offered = websocket.offered(request)
        chosen = next((name for name in offered if name in _PROTOCOLS), None) if offered else ""
        if chosen is None:
            known = ", ".join(_PROTOCOLS)
            raise UpgradeRefused(403, f"none of the WebSocket subprotocols offered is supported; supported: {known}")
        socket = web.WebSocketResponse(
            timeout=_CLOSE_TIMEOUT,
            protocols=(chosen,) if chosen else (),
            compress=False,
            max_msg_size=_MESSAGE_LIMIT,
        )
        try:
            await socket.prepare(request)
        except web.HTTPBadRequest as refused:
            raise UpgradeRefused(400, refused.text or "bad handshake") from refused
        return cls(socket, in_base64=chosen == BASE64_PROTOCOL)

    @property
    def response(self) -> web.StreamResponse:
        """What the HTTP handler returns."""
        return self._socket

    async def send_all(self, pieces: AsyncIterable[bytes]) -> None:
        """Send `pieces` until their end or until the client goes. Raises what they raise, and ConnectionError."""
        sending = asyncio.create_task(self._send(pieces))
        # Its pings are answered and its close is seen only while somebody reads.
        reading = asyncio.create_task(self._read())
        try:
            await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, reading):
                task.cancel()
            await asyncio.wait((sending, reading))
        if not sending.cancelled():
            sending.result()

    async def close(self) -> None:
        await self._socket.close()

    async def _send(self, pieces: AsyncIterable[bytes]) -> None:
        try:
            await self._message(b"")
            async for piece in pieces:
                await self._message(piece)
        except ClientError as error:
            raise ConnectionResetError(str(error)) from error

    async def _message(self, data: bytes) -> None:
        if self._in_base64:
            await self._socket.send_str(base64.b64encode(data).decode())
        else:
            await self._socket.send_bytes(data)

    async def _read(self) -> None:
        while (await self._socket.receive()).type in (WSMsgType.BINARY, WSMsgType.TEXT):
            pass
