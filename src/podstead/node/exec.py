"""Runs a command in a container for a streaming session, and ends it when the client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from podstead.node.pipes import InputPipe, NobodyReads, OutputPipe, Stdio
from podstead.node.runtime.base import ExecProcess, NotFound, Runtime, RuntimeFailure
from podstead.objects.errors import StatusError, internal_error
from podstead.streams.remotecommand import (
    Channel,
    Input,
    InputEnd,
    Resize,
    Session,
    StreamOptions,
    exit_status,
)

LINGER = 0.1
"""Seconds that output is still read after a command's end while a child that it left behind holds the pipes."""

FIRST_WORDS = 0.05
"""Seconds that what comes first where the runtime's own errors go is kept back, unless the command has ended: if it
could not be started, that is the runtime's word on it, which the client is told in the Status."""

HANG_UP_GRACE = 1.0
"""Seconds from the hang-up that a command gets whose client has gone to its SIGKILL."""

_REAP_TIMEOUT = 5.0


def container_not_found(name: str) -> StatusError:
    """The error of exec and attach where the container is not there or does not run; as the kubelet words it."""
    return internal_error(f'unable to upgrade connection: container not found ("{name}")')


class Endings:
    """Owns the commands from before their start to their end, so that none outlives its client or the server."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._grace = HANG_UP_GRACE

    def start(
        self, runtime: Runtime, container_id: str, stdio: Stdio, argv: list[str], options: StreamOptions
    ) -> asyncio.Task[ExecProcess]:
        """Start a command. The task is never cancelled with its client: what has half started must be ended."""

        async def start() -> ExecProcess:
            try:
                return await runtime.exec(container_id, stdio.exec_config(argv, options))
            finally:
                stdio.release()

        return self._own(asyncio.create_task(start(), name=f"exec {container_id[:12]}"))

    def end(self, starting: asyncio.Task[ExecProcess]) -> None:
        """See a command to its end whose descriptors have been closed: a hang-up first, SIGKILL after a grace."""
        self._own(asyncio.create_task(self._end(starting)))

    async def _end(self, starting: asyncio.Task[ExecProcess]) -> None:
        try:
            process = await starting
            try:
                async with asyncio.timeout(self._grace):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        except RuntimeFailure:
            pass  # It never started; nobody is there to be told.

    def _own(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def hurry(self) -> None:
        """From now on kill at once: the server is closing."""
        self._grace = 0.0

    async def close(self) -> None:
        """Wait for all ends, a few seconds at most."""
        if self._tasks:
            _, stuck = await asyncio.wait(self._tasks, timeout=HANG_UP_GRACE + _REAP_TIMEOUT)
            for task in stuck:
                task.cancel()


class Exec:
    """One command of one client. `container` is the name that messages speak of."""

    def __init__(
        self, runtime: Runtime, endings: Endings, session: Session, options: StreamOptions, container: str
    ) -> None:
        self._runtime = runtime
        self._endings = endings
        self._session = session
        self._options = options
        self._container = container
        self._process: ExecProcess | None = None

    async def run(self, container_id: str, argv: list[str]) -> Mapping[str, Any] | None:
        """Run `argv` to its end and return the Status to finish the session with; None where the client has gone.

        A client that goes, and cancellation, end the command: its terminal hangs up or its pipes break, and what is
        left after HANG_UP_GRACE is killed, by `endings`. Raises OSError where no descriptors are left.
        """
        stdio = Stdio(self._options)
        starting = self._endings.start(self._runtime, container_id, stdio, argv, self._options)
        status: Mapping[str, Any] | None = None
        try:
            async with asyncio.TaskGroup() as group:
                # The input is read from the start on, so that a terminal has its size before the command looks.
                client = group.create_task(self._pump_input(stdio))
                command = group.create_task(self._command(starting, stdio))
                await asyncio.wait((client, command), return_when=asyncio.FIRST_COMPLETED)
                client.cancel()
                command.cancel()
            if not command.cancelled():
                status = command.result()
        finally:
            stdio.close()
            if status is None:
                self._endings.end(starting)
        return status

    async def _command(self, starting: asyncio.Task[ExecProcess], stdio: Stdio) -> Mapping[str, Any]:
        """Attend the command to its end and return the Status of that."""
        try:
            self._process = process = await asyncio.shield(starting)
        except RuntimeFailure as failure:
            return self._failed(failure)
        ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            for channel, output in stdio.outputs.items():
                group.create_task(self._pump_output(channel, output, ended))
            try:
                status = exit_status(await process.wait())
            except RuntimeFailure as failure:
                status = self._failed(failure)
                ended.set_result(False)
            else:
                ended.set_result(True)
            for output in stdio.outputs.values():
                output.linger(LINGER)
        return status

    def _failed(self, failure: RuntimeFailure) -> dict[str, Any]:
        if isinstance(failure, NotFound):
            return container_not_found(self._container).status()
        return internal_error(f"error executing command in container: {failure}").status()

    async def _pump_output(self, channel: Channel, output: OutputPipe, ended: asyncio.Future[bool]) -> None:
        """`ended` is done with the command; False where it could not be started."""
        wanted = channel != Channel.STDOUT or self._options.stdout
        first = channel == (Channel.STDOUT if self._options.tty else Channel.STDERR)
        try:
            while data := await output.read():
                if first:
                    first = False
                    await asyncio.wait((ended,), timeout=FIRST_WORDS)
                    wanted = wanted and not (ended.done() and not ended.result())
                if wanted:
                    await self._session.send(channel, data)
                await asyncio.sleep(0)  # A command that writes without end must not keep the loop from others.
        except ConnectionError:
            pass  # The client has gone: _pump_input sees it too, and ends the command.

    async def _pump_input(self, stdio: Stdio) -> None:
        """Return when the client has gone."""
        stdin = stdio.stdin
        try:
            while (message := await self._session.receive()) is not None:
                if isinstance(message, Resize):
                    stdio.resize(message.width, message.height)
                    if self._process is not None:
                        self._process.resized()
                elif stdin is not None and not await self._feed(stdin, message):
                    stdin = None
        except ConnectionError:
            return

    async def _feed(self, stdin: InputPipe, message: Input | InputEnd) -> bool:
        """Hand input to the command; returns whether it can take more."""
        try:
            if isinstance(message, Input):
                await stdin.write(message.data, self._session.keep_alive)
                return True
            await stdin.end(self._session.keep_alive)
        except NobodyReads:
            stdin.close()
        return False
