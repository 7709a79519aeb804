"""Client connections: bytes that are no HTTP request get a Status too, and nobody holds a connection for nothing.

The bounds are those of kube-apiserver where it has them (ReadHeaderTimeout).
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from typing import Any

from aiohttp import HttpVersion10, http_exceptions, web
from aiohttp.web_protocol import RequestHandler

from podstead.apiserver import answers
from podstead.apiserver.request import method_not_allowed
from podstead.objects.errors import StatusError, bad_request

log = logging.getLogger(__name__)

FIRST_HEAD_SECONDS = 32.0
"""How long a new connection may take until the head of its first request is complete."""
STALLED_SECONDS = 60.0
"""How long a client may take nothing of an answer that waits for it."""
_TOO_LONG = "Too many headers"
_REQUEST_LINE = re.compile(r"""b['"][!#$%&'*+.^_`|~0-9A-Za-z-]+ \S+ HTTP/1\.[01]""")
"""In what the parser shows of bytes that it stumbled over: a request like any other, but for its method."""


class HttpServer(web.Server):
    """Makes a Connection of each connection; takes what web.Server takes."""

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)


class Connection(RequestHandler):
    """One connection, with limits on what a client may leave undone."""

    __slots__ = ("_stalled",)

    def __init__(self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(manager, loop=loop, **options)
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # aiohttp closes a connection that waits for a request, whole or not, at this time.
        first = min(self.keepalive_timeout, FIRST_HEAD_SECONDS)
        self._next_keepalive_close_time = self._loop.time() + first
        if self._keepalive_handle is not None:
            self._keepalive_handle.cancel()
        self._keepalive_handle = self._loop.call_later(first, self._process_keepalive)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._forget_stall()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_stall(0)

    def resume_writing(self) -> None:
        self._forget_stall()
        super().resume_writing()

    def _watch_stall(self, waiting: int) -> None:
        self._stalled = self._loop.call_later(STALLED_SECONDS, self._check_stall, waiting)

    def _forget_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _check_stall(self, before: int) -> None:
        """Cut a client that has taken nothing of a whole answer. A stream's reader may rest (`logs -f | less`)."""
        self._stalled = None
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        waiting = transport.get_write_buffer_size()
        if self._current_request is None and waiting == before:
            transport.abort()
        else:
            self._watch_stall(waiting)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer bytes that are no request, and close: the framing of what follows cannot be trusted."""
        if isinstance(exc, http_exceptions.HttpProcessingError):
            self.logger.debug("not a request from %s: %r", request.remote, exc)
        else:
            log.error("an answer to %s failed", request.remote, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        answer = answers.of_error(_error(status, exc))
        headers = answers.common_headers(str(uuid.uuid4()))
        headers["Content-Type"] = answer.content_type
        response = web.Response(body=answer.body, status=answer.status, headers=headers)
        response.force_close()
        return response


def refuse_version(request: web.BaseRequest) -> None:
    """Raise StatusError 505 for HTTP before 1.0, which the parser lets through."""
    if request.version < HttpVersion10:
        raise StatusError(505, "BadRequest", "unsupported protocol version", {})


def _error(status: int, problem: BaseException | None) -> StatusError:
    if isinstance(problem, http_exceptions.BadHttpMethod) and _REQUEST_LINE.search(problem.message):
        return method_not_allowed()
    if isinstance(problem, http_exceptions.LineTooLong) or _TOO_LONG in str(problem):
        return StatusError(431, "RequestHeaderFieldsTooLarge", "the head of the request is too large", {})
    if isinstance(problem, http_exceptions.HttpProcessingError):
        # The parser shows what it stumbled over below its first line: nobody's headers are repeated to anybody.
        return bad_request(f"malformed HTTP request: {problem.message.partition(chr(10))[0].rstrip(':')}")
    return StatusError(status, "InternalError", "the request could not be handled", {})
