"""Reads how far a copy has come from the progress bars that skopeo draws on a terminal.

Asking the registry for the manifest beforehand would tell the sizes too, but counts as a second pull where pulls are
limited. A version of skopeo that draws other bars only means that no progress is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Iterator
from fcntl import ioctl
from struct import pack
from termios import TIOCSWINSZ

from podstead.node.runtime.base import Progress

_BAR = re.compile(
    rb"Copying blob (?:sha256:)?([0-9a-f]+)\s+\[[^\]]*\]\s*([0-9.]+)([KMGT]i)?[bB] / ([0-9.]+)([KMGT]i)?[bB]"
)
_UNITS = {b"": 1, b"Ki": 1 << 10, b"Mi": 1 << 20, b"Gi": 1 << 30, b"Ti": 1 << 40}
_DONE = re.compile(rb"Copying blob (?:sha256:)?([0-9a-f]+)\s+done")
_LINE_LIMIT = 4096
_COLUMNS = 160


class Meter:
    """Takes skopeo's output and tells `progress` (bytes arrived, bytes to come in all) when one of them has changed.

    Only what is transferred counts; skopeo begins at most six blobs at once, so that the second number grows.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._blobs: dict[bytes, tuple[int, int]] = {}
        self._rest = b""
        self._told = (0, 0)

    def feed(self, output: bytes) -> None:
        """Take what skopeo wrote, cut anywhere."""
        *lines, rest = (self._rest + output).split(b"\n")
        self._rest = rest[-_LINE_LIMIT:]
        for line in lines:
            if (bar := _BAR.search(line)) is not None:
                self._blobs[bar[1]] = (_bytes(bar[2], bar[3]), _bytes(bar[4], bar[5]))
            elif (done := _DONE.search(line)) is not None and done[1] in self._blobs:
                total = self._blobs[done[1]][1]
                self._blobs[done[1]] = (total, total)
        told = (sum(blob[0] for blob in self._blobs.values()), sum(blob[1] for blob in self._blobs.values()))
        if told != self._told:
            self._told = told
            self._progress(*told)


def _bytes(number: bytes, unit: bytes | None) -> int:
    try:
        return int(float(number) * _UNITS[unit or b""])
    except ValueError:
        return 0


@contextlib.contextmanager
def terminal(progress: Progress) -> Iterator[int]:
    """Give the descriptor of a terminal for a child's stdout; what it writes is read on the loop and metered."""
    meter, loop = Meter(progress), asyncio.get_running_loop()
    master, slave = os.openpty()
    try:
        ioctl(slave, TIOCSWINSZ, pack("HHHH", 50, _COLUMNS, 0, 0))
        os.set_blocking(master, False)

        def readable() -> None:
            try:
                meter.feed(os.read(master, 1 << 16))
            except BlockingIOError:
                pass
            except OSError:  # EIO: nobody has it open any more
                loop.remove_reader(master)

        loop.add_reader(master, readable)
        yield slave
    finally:
        loop.remove_reader(master)
        os.close(master)
        os.close(slave)
