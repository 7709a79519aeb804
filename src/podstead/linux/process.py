"""The one subprocess helper: Popen (vfork, no preexec_fn) and a pidfd, never the loop's own transport.

uvloop's and asyncio's subprocess transports fork the whole process; here a child costs under 1 ms of the loop.
Output of `run` goes to memory files, not pipes: a daemon that a child leaves behind and that inherited the file
cannot keep the caller waiting.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from podstead.linux import namespaces

OUTPUT_LIMIT = 16 << 20


class ProcessError(Exception):
    """A child ended with a non-zero code; the message is its last line of stderr, else of stdout."""

    def __init__(self, argv: Sequence[str], result: Completed) -> None:
        self.argv = list(argv)
        self.result = result
        lines = (result.stderr or result.stdout).decode(errors="replace").strip().splitlines()
        text = lines[-1] if lines else "no output"
        super().__init__(f"{Path(argv[0]).name} ended with code {result.returncode}: {text}")


@dataclass(frozen=True, slots=True)
class Completed:
    """How a child ended: `returncode` is negative for a signal, as in subprocess."""

    returncode: int
    stdout: bytes
    stderr: bytes


class Process:
    """A running child. `pid` is valid until `wait` has returned."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self._exited: asyncio.Future[int] | None = None
        self.pid = popen.pid

    @property
    def returncode(self) -> int | None:
        return self._popen.returncode

    async def wait(self) -> int:
        """Wait for the end (pidfd, no thread) and return the exit code; any number of waiters; cancellation is safe."""
        if self._popen.returncode is not None:
            return self._popen.returncode
        if self._exited is None:
            self._exited = self._watch()
        return await asyncio.shield(self._exited)

    def _watch(self) -> asyncio.Future[int]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        descriptor = os.pidfd_open(self.pid)

        def ended() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            code = self._popen.wait()
            if not future.done():
                future.set_result(code)

        loop.add_reader(descriptor, ended)
        return future

    def send_signal(self, number: int) -> None:
        """Send a signal; a child that has ended already is not an error."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def spawn(
    argv: Sequence[str],
    *,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    pass_fds: Sequence[int] = (),
    new_session: bool = False,
    mount_namespace: int = -1,
) -> Process:
    """Start a child; raises FileNotFoundError, PermissionError or OSError if it cannot be started.

    `mount_namespace`: a descriptor of the mount namespace for the child, -1 for this process's.
    """

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            pass_fds=tuple(pass_fds),
            start_new_session=new_session,
        )

    return Process(start() if mount_namespace < 0 else namespaces.in_mounts(mount_namespace, start))


async def run(
    argv: Sequence[str],
    *,
    input: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    pass_fds: Sequence[int] = (),
    timeout: float | None = None,
    check: bool = False,
    mount_namespace: int = -1,
) -> Completed:
    """Run a child to its end and return its output (16 MiB of each stream at most); `mount_namespace` as in `spawn`.

    Raises ProcessError if `check` and the code is not 0, TimeoutError after `timeout` seconds (the child is killed
    and reaped first, as when the caller is cancelled), OSError if it cannot be started.
    """
    out, err = os.memfd_create("stdout"), os.memfd_create("stderr")
    source = os.memfd_create("stdin") if input is not None else -1
    try:
        if input is not None:
            os.truncate(source, 0)
            with os.fdopen(os.dup(source), "wb") as file:
                file.write(input)
            os.lseek(source, 0, os.SEEK_SET)
        stdin = source if input is not None else subprocess.DEVNULL
        child = spawn(
            argv,
            stdin=stdin,
            stdout=out,
            stderr=err,
            env=env,
            cwd=cwd,
            pass_fds=pass_fds,
            mount_namespace=mount_namespace,
        )
        try:
            async with asyncio.timeout(timeout):
                code = await child.wait()
        except BaseException:
            child.kill()
            await asyncio.shield(child.wait())
            raise
        result = Completed(code, os.pread(out, OUTPUT_LIMIT, 0), os.pread(err, OUTPUT_LIMIT, 0))
    finally:
        os.close(out)
        os.close(err)
        if source >= 0:
            os.close(source)
    if check and code != 0:
        raise ProcessError(argv, result)
    return result
