"""HTTP/1.1 to a node's server over a dialed stream: one request, its answer's head, and the body as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType

import h11
import msgspec
from aiohttp import web

from podstead.apiserver.splice import Stream
from podstead.objects.errors import StatusError, bad_request, internal_error
from podstead.streams.dialer import NodeDialer, NodeUnreachable

_CHUNK = 64 * 1024
_HEAD_LIMIT = 64 * 1024
_HEAD_SECONDS = 30.0
_ERROR_BODY_LIMIT = 256 * 1024


class NodeRequest:
    """One request to a node's server. Use as `async with`: leaving it closes the connection."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.status = 0
        self.head = b""
        """The answer's head as received, with the empty line that ends it."""
        self._given_away = False
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)

    @classmethod
    async def open(cls, dialer: NodeDialer, node: str) -> NodeRequest:
        """Connect to `node`; raises StatusError 500 where it cannot be reached."""
        try:
            return cls(Stream(*await dialer.dial(node)))
        except NodeUnreachable as error:
            raise internal_error(f"error dialing backend: {error}") from error

    async def __aenter__(self) -> NodeRequest:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._given_away:
            return
        if kind is None:
            await self.stream.close()
        else:
            self.stream.writer.transport.abort()

    async def send(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[bytes, bytes]],
        sent: web.BaseRequest | None = None,
    ) -> None:
        """Send a request with the body of `sent` (none: without) and wait for the answer's head.

        Raises StatusError 500, ConnectionError where the body breaks off.
        """
        try:
            request = h11.Request(method=method, target=target, headers=list(headers))
            self.stream.writer.write(self._http.send(request) or b"")
            if sent is not None:
                async for part in sent.content.iter_any():
                    self.stream.writer.write(self._http.send(h11.Data(part)) or b"")
                    await self.stream.writer.drain()
            async with asyncio.timeout(_HEAD_SECONDS):
                self.stream.writer.write(self._http.send(h11.EndOfMessage()) or b"")
                await self.stream.writer.drain()
                self.head = await self.stream.reader.readuntil(b"\r\n\r\n")
            self.status = int(self.head.split(b" ", 2)[1])
        except h11.LocalProtocolError as error:
            raise bad_request(f"the request cannot be passed on: {error}") from error
        except TimeoutError as error:
            raise internal_error(f"the node did not answer within {_HEAD_SECONDS:.0f} seconds") from error
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, ValueError) as error:
            raise internal_error("the node's answer is not HTTP, or it closed the connection") from error

    def give_away(self) -> Stream:
        """Return the connection, for good: whoever takes it closes it."""
        self._given_away = True
        return self.stream

    def header(self, name: str) -> str:
        """Return a header of the answer, "" where it has none such."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name.lower().encode():
                return value.decode("latin-1").strip()
        return ""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers of the answer, in their order."""
        lines = (line.partition(b":") for line in self.head.split(b"\r\n")[1:] if b":" in line)
        return [(name.strip(), value.strip()) for name, _, value in lines]

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the answer's body as it arrives. Raises ConnectionResetError where it breaks off."""
        self._http.receive_data(self.head)
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise ConnectionResetError("the node's answer broke off") from error
            if event is h11.NEED_DATA:
                self._http.receive_data(await self.stream.reader.read(_CHUNK))
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                return

    async def failure(self) -> StatusError:
        """Return the error that an answer other than success stands for: its Status, or its text."""
        data = b""
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                async for part in self.body():
                    data += part
                    if len(data) > _ERROR_BODY_LIMIT:
                        break
        except (OSError, TimeoutError):
            pass
        try:
            status = msgspec.json.decode(data)
            if isinstance(status, dict) and status.get("kind") == "Status":
                return StatusError.from_status(status)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        reason = {400: "BadRequest", 403: "Forbidden", 404: "NotFound"}.get(self.status, "InternalError")
        code = self.status if self.status >= 400 else 500
        return StatusError(code, reason, data.decode(errors="replace").strip() or f"the node answered {self.status}")
