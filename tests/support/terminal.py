"""A program on a pseudo-terminal of its own, as a user at a keyboard has it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

DEADLINE = 30.0


class Terminal:
    """`with Terminal(argv, env) as terminal:` the program ends with the block, whatever happens."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], size: tuple[int, int] = (100, 30)) -> None:
        self.output = b""
        self.code: int | None = None
        self._seen = 0
        self._pid, self._master = pty.fork()
        if self._pid == 0:
            try:
                os.execvpe(argv[0], argv, env)
            finally:
                os._exit(127)
        self.resize(*size)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.code is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._master)

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, pattern: str) -> re.Match[bytes]:
        """Wait for output that matches, behind what was waited for before."""
        deadline = time.monotonic() + DEADLINE
        while not (found := re.compile(pattern.encode()).search(self.output, self._seen)):
            assert self._read(deadline), f"no {pattern!r} in {self.output[self._seen :]!r}"
        self._seen = found.end()
        return found

    def end(self) -> int:
        """Read to the program's end and return its exit code."""
        deadline = time.monotonic() + DEADLINE
        while self._read(deadline):
            pass
        assert time.monotonic() < deadline, f"still runs; printed {self.output!r}"
        self.code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self.code

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return False
        try:
            chunk = os.read(self._master, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            return False
        self.output += chunk
        return bool(chunk)
