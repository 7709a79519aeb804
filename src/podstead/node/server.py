"""The node's server: exec, attach, port-forward and container logs at the kubelet's own paths, for the API server.

A failure before the upgrade is answered with a metav1.Status as JSON. A WebSocket client of version 5 (kubectl) gets it
inside the session instead: kubectl takes a failed handshake for a server without WebSocket and tries SPDY.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec
from aiohttp import web

from podstead import clock
from podstead.client.base import Object
from podstead.linux.inotify import FileWatcher
from podstead.node.attach import run_attach
from podstead.node.exec import Endings, Exec, container_not_found
from podstead.node.logs import LogFile, LogOptions, stream_log
from podstead.node.portforward import run_port_forward
from podstead.node.runtime.base import ContainerState, ContainerStatus, NotFound, Runtime, RuntimeFailure, SandboxStatus
from podstead.node.stats.routes import StatsRoutes
from podstead.objects.errors import StatusError, bad_request, internal_error, method_not_supported, path_not_found
from podstead.streams import forwarding, handshake
from podstead.streams.handshake import Handshake
from podstead.streams.remotecommand import OptionsError, Session, StreamOptions
from podstead.streams.upgrade import TakenOver, UpgradeRefused

log = logging.getLogger(__name__)

_STREAMS = {"All": (b"stdout", b"stderr"), "Stdout": (b"stdout",), "Stderr": (b"stderr",)}
_TRUE, _FALSE = (
    frozenset(("1", "t", "T", "true", "TRUE", "True")),
    frozenset(("", "0", "f", "F", "false", "FALSE", "False")),
)


class PodLookup(Protocol):
    """What the server asks of the node agent: which container a pod's container name stands for."""

    async def find_container(
        self, namespace: str, pod: str, container: str, *, previous: bool = False
    ) -> ContainerStatus:
        """Return the latest attempt, in whatever state, or the one before.

        Raises StatusError: 404 `pods "P" not found`; 400 where there is no such container or attempt (yet):
        `container "C" in pod "P" is waiting to start: REASON`, `previous terminated container "C" ... not found`.
        """
        ...

    async def find_sandbox(self, namespace: str, pod: str) -> SandboxStatus:
        """Return the sandbox that a pod runs in.

        Raises StatusError: 404 `pods "P" not found`; 400 where the pod does not run.
        """
        ...

    async def wait_ended(self, container_id: str) -> None:
        """Return once the container has ended and its log is complete; at once where it is not known (any more)."""
        ...

    def pods(self) -> Sequence[Object]:
        """Return the pods that are bound to this node, as the API server has told of them."""
        ...


class NodeServer:
    """Serves HTTP/1.1 on connections that are handed to it. One that the client closes ends what it asked for."""

    def __init__(self, lookup: PodLookup, runtime: Runtime, stats: StatsRoutes | None = None) -> None:
        self._lookup = lookup
        self._runtime = runtime
        self._stats = stats
        self._endings = Endings()
        self._watcher = FileWatcher()
        self._handlers: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Make ready for `serve`."""
        app = web.Application(middlewares=[self._answer])
        pod = "/{namespace}/{pod}/{container}"
        for method in ("GET", "POST"):
            app.router.add_route(method, "/exec" + pod, self._exec)
            app.router.add_route(method, "/attach" + pod, self._attach)
            app.router.add_route(method, "/portForward/{namespace}/{pod}", self._port_forward)
        app.router.add_get("/containerLogs" + pod, self._logs)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/pods", self._pods)
        if self._stats is not None:
            self._stats.add_to(app.router)
        # With handler_cancellation a client that has gone ends its handler, whatever that waits for.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await self._runner.setup()

    async def close(self) -> None:
        """Cut all connections, end the commands that run for them, and release everything."""
        self._endings.hurry()
        handlers = set(self._handlers)
        for task in handlers:
            task.cancel()
        if handlers:
            await asyncio.wait(handlers)
        await self._endings.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._watcher.close()

    async def serve(self, connection: socket.socket) -> None:
        """Serve a connected stream socket from now on; the server owns it. Raises ConnectionError when closed."""
        if self._runner is None or self._runner.server is None:
            connection.close()
            raise ConnectionRefusedError("the node's server is not running")
        connection.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(self._runner.server, connection)

    @web.middleware
    async def _answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Turn failures into Status objects, and know every handler that runs."""
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            return await handler(request)
        except StatusError as error:
            return _failure(error)
        except UpgradeRefused as refused:
            return _failure(_refusal(refused), refused.headers)
        except web.HTTPMethodNotAllowed:
            return _failure(method_not_supported("nodes", request.method.lower()))
        except web.HTTPException:
            return _failure(path_not_found())
        finally:
            self._handlers.discard(task)

    async def _healthz(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    async def _pods(self, _: web.Request) -> web.StreamResponse:
        found = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(self._lookup.pods())}
        return web.Response(body=msgspec.json.encode(found), content_type="application/json")

    # -- exec, attach

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        argv = request.query.getall("command", [])
        if not argv:
            raise bad_request("you must specify a command")
        if any("\0" in word for word in argv):
            raise bad_request("the command has a NUL character in it")

        async def run(container: ContainerStatus, session: Session, options: StreamOptions) -> Mapping[str, Any] | None:
            return await Exec(self._runtime, self._endings, session, options, container.name).run(container.id, argv)

        return await self._stream(request, run)

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        async def run(container: ContainerStatus, session: Session, options: StreamOptions) -> Mapping[str, Any] | None:
            try:
                stream = await self._runtime.attach(container.id)
            except NotFound:
                return container_not_found(container.name).status()
            except RuntimeFailure as failure:
                return internal_error(f"error attaching to container: {failure}").status()
            return await run_attach(stream, session, options)

        return await self._stream(request, run)

    async def _stream(
        self,
        request: web.Request,
        run: Callable[[ContainerStatus, Session, StreamOptions], Awaitable[Mapping[str, Any] | None]],
    ) -> web.StreamResponse:
        """Find the container, answer the upgrade, run, and finish the session with the Status that `run` returns."""
        options, agreed = _negotiate(request)
        found: ContainerStatus | StatusError
        try:
            found = await self._running(request)
        except StatusError as error:
            if not agreed.failures_inside:
                raise
            found = error
        try:
            session = await agreed.accept(request, options)
        except ConnectionError:
            return TakenOver()  # Gone before it was greeted.
        try:
            status: Mapping[str, Any] | None
            if isinstance(found, StatusError):
                status = found.status()
            else:
                try:
                    status = await run(found, session, options)
                except Exception as error:
                    log.exception("%s failed", request.path)
                    status = internal_error(str(error)).status()
            if status is not None:
                await session.finish(status)
        finally:
            await session.close()
        return session.response

    async def _running(self, request: web.Request) -> ContainerStatus:
        namespace, pod, name = _names(request)
        try:
            container = await self._lookup.find_container(namespace, pod, name)
        except StatusError as error:
            raise container_not_found(name) if error.code == 400 else error from error
        if container.state != ContainerState.RUNNING:
            raise container_not_found(name)
        return container

    # -- port-forward

    async def _port_forward(self, request: web.Request) -> web.StreamResponse:
        accept = forwarding.choose(request, request.query.getall("port", []))
        match = request.match_info
        sandbox = await self._lookup.find_sandbox(match["namespace"], match["pod"])

        async def connect(port: int) -> socket.socket:
            return await self._runtime.port_forward(sandbox.id, port)

        try:
            session = await accept(request)
        except ConnectionError:
            return TakenOver()
        try:
            await run_port_forward(session, connect, sandbox.name, sandbox.uid)
        finally:
            await session.close()
        return session.response

    # -- logs

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        namespace, pod, name = _names(request)
        options, previous = log_options(request.query)
        container = await self._lookup.find_container(namespace, pod, name, previous=previous)

        async def ended() -> None:
            await self._lookup.wait_ended(container.id)

        try:
            log_file = LogFile(container.log_path, options)
        except OSError as error:
            raise internal_error(f"unable to retrieve container logs for {container.id}: {error.strerror}") from error
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        with log_file:
            try:
                await response.prepare(request)
                async with aclosing(stream_log(log_file, ended, self._watcher)) as texts:
                    async for text in texts:
                        await response.write(text)
                await response.write_eof()
            except ConnectionError:
                pass  # The client has gone.
        return response


def _negotiate(request: web.Request) -> tuple[StreamOptions, Handshake]:
    """Return what streams are asked for and how to speak; raises StatusError, UpgradeRefused."""
    try:
        options = StreamOptions.from_query(request.query)
    except OptionsError as error:
        raise bad_request(str(error)) from error
    return options, handshake.choose(request)


_ANY_AGE = 10**9
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)
"""No log is older (the first in seconds); times nearer to the ends of what datetime holds overflow in another zone."""


def log_options(query: Mapping[str, str]) -> tuple[LogOptions, bool]:
    """Read PodLogOptions from a query; returns them and `previous`. Raises StatusError (400) naming what is wrong."""
    seconds, since = _number(query, "sinceSeconds", 1), None
    if seconds is not None:
        since = clock.now() - timedelta(seconds=min(seconds, _ANY_AGE))
    elif query.get("sinceTime"):
        try:
            since = min(max(clock.parse(query["sinceTime"]), _EARLIEST), _LATEST)
        except ValueError as error:
            raise bad_request(f'invalid sinceTime "{query["sinceTime"]}": must be an RFC 3339 time') from error
    stream = query.get("stream") or "All"
    if stream not in _STREAMS:
        raise bad_request(f'invalid stream "{stream}": must be one of All, Stderr, Stdout')
    options = LogOptions(
        follow=_flag(query, "follow"),
        tail_lines=_number(query, "tailLines", 0),
        since=since,
        timestamps=_flag(query, "timestamps"),
        limit_bytes=_number(query, "limitBytes", 1),
        streams=frozenset(_STREAMS[stream]),
    )
    return options, _flag(query, "previous")


def _flag(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "")
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise bad_request(f'invalid {name} "{text}": must be true or false')


def _number(query: Mapping[str, str], name: str, least: int) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    try:
        number = int(text)
    except ValueError as error:
        raise bad_request(f'invalid {name} "{text}": must be a whole number') from error
    if number < least:
        raise bad_request(f'invalid {name} "{text}": must be greater than or equal to {least}')
    return number


def _names(request: web.Request) -> tuple[str, str, str]:
    match = request.match_info
    return match["namespace"], match["pod"], match["container"]


def _refusal(refused: UpgradeRefused) -> StatusError:
    return StatusError(refused.code, {403: "Forbidden"}.get(refused.code, "BadRequest"), refused.message)


def _failure(error: StatusError, headers: Mapping[str, str] | None = None) -> web.Response:
    body = msgspec.json.encode(error.status())
    return web.Response(status=error.code, body=body, content_type="application/json", headers=headers)
