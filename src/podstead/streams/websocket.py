"""Remotecommand over WebSocket: the choice of a subprotocol, and channels as the first byte of each message."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientError, WSMsgType, web

from podstead.streams.remotecommand import (
    Channel,
    Input,
    InputEnd,
    Message,
    StreamOptions,
    encode_status,
    parse_resize,
)
from podstead.streams.upgrade import UpgradeRefused

MESSAGE_LIMIT = 32 << 20
"""Bytes of the largest message that a client may send."""

_CLOSE_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Subprotocol:
    """One of Kubernetes' WebSocket subprotocols. `base64`: text messages, a digit and then base64."""

    name: str
    version: int
    base64: bool = False

    @property
    def half_close(self) -> bool:
        """Whether the message `[255, channel]` closes a channel."""
        return self.version >= 5


PLAIN = Subprotocol("", 1)
"""What a client speaks that asks for no subprotocol."""

SUBPROTOCOLS = (
    Subprotocol("v5.channel.k8s.io", 5),
    Subprotocol("v4.channel.k8s.io", 4),
    Subprotocol("v4.base64.channel.k8s.io", 4, base64=True),
    Subprotocol("v3.channel.k8s.io", 3),
    Subprotocol("v2.channel.k8s.io", 2),
    Subprotocol("channel.k8s.io", 1),
    Subprotocol("base64.channel.k8s.io", 1, base64=True),
)
"""What this server speaks, best first."""


def negotiate(offered: Sequence[str]) -> Subprotocol | None:
    """Return the best of what a client offers; None where nothing of it is known."""
    if not offered:
        return PLAIN
    return next((known for known in SUBPROTOCOLS if known.name in offered), None)


def offered(request: web.BaseRequest) -> list[str]:
    """Return the subprotocols that a client offers, in its order."""
    headers = request.headers.getall("Sec-WebSocket-Protocol", [])
    return [name.strip() for header in headers for name in header.split(",") if name.strip()]


def requested(request: web.BaseRequest) -> bool:
    """Whether `request` asks for an upgrade to WebSocket."""
    return request.headers.get("Upgrade", "").strip().lower() == "websocket"


def choose(request: web.BaseRequest) -> Subprotocol:
    """Return the subprotocol to speak with `request`'s client; raises UpgradeRefused (403) where there is none."""
    chosen = negotiate(offered(request))
    if chosen is None:
        known = ", ".join(protocol.name for protocol in SUBPROTOCOLS)
        raise UpgradeRefused(403, f"none of the WebSocket subprotocols offered is supported; supported: {known}")
    return chosen


class WebSocketSession:
    """A remotecommand.Session over aiohttp's WebSocket; made by `accept`."""

    def __init__(self, socket: web.WebSocketResponse[bool], subprotocol: Subprotocol) -> None:
        self._socket = socket
        self._subprotocol = subprotocol

    @classmethod
    async def accept(
        cls, request: web.BaseRequest, subprotocol: Subprotocol, options: StreamOptions
    ) -> WebSocketSession:
        """Answer the handshake and greet the client on the lowest writable channel; raises UpgradeRefused (400)."""
        socket = web.WebSocketResponse(
            timeout=_CLOSE_TIMEOUT,
            protocols=(subprotocol.name,) if subprotocol.name else (),
            compress=False,
            max_msg_size=MESSAGE_LIMIT,
            decode_text=False,
        )
        try:
            await socket.prepare(request)
        except web.HTTPBadRequest as refused:
            raise UpgradeRefused(400, refused.text or "bad handshake") from refused
        session = cls(socket, subprotocol)
        await session.send(options.first_output, b"")
        return session

    @property
    def response(self) -> web.StreamResponse:
        """What the HTTP handler returns."""
        return self._socket

    async def receive(self) -> Message | None:
        while True:
            received = await self._socket.receive()
            if received.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return None
            message = self._decode(received.data)
            if message is not None:
                return message

    def _decode(self, data: bytes) -> Message | None:
        if not data:
            return None
        number, payload = data[0], data[1:]
        if self._subprotocol.base64:
            number -= ord("0")
            try:
                payload = base64.b64decode(payload, validate=True)
            except binascii.Error:
                return None
        if number == Channel.STDIN:
            return Input(payload) if payload else None
        if number == Channel.RESIZE:
            return parse_resize(payload)
        if number == Channel.CLOSE and self._subprotocol.half_close and payload == bytes([Channel.STDIN]):
            return InputEnd()
        return None

    async def keep_alive(self) -> None:
        # RFC 6455, 5.5.3: a pong that nobody asked for is a heartbeat. The client's own pings wait behind its data.
        try:
            await self._socket.pong()
        except ClientError as error:
            raise ConnectionResetError(str(error)) from error

    async def send(self, channel: Channel, data: bytes) -> None:
        try:
            if self._subprotocol.base64:
                await self._socket.send_str(f"{channel:d}{base64.b64encode(data).decode()}")
            else:
                await self._socket.send_bytes(bytes((channel,)) + data)
        except ClientError as error:
            raise ConnectionResetError(str(error)) from error

    async def finish(self, status: Mapping[str, Any]) -> None:
        try:
            text = encode_status(status, self._subprotocol.version)
            if text:
                await self.send(Channel.ERROR, text)
            await self._socket.close()
        except ConnectionError:
            pass

    async def close(self) -> None:
        """aiohttp closes the connection when the handler returns."""


class WebSocketHandshake:
    """Remotecommand's upgrade to WebSocket, once `choose` has found what to speak."""

    def __init__(self, subprotocol: Subprotocol) -> None:
        self._subprotocol = subprotocol

    @property
    def failures_inside(self) -> bool:
        """Whether a failure is told in the session: kubectl takes a failed handshake of version 5 for a server
        without WebSocket, and tries SPDY."""
        return self._subprotocol.version >= 5

    async def accept(self, request: web.BaseRequest, options: StreamOptions) -> WebSocketSession:
        """As WebSocketSession.accept."""
        return await WebSocketSession.accept(request, self._subprotocol, options)
