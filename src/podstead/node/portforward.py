"""Joins the connections that a client forwards to ports of a pod."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

from podstead.node.runtime.base import RuntimeFailure
from podstead.streams.portforward import RECEIVE_SIZE, Forward, ForwardSession

log = logging.getLogger(__name__)

Connect = Callable[[int], Awaitable[socket.socket]]
"""Connects to a port of the pod; raises RuntimeFailure, OSError."""


async def run_port_forward(session: ForwardSession, connect: Connect, pod: str, uid: str) -> None:
    """Serve what the client asks for until it goes; `pod` and `uid` are for the messages about failures."""
    forwards: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as group:
        while (forward := await session.accept()) is not None:
            task = group.create_task(_serve(forward, connect, f"pod {pod}, uid {uid}"))
            forwards.add(task)
            task.add_done_callback(forwards.discard)
        for task in forwards:
            task.cancel()


async def _serve(forward: Forward, connect: Connect, pod: str) -> None:
    try:
        connection = await connect(forward.port)
    except (RuntimeFailure, OSError) as failure:
        await forward.finish(f"error forwarding port {forward.port} to {pod}: {failure}")
        return
    with connection:
        try:
            await _join(forward, connection)
        except Exception:
            log.exception("forwarding port %d to %s failed", forward.port, pod)
    await forward.finish()


async def _join(forward: Forward, connection: socket.socket) -> None:
    """Copy both ways until both have ended, or either is cut.

    A connection that the pod cuts is told as an end, not as a failure: kubectl ends all its forwards with a failure.
    """
    async with asyncio.TaskGroup() as group:
        upward = group.create_task(_to_pod(forward, connection))
        downward = group.create_task(_to_client(forward, connection))
        pending = {upward, downward}
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if not all(task.result() for task in done):
                break
        for task in pending:
            task.cancel()


async def _to_pod(forward: Forward, connection: socket.socket) -> bool:
    """Return whether the client's direction ended in good order."""
    loop = asyncio.get_running_loop()
    try:
        while data := await forward.receive():
            await loop.sock_sendall(connection, data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return False
    return True


async def _to_client(forward: Forward, connection: socket.socket) -> bool:
    """Return whether the pod's direction ended in good order."""
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(connection, RECEIVE_SIZE):
            await forward.send(data)
            await asyncio.sleep(0)  # A pod that sends without end must not keep the loop from others.
        await forward.end()
    except OSError:
        return False
    return True
