"""A connection to a container's main process through conmon's attach socket.

conmon (2.1.6) speaks SOCK_SEQPACKET: each packet to the client is a byte 2 (stdout) or 3 (stderr) and up to 8 KiB; what
the client sends is stdin. A client that does not read blocks the container's output, so the socket is always drained,
into a bounded buffer; whoever does not keep up with it is cut off.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

from podstead.node.runtime.base import RuntimeFailure

BUFFER_LIMIT = 1 << 20
_PACKET, _CHUNK = 32 << 10, 8 << 10
_STREAMS = {2: 1, 3: 2}


class ConmonAttach:
    """AttachStream over conmon's socket and control FIFO in `bundle`."""

    def __init__(self, bundle: Path, connection: socket.socket) -> None:
        self._bundle = bundle
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._packets: deque[tuple[int, bytes]] = deque()
        self._buffered = 0
        self._arrived = asyncio.Event()
        self._blocked: asyncio.Future[None] | None = None
        self._open = True
        self._cut = False
        self._loop.add_reader(connection, self._drain)

    @classmethod
    def connect(cls, bundle: Path) -> ConmonAttach:
        """Raises RuntimeFailure where no monitor listens."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            # Through a descriptor, since the path itself may be longer than sun_path's 107 bytes.
            directory = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                connection.connect(f"/proc/self/fd/{directory}/attach")
            finally:
                os.close(directory)
        except OSError as error:
            connection.close()
            raise RuntimeFailure(f"cannot attach to the container: {error.strerror}") from error
        return cls(bundle, connection)

    def _drain(self) -> None:
        try:
            packet = self._socket.recv(_PACKET)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._shut()
            return
        self._packets.append((_STREAMS.get(packet[0], 1), packet[1:]))
        self._buffered += len(packet)
        if self._buffered > BUFFER_LIMIT:
            self._cut = True
            self._shut()
        self._arrived.set()

    def _shut(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._unblock()
        self._arrived.set()

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """As AttachStream.output; raises RuntimeFailure if the caller was too slow (1 MiB behind)."""
        while True:
            while self._packets:
                stream, data = self._packets.popleft()
                self._buffered -= len(data) + 1
                yield stream, data
            if not self._open:
                break
            self._arrived.clear()
            await self._arrived.wait()
        if self._cut:
            raise RuntimeFailure("the attached client does not read fast enough")

    async def write(self, data: bytes) -> None:
        """Send to the container's stdin; waits while it does not read. What comes after its end is dropped."""
        for start in range(0, len(data), _CHUNK):
            await self._send(data[start : start + _CHUNK])

    async def _send(self, chunk: bytes) -> None:
        while self._open:
            try:
                self._socket.send(chunk)
                return
            except BlockingIOError:
                await self._writable()
            except OSError:
                return

    async def _writable(self) -> None:
        """Wait until the socket takes more, or has been closed."""
        self._blocked = self._loop.create_future()
        self._loop.add_writer(self._socket, self._unblock)
        await self._blocked

    def _unblock(self) -> None:
        if self._open:
            self._loop.remove_writer(self._socket)
        if self._blocked is not None and not self._blocked.done():
            self._blocked.set_result(None)

    async def close_stdin(self) -> None:
        if self._open:
            self._socket.shutdown(socket.SHUT_WR)

    async def resize(self, width: int, height: int) -> None:
        """Set the terminal's size in characters."""
        try:
            control = os.open(self._bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return  # ENXIO: the monitor has ended, and the terminal with it
        try:
            os.write(control, f"1 {height} {width}\n".encode())
        finally:
            os.close(control)

    async def close(self) -> None:
        self._shut()
