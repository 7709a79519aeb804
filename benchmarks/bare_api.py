"""The limit of the API: a bare aiohttp handler on uvloop that answers with the bytes which it was given.

    python benchmarks/bare_api.py SERVER.pem CLIENT-CA.pem     prints its port

`PUT /answers` with the headers X-For (`GET /path`) and X-Status keeps its body as that answer. `GET /events` streams,
`POST /events` sends its body to all who listen, X-Together lines in one write. TLS is set up by podstead's own code.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from podstead.apiserver.server import TlsFiles, server_context

_JSON = {"Content-Type": "application/json"}


class Bare:
    """All answers, by method and path."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._listeners: list[web.StreamResponse] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        known = self._answers.get((request.method, request.raw_path))
        if known is not None:
            if request.body_exists:
                await request.content.read()
            status, body = known
            return web.Response(body=body, status=status, headers=_JSON)
        if request.raw_path == "/answers":
            method, _, path = request.headers["X-For"].partition(" ")
            self._answers[method, path] = int(request.headers["X-Status"]), await request.content.read()
            return web.Response()
        if request.raw_path == "/events":
            return await (self._listen(request) if request.method == "GET" else self._send(request))
        return web.Response(status=404)

    async def _listen(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers=_JSON)
        response.enable_chunked_encoding()
        await response.prepare(request)
        self._listeners.append(response)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._listeners.remove(response)
        return response

    async def _send(self, request: web.BaseRequest) -> web.Response:
        together = int(request.headers["X-Together"])
        lines = (await request.content.read()).splitlines(keepends=True)
        for at in range(0, len(lines), together):
            piece = b"".join(lines[at : at + together])
            for listener in self._listeners:
                await listener.write(piece)
            await asyncio.sleep(0)
        return web.Response()


async def main(certificate: Path, authority: Path) -> None:
    http = web.Server(Bare().handle, access_log=None, handler_cancellation=True, keepalive_timeout=180.0)
    context = server_context(TlsFiles(certificate, authority))
    server = await asyncio.get_running_loop().create_server(http, "127.0.0.1", 0, ssl=context, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
