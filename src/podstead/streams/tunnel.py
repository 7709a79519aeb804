"""Port-forward over WebSocket: SPDY in binary messages, and the older form with numbered channels.

The older form (`v4.channel.k8s.io`, also in base64) has two channels for each port of the query: 2n for data, 2n + 1
for errors. The first message of each says the port, as uint16 in little-endian. A direction cannot be ended by itself.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import struct
from collections import deque
from collections.abc import Sequence

from aiohttp import ClientError, WSMsgType, web

from podstead.streams.portforward import Forward
from podstead.streams.upgrade import UpgradeRefused

CHANNEL_PROTOCOL = "v4.channel.k8s.io"
BASE64_PROTOCOL = "v4.base64.channel.k8s.io"

_MESSAGE_LIMIT = 4 << 20
_CHANNEL_LIMIT = 1 << 20
_CLOSE_TIMEOUT = 5.0
_MOST_PORTS = 127  # a channel's number is one byte, and each port has two


async def accept(request: web.BaseRequest, protocol: str) -> web.WebSocketResponse[bool]:
    """Answer the handshake; raises UpgradeRefused (400), ConnectionError."""
    socket = web.WebSocketResponse(
        timeout=_CLOSE_TIMEOUT,
        protocols=(protocol,) if protocol else (),
        compress=False,
        max_msg_size=_MESSAGE_LIMIT,
        decode_text=False,
    )
    try:
        await socket.prepare(request)
    except web.HTTPBadRequest as refused:
        raise UpgradeRefused(400, refused.text or "bad handshake") from refused
    return socket


class WebSocketCarrier:
    """A Carrier whose bytes are binary messages."""

    def __init__(self, socket: web.WebSocketResponse[bool]) -> None:
        self._socket = socket

    async def receive(self) -> bytes:
        while True:
            message = await self._socket.receive()
            if message.type is not WSMsgType.BINARY:
                return b""
            if message.data:
                return bytes(message.data)

    async def send(self, *parts: bytes | memoryview) -> None:
        try:
            await self._socket.send_bytes(b"".join(parts))
        except ClientError as error:
            raise ConnectionResetError(str(error)) from error

    async def close(self) -> None:
        try:
            await self._socket.close()
        except (ClientError, ConnectionError):
            pass


class ChannelForward:
    """A Forward over channels 2n and 2n + 1."""

    def __init__(self, session: ChannelForwardSession, number: int, port: int) -> None:
        self._session = session
        self.number = number
        self.port = port
        self.pieces: deque[bytes] = deque()
        self.waiting = 0
        self.arrived = asyncio.Event()
        self.room = asyncio.Event()
        self.ended = False

    async def receive(self) -> bytes:
        while not self.pieces:
            if self.ended:
                return b""
            if self._session.gone:
                raise ConnectionResetError("the client has gone")
            self.arrived.clear()
            await self.arrived.wait()
        piece = self.pieces.popleft()
        self.waiting -= len(piece)
        self.room.set()
        return piece

    async def send(self, data: bytes) -> None:
        await self._session.send(self.number, data)

    async def end(self) -> None:
        # There is no word for it: a client learns it from the end of the connection. Its own data has no reader now.
        self.ended = True
        self.pieces.clear()
        self.arrived.set()
        self.room.set()

    async def finish(self, failure: str = "") -> None:
        await self.end()
        try:
            if failure:
                await self._session.send(self.number + 1, failure.encode())
        except ConnectionError:
            pass
        self._session.finished(self)


class ChannelForwardSession:
    """A ForwardSession over numbered channels; all its connections are those of `ports`, from the start."""

    def __init__(self, socket: web.WebSocketResponse[bool], ports: Sequence[int], *, in_base64: bool) -> None:
        self._socket = socket
        self._in_base64 = in_base64
        self._forwards = [ChannelForward(self, 2 * number, port) for number, port in enumerate(ports)]
        self._waiting = deque(self._forwards)
        self._open = set(self._forwards)
        self._over = asyncio.Event()
        self.gone = False
        self._reading: asyncio.Task[None] | None = None

    @staticmethod
    def check(ports: Sequence[int]) -> None:
        """Raises UpgradeRefused where there are more ports than channels."""
        if len(ports) > _MOST_PORTS:
            raise UpgradeRefused(400, f"{len(ports)} ports are too many for one connection; at most {_MOST_PORTS}")

    @property
    def response(self) -> web.StreamResponse:
        return self._socket

    async def accept(self) -> Forward | None:
        if self._reading is None:
            for forward in self._forwards:
                for channel in (forward.number, forward.number + 1):
                    await self.send(channel, struct.pack("<H", forward.port))
            self._reading = asyncio.create_task(self._read(), name="port-forward")
        if self._waiting:
            return self._waiting.popleft()
        await self._over.wait()
        return None

    async def _read(self) -> None:
        try:
            while (message := await self._socket.receive()).type in (WSMsgType.BINARY, WSMsgType.TEXT):
                number, data = self._decode(bytes(message.data))
                if number % 2 or not data or number // 2 >= len(self._forwards):
                    continue
                forward = self._forwards[number // 2]
                while forward.waiting > _CHANNEL_LIMIT and not forward.ended:
                    forward.room.clear()
                    await forward.room.wait()
                if not forward.ended:
                    forward.pieces.append(data)
                    forward.waiting += len(data)
                    forward.arrived.set()
        finally:
            self.gone = True
            for forward in self._forwards:
                forward.arrived.set()
            self._over.set()

    def _decode(self, message: bytes) -> tuple[int, bytes]:
        if not message:
            return 0, b""
        if not self._in_base64:
            return message[0], message[1:]
        try:
            return message[0] - ord("0"), base64.b64decode(message[1:], validate=True)
        except binascii.Error:
            return 0, b""

    async def send(self, channel: int, data: bytes) -> None:
        """Raises ConnectionError."""
        try:
            if self._in_base64:
                await self._socket.send_str(chr(ord("0") + channel) + base64.b64encode(data).decode())
            else:
                await self._socket.send_bytes(bytes((channel,)) + data)
        except ClientError as error:
            raise ConnectionResetError(str(error)) from error

    def finished(self, forward: ChannelForward) -> None:
        """Take note that a connection is over; the last one ends the session."""
        self._open.discard(forward)
        if not self._open:
            self._over.set()

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))
            self._reading = None
        try:
            await self._socket.close()
        except (ClientError, ConnectionError):
            pass
