"""The descriptors of an exec'd command, pipes or a pty, read and written by the loop; the pipe is the back-pressure."""

from __future__ import annotations

import array
import asyncio
import errno
import fcntl
import os
import struct
import termios
import tty
from collections.abc import Awaitable, Callable

from podstead.node.runtime.base import ExecConfig
from podstead.streams.remotecommand import TRANSFER_SIZE, Channel, StreamOptions

STALL = 5.0
"""Seconds after which a write that waits for its reader says so, and again."""

_PIPE_SIZE = 512 << 10
_END_OF_TRANSMISSION = b"\x04"


class NobodyReads(Exception):
    """The command has closed its input or has ended."""


class _Ready:
    """One waiter for a descriptor to become readable or writable."""

    def __init__(self, descriptor: int, *, write: bool) -> None:
        self._descriptor = descriptor
        self._write = write
        self._waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until the descriptor is ready, or `wake`; returns False after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        add, remove = (loop.add_writer, loop.remove_writer) if self._write else (loop.add_reader, loop.remove_reader)
        self._waiter = loop.create_future()
        add(self._descriptor, self.wake)
        try:
            async with asyncio.timeout(timeout):
                await self._waiter
        except TimeoutError:
            return False
        finally:
            remove(self._descriptor)
            self._waiter = None
        return True


class OutputPipe:
    """The reading end of a pipe, or a pty's master; owns the descriptor. What is not read holds up the writer."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._ready = _Ready(descriptor, write=False)
        self._owed = 0
        self._expired = False
        self._timer: asyncio.TimerHandle | None = None

    async def read(self) -> bytes:
        """Return up to TRANSFER_SIZE bytes; b"" at the end."""
        while not (self._expired and self._owed <= 0):
            try:
                data = os.read(self._descriptor, TRANSFER_SIZE)
            except BlockingIOError:
                if self._expired:
                    break
                await self._ready.wait()
                continue
            except OSError as error:
                if error.errno != errno.EIO:  # EIO: nobody has the pty's slave end open any more
                    raise
                break
            self._owed -= len(data)
            return data
        return b""

    def linger(self, seconds: float) -> None:
        """The command has ended: what it wrote is read whatever time that takes, what a child that it left behind
        goes on writing only for `seconds`."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self._descriptor, termios.FIONREAD, waiting)
        self._owed = waiting[0]
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._expired = True
        self._ready.wake()

    def close(self) -> None:
        """A reader must have ended or been cancelled before."""
        if self._timer is not None:
            self._timer.cancel()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class InputPipe:
    """The writing end of a pipe, or a pty's master; owns the descriptor."""

    def __init__(self, descriptor: int, *, terminal: bool) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._terminal = terminal
        self._line_open = False
        self._ready = _Ready(descriptor, write=True)

    async def write(self, data: bytes, stalled: Callable[[], Awaitable[None]]) -> None:
        """Write all of `data`; awaits `stalled` every STALL seconds while the command does not read.

        Raises NobodyReads, also after `close`, and what `stalled` raises.
        """
        rest = memoryview(data)
        while rest:
            if self._descriptor < 0:
                raise NobodyReads
            try:
                written = os.write(self._descriptor, rest)
            except BlockingIOError:
                if not await self._ready.wait(STALL):
                    await stalled()
                continue
            except OSError as error:
                raise NobodyReads from error
            rest = rest[written:]
        self._line_open = data[-1:] not in (b"\n", b"\r")

    async def end(self, stalled: Callable[[], Awaitable[None]]) -> None:
        """Give the command the end of its input; as `write`."""
        if self._terminal:
            # A terminal has no half-close: the end is typed, twice where the first only hands on an unfinished line.
            await self.write(_END_OF_TRANSMISSION * (2 if self._line_open else 1), stalled)
        else:
            self.close()

    def close(self) -> None:
        """A writer must have ended or been cancelled before."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _pipe() -> tuple[int, int]:
    """Return a pipe's reading and writing end; a large one, since each time that it runs full or empty costs a wait."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    except OSError:
        pass  # This user has as many large pipes as the kernel allows (pipe(7)): the usual size does too.
    return reader, writer


class Stdio:
    """What a command reads and writes, as `options` asks: `theirs` goes to the runtime, the rest is ours.

    `stdin` is None where no input was asked for; `outputs` has the channels that were. Raises OSError where
    descriptors or ptys are used up, and then leaves none open.
    """

    def __init__(self, options: StreamOptions) -> None:
        self._theirs: list[int] = []
        self._master = -1
        self.stdin: InputPipe | None = None
        self.outputs: dict[Channel, OutputPipe] = {}
        try:
            if options.tty:
                self._open_terminal(options)
            else:
                self._open_pipes(options)
        except BaseException:
            self.release()
            self.close()
            raise

    def _open_terminal(self, options: StreamOptions) -> None:
        master, slave = os.openpty()
        # Raw from the start: the runtime joins this to the container's own pty, and that one edits lines. Else what is
        # typed before the runtime gets to it would be echoed twice, and an end of input be lost.
        tty.setraw(slave)
        self._theirs.append(slave)
        # The output is read also where the client does not want it: a full pty would hold up the command.
        self.outputs[Channel.STDOUT] = OutputPipe(master)
        self._master = master
        if options.stdin:
            self.stdin = InputPipe(fcntl.fcntl(master, fcntl.F_DUPFD_CLOEXEC, 0), terminal=True)

    def _open_pipes(self, options: StreamOptions) -> None:
        if options.stdin:
            reader, writer = _pipe()
            self._theirs.append(reader)
            self.stdin = InputPipe(writer, terminal=False)
        for channel, asked in ((Channel.STDOUT, options.stdout), (Channel.STDERR, options.stderr)):
            if asked:
                reader, writer = _pipe()
                self._theirs.append(writer)
                self.outputs[channel] = OutputPipe(reader)

    def exec_config(self, argv: list[str], options: StreamOptions) -> ExecConfig:
        """Return what the runtime is asked for; valid until `release`."""
        ends = iter(self._theirs)
        if options.tty:
            return ExecConfig(argv, tty=True, stdin=next(ends))
        stdin = next(ends) if options.stdin else -1
        stdout = next(ends) if options.stdout else -1
        stderr = next(ends) if options.stderr else -1
        return ExecConfig(argv, stdin=stdin, stdout=stdout, stderr=stderr)

    def resize(self, width: int, height: int) -> None:
        """Set the terminal's size; nothing without one."""
        if self._master >= 0:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def release(self) -> None:
        """Close their ends, once the command has them or could not be started: its end becomes ours to see."""
        while self._theirs:
            os.close(self._theirs.pop())

    def close(self) -> None:
        """Close our ends: a command that still runs sees the end of its input, a broken pipe, a hang-up."""
        if self.stdin is not None:
            self.stdin.close()
        for output in self.outputs.values():
            output.close()
        self._master = -1
