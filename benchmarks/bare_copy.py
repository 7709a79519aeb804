"""The limit of any stream here: a server of nothing but TLS on uvloop, which sends or takes bytes as it is asked.

    python benchmarks/bare_copy.py SERVER.pem     prints its port, then its processor time after each connection

A client sends one letter and a count of 8 bytes: `o` asks for that many bytes, `i` announces them and gets one at the
end. The server uses the certificate, the protocol and the buffers that podstead's own server uses.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from typing import cast

import uvloop

CHUNK = 64 << 10
_BACKLOG = 256 << 10


class Copy(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._asked = b""
        self._left = 0
        self._began = 0.0
        self._sending: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_BACKLOG)

    def data_received(self, data: bytes) -> None:
        if len(self._asked) < 9:
            self._began = time.process_time()
            missing = 9 - len(self._asked)
            self._asked += data[:missing]
            data = data[missing:]
            if len(self._asked) < 9:
                return
            self._left = int.from_bytes(self._asked[1:])
            if self._asked[:1] == b"o":
                self._sending = asyncio.create_task(self._send())
        if self._asked[:1] == b"i":
            self._left -= len(data)
            if self._left <= 0 and self._transport is not None:
                self._transport.write(b".")

    async def _send(self) -> None:
        assert self._transport is not None
        chunk = bytes(CHUNK)
        while self._left > 0:
            self._transport.write(chunk)
            self._left -= CHUNK
            await self._writable.wait()
            await asyncio.sleep(0)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sending is not None:
            self._sending.cancel()
        print(time.process_time() - self._began, flush=True)


async def main(certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.num_tickets = 0
    server = await asyncio.get_running_loop().create_server(Copy, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
