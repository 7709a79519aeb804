"""conmon, the monitor of one container: it holds the streams, the log and the exit code while the server may die.

conmon (2.1.6) is told everything by options and two inherited pipes: it waits on _OCI_STARTPIPE before it calls the
OCI runtime, so that its identity is on disk and it sits in its cgroup first; and it answers on _OCI_SYNCPIPE with
{"data": PID} or {"data": -1, "message": TEXT}. With --sync it does not fork away: its pid is known before it acts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from podstead.linux import process
from podstead.node.runtime.base import CreateFailed
from podstead.node.runtime.command import RuntimeCommand
from podstead.node.runtime.errors import last_error
from podstead.node.runtime.logfiles import DEFAULT_LIMITS
from podstead.node.runtime.records import ProcessIdentity

_ANSWER_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True)
class Launch:
    """How conmon is to create a container. `bundle` holds config.json; the log's folder exists."""

    container_id: str
    name: str
    program: str
    bundle: Path
    log_path: Path
    exits: Path
    stdin: bool
    stdin_once: bool
    tty: bool
    log_size: int = DEFAULT_LIMITS.size
    """Bytes after which the log goes on in a new file."""

    def argv(self, conmon_path: str, runtime: Sequence[str]) -> list[str]:
        program, *arguments = runtime
        argv = [conmon_path, "--api-version", "1", "--sync", "-c", self.container_id, "-u", self.container_id]
        argv += ["-n", self.name, "-r", program, "-b", str(self.bundle), "-p", str(self.bundle / "pidfile")]
        argv += ["--exit-dir", str(self.exits), "-l", f"k8s-file:{self.log_path}", "--no-sync-log", "--full-attach"]
        argv += ["--log-size-max", str(self.log_size)]
        for argument in arguments:
            argv += ["--runtime-arg", argument]
        if self.stdin:
            argv += ["-i"] if self.stdin_once else ["-i", "--leave-stdin-open"]
        if self.tty:
            argv.append("-t")
        return argv


class Monitor:
    """A conmon that lives, ours or an earlier server's. `ended` is done once it has: then the exit file is written."""

    def __init__(self, identity: ProcessIdentity, ended: asyncio.Future[Any]) -> None:
        self.identity = identity
        self.ended = ended

    @classmethod
    def adopt(cls, identity: ProcessIdentity) -> Monitor | None:
        """Watch one that an earlier server started; None if it is gone."""
        descriptor = identity.open()
        if descriptor < 0:
            return None
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def readable() -> None:
            loop.remove_reader(descriptor)
            if not ended.done():
                ended.set_result(None)

        def done(_: asyncio.Future[None]) -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)

        loop.add_reader(descriptor, readable)
        ended.add_done_callback(done)
        return cls(identity, ended)


async def create(
    launch: Launch,
    conmon_path: str,
    runtime: Sequence[str],
    before: Callable[[ProcessIdentity], Awaitable[None]],
) -> tuple[Monitor, ProcessIdentity]:
    """Start a conmon that creates the container; returns it and the container's first process.

    `runtime` is the OCI runtime's command line before the verb. `before` is awaited with conmon's identity before it
    is called. Raises CreateFailed with the OCI runtime's message; conmon has ended then. To be awaited to its end: it
    leaves conmon running if cancelled.
    """
    sync_read, sync_write = os.pipe2(os.O_CLOEXEC)
    start_read, start_write = os.pipe2(os.O_CLOEXEC)
    errors = os.memfd_create("conmon")
    try:
        try:
            env = RuntimeCommand.environment()
            env |= {"_OCI_SYNCPIPE": str(sync_write), "_OCI_STARTPIPE": str(start_read)}
            child = process.spawn(
                launch.argv(conmon_path, runtime),
                stderr=errors,
                env=env,
                cwd=launch.bundle,  # conmon leaves a file `oom` where it stands when a container runs out of memory
                pass_fds=(sync_write, start_read),
                new_session=True,
            )
        except OSError as error:
            raise CreateFailed(f"cannot start {conmon_path}: {error.strerror}", "CreateContainerError") from error
        finally:
            os.close(sync_write)
            os.close(start_read)
        monitor = Monitor(ProcessIdentity.of(child.pid), asyncio.ensure_future(child.wait()))
        try:
            await before(monitor.identity)
            os.write(start_write, b"\n")
        except BaseException:
            child.kill()
            await monitor.ended
            raise
        pid, message = _answer(await _read_line(sync_read))
        if pid <= 0:
            await monitor.ended
            raise _failure(message.encode() or os.pread(errors, _ANSWER_LIMIT, 0), launch.program)
        return monitor, ProcessIdentity.of(pid)
    finally:
        os.close(sync_read)
        os.close(start_write)
        os.close(errors)


async def _read_line(descriptor: int) -> bytes:
    """Read to the first newline or the end."""
    loop = asyncio.get_running_loop()
    os.set_blocking(descriptor, False)
    line: asyncio.Future[bytes] = loop.create_future()
    data = bytearray()

    def readable() -> None:
        chunk = os.read(descriptor, _ANSWER_LIMIT)
        data.extend(chunk)
        if (not chunk or b"\n" in chunk or len(data) > _ANSWER_LIMIT) and not line.done():
            line.set_result(bytes(data))

    loop.add_reader(descriptor, readable)
    try:
        return await line
    finally:
        loop.remove_reader(descriptor)


def _answer(line: bytes) -> tuple[int, str]:
    try:
        answer = msgspec.json.decode(line)
        return int(answer["data"]), str(answer.get("message", ""))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return -1, line.decode(errors="replace").strip("\x00\n ")


def _failure(output: bytes, program: str) -> CreateFailed:
    return CreateFailed(last_error(output, program) or "the monitor ended before it created the container")
