"""Joins a streaming session to a container's main process."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from podstead.node.pipes import STALL
from podstead.node.runtime.base import AttachStream, RuntimeFailure
from podstead.objects.errors import internal_error
from podstead.streams.remotecommand import Channel, Input, Resize, Session, StreamOptions, success


async def run_attach(stream: AttachStream, session: Session, options: StreamOptions) -> Mapping[str, Any] | None:
    """Copy both ways until the container ends (then return the Status to finish with) or the client goes (None).

    `stream` is closed in any case, the container is not touched. A slow client cannot hold up the container: the
    stream drains it into a bounded buffer of its own, and once that is full the client gets the rest of it and a
    failure.
    """
    try:
        async with asyncio.TaskGroup() as group:
            client = group.create_task(_to_container(stream, session, options))
            output = group.create_task(_to_client(stream, session, options))
            await asyncio.wait((client, output), return_when=asyncio.FIRST_COMPLETED)
            client.cancel()
            output.cancel()
        return None if output.cancelled() else output.result()
    finally:
        await stream.close()


async def _to_client(stream: AttachStream, session: Session, options: StreamOptions) -> Mapping[str, Any] | None:
    wanted = {Channel.STDOUT: options.stdout, Channel.STDERR: options.stderr}
    try:
        async for number, data in stream.output():
            channel = Channel(number)
            if wanted[channel]:
                await session.send(channel, data)
    except ConnectionError:
        return None
    except RuntimeFailure as failure:
        return internal_error(f"error attaching to container: {failure}").status()
    return success()


async def _to_container(stream: AttachStream, session: Session, options: StreamOptions) -> None:
    """Return when the client has gone."""
    try:
        while (message := await session.receive()) is not None:
            if isinstance(message, Resize):
                await stream.resize(message.width, message.height)
            elif options.stdin and isinstance(message, Input):
                await _patiently(session, stream.write(message.data))
            elif options.stdin:
                await stream.close_stdin()
    except ConnectionError:
        return


async def _patiently(session: Session, writing: Coroutine[Any, Any, None]) -> None:
    """Await `writing`; meanwhile show the client that its input waits for the container, not for the server."""
    task = asyncio.create_task(writing)
    try:
        while not (await asyncio.wait((task,), timeout=STALL))[0]:
            await session.keep_alive()
        await task
    finally:
        task.cancel()
