"""The API server: TLS, connections, and the way of a request from its first byte to its answer."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

from aiohttp import web

from podstead.apiserver import answers, authorization, impersonation, timeouts, usage
from podstead.apiserver import request as requests
from podstead.apiserver.answers import Answer
from podstead.apiserver.authentication import ANONYMOUS, Authenticator
from podstead.apiserver.authorization import Authorizer, DefaultAuthorizer
from podstead.apiserver.call import Call
from podstead.apiserver.connections import HttpServer, refuse_version
from podstead.apiserver.dispatch import Dispatcher
from podstead.apiserver.health import Check, Health
from podstead.apiserver.monitoring import Requests
from podstead.apiserver.proxy import SUBRESOURCES
from podstead.metrics import Histogram
from podstead.objects import kinds
from podstead.objects.errors import StatusError, internal_error
from podstead.objects.meta import new_uid
from podstead.registry.options import RequestContext
from podstead.registry.ownership import name_of_agent
from podstead.registry.registry import Registry
from podstead.streams.dialer import NodeDialer
from podstead.streams.upgrade import TakenOver

log = logging.getLogger(__name__)

_IDLE_SECONDS = 180.0
_LINGER_SECONDS = 5.0
_HANDSHAKE_SECONDS = 10.0
_BACKLOG = 512
_HEAD_LIMIT = 1024 * 1024
_READS = frozenset({"get", "list"})
_GONE = 499
"""The code that stands in /metrics for a client that went before it had an answer."""
_UNREAD = requests.RequestInfo("", "/", {}, "")
"""What is known of a request before its target has been read."""
"""Bytes of a request line or a header; an exec's command is part of the line."""


@dataclasses.dataclass(frozen=True, slots=True)
class TlsFiles:
    """`server`: key and certificate in one PEM file; `client_ca`: who signs client certificates."""

    server: Path
    client_ca: Path


class ApiServer:
    """Serves `registry` over HTTPS, and passes exec, attach and logs on to the nodes that `dialer` reaches.

    `ready` are checks, by name, for /readyz, `components` those of the
    parts that componentstatuses tells of, `metrics` what /metrics shows beside its own.

    One instance can be started once.
    """

    def __init__(
        self,
        registry: Registry,
        dialer: NodeDialer,
        tls: TlsFiles,
        *,
        authorizer: Authorizer | None = None,
        ready: Mapping[str, Check] | None = None,
        components: Mapping[str, Check] | None = None,
        metrics: Sequence[Histogram] = (),
    ) -> None:
        self._tls = tls
        self._authenticator = Authenticator(registry.tokens)
        self._authorizer = authorizer or DefaultAuthorizer()
        self._requests = Requests((*kinds.DISCOVERED, *usage.RESOURCES))
        self._dispatcher = Dispatcher(
            registry, dialer, Health(ready or {}), self._authorizer, components or {}, self._requests, metrics
        )
        self._proxied: set[asyncio.Task[object]] = set()
        self._closing = False
        self._http: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self._more: list[asyncio.Server] = []
        self._context: ssl.SSLContext | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; raises RuntimeError before `start`."""
        if self._listener is None:
            raise RuntimeError("the server has not been started")
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._http.connections) if self._http is not None else 0

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, sock: socket.socket | None = None) -> None:
        """Listen on `host` and `port` (0: any free one), or on a bound `sock`.

        Raises OSError where the port is in use, ssl.SSLError or OSError where the TLS files cannot be used.
        """
        loop = asyncio.get_running_loop()
        context = self._context = server_context(self._tls)
        self._http = HttpServer(
            self._handle,
            handler_cancellation=True,  # a watch ends when its client goes
            access_log=None,
            logger=_http_log(),
            keepalive_timeout=_IDLE_SECONDS,
            lingering_time=_LINGER_SECONDS,
            auto_decompress=False,
            max_line_size=_HEAD_LIMIT,
            max_field_size=_HEAD_LIMIT,
        )
        address = {"sock": sock} if sock is not None else {"host": host, "port": port, "reuse_address": True}
        self._listener = await loop.create_server(
            self._http, ssl=context, ssl_handshake_timeout=_HANDSHAKE_SECONDS, backlog=_BACKLOG, **address
        )

    async def listen_also(self, sock: socket.socket) -> None:
        """Listen on a bound `sock` too; it is closed with the server. Raises RuntimeError before `start`, OSError."""
        if self._http is None or self._context is None:
            raise RuntimeError("the server has not been started")
        self._more.append(
            await asyncio.get_running_loop().create_server(
                self._http,
                ssl=self._context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                backlog=_BACKLOG,
                sock=sock,
            )
        )

    async def close(self, grace: float = 2.0) -> None:
        """Stop listening, end watches and streams, give other requests `grace` seconds, close all connections."""
        self._closing = True
        if self._listener is None or self._http is None:
            return
        for listener in (self._listener, *self._more):
            listener.close()
        for watch in list(self._dispatcher.watches):
            watch.close()
        proxied = list(self._proxied)
        for task in proxied:
            task.cancel()
        await asyncio.gather(*proxied, return_exceptions=True)
        await self._http.shutdown(grace)
        for listener in (self._listener, *self._more):
            await listener.wait_closed()

    # -- one request

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, and count it."""
        call = Call(request, _UNREAD, RequestContext(ANONYMOUS), new_uid())
        began, code = perf_counter(), 0
        self._requests.begin(request.method)
        try:
            response = await self._respond(request, call)
            code = response.status
            return response
        finally:
            if not code:  # The client has gone: while it was told something, or before.
                code = call.streaming.status if call.streaming is not None else _GONE
            self._requests.end(call.info, request.method, code, perf_counter() - began)

    async def _respond(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        """Answer a request, whatever happens: every failure is a Status."""
        try:
            answer = await self._answer(call)
        except StatusError as error:
            answer = answers.of_error(error)
        except Exception as error:
            if call.streaming is None and not isinstance(error, ConnectionError):
                log.exception("%s %s (audit %s) failed", request.method, request.path, call.audit_id)
            answer = answers.of_error(internal_error(f"the request failed; its Audit-Id is {call.audit_id}"))
        if isinstance(answer, web.StreamResponse):
            return answer
        if call.streaming is not None:
            # The head is out already: all that is left to say is that this is not a whole answer.
            if request.transport is not None:
                request.transport.abort()
            return TakenOver()
        pretty = requests.text(call.info.query, "pretty") if "pretty" in call.info.query else None
        response = await answers.response(answer, request, call.headers(), pretty)
        if self._closing:
            response.force_close()
        return response

    async def _answer(self, call: Call) -> Answer | web.StreamResponse:
        refuse_version(call.request)
        user = self._authenticator.user(call.request)
        call.info = info = requests.parse(call.request.method, call.request.raw_path)
        asked = info
        if info.subresource in SUBRESOURCES and info.verb == "get":
            # A WebSocket starts with GET, but it does what a POST does.
            asked = dataclasses.replace(info, verb="create")
        call.context.user = impersonation.acting_as(user, call.request.headers, self._authorizer)
        authorization.check(self._authorizer, call.user, asked)
        call.context.manager = name_of_agent(call.request.headers.get("User-Agent", ""))
        if self._dispatcher.is_streaming(call):
            return await self._stream(call)
        if info.verb in _READS and not info.subresource and not info.query:
            return await self._dispatcher.dispatch(call)  # of what is in memory: nothing is waited for
        try:
            async with asyncio.timeout(timeouts.seconds(info.query)):
                return await self._dispatcher.dispatch(call)
        except TimeoutError as error:
            raise timeouts.exceeded() from error

    async def _stream(self, call: Call) -> Answer | web.StreamResponse:
        task = asyncio.current_task()
        if call.info.verb == "watch" or task is None:
            return await self._dispatcher.dispatch(call)
        self._proxied.add(task)
        try:
            return await self._dispatcher.dispatch(call)
        finally:
            self._proxied.discard(task)


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the context of a server that asks for a client certificate but does not insist on one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.server)
    context.load_verify_locations(files.client_ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    context.num_tickets = 0  # kubectl never resumes a session; a ticket would only delay the first answer
    return context


class _OneLine(logging.Filter):
    """Takes the traceback out of aiohttp's records: what they tell of is a client that does not speak HTTP."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            record.msg, record.args = f"{record.getMessage()}: {record.exc_info[1]!r:.200}", ()
            record.exc_info = None
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        # Nobody without credentials shall fill the log.
        return log.isEnabledFor(logging.DEBUG)


def _http_log() -> logging.Logger:
    logger = logging.getLogger(f"{__name__}.http")
    if not logger.filters:
        logger.addFilter(_OneLine())
    return logger
