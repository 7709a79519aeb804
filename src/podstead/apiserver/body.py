"""Request bodies, read up to the limit."""

from __future__ import annotations

from aiohttp import web

from podstead.objects.errors import StatusError, unsupported_media_type

LIMIT = 3 * 1024 * 1024
"""Bytes; the limit of Kubernetes."""


def too_large() -> StatusError:
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {LIMIT}", {})


async def read(request: web.BaseRequest) -> bytes:
    """Return the body. Raises StatusError 413 beyond LIMIT, 415 where it is compressed."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise unsupported_media_type("a request's body must not be compressed")
    if (request.content_length or 0) > LIMIT:
        raise too_large()
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
    parts, size = [], 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > LIMIT:
            raise too_large()
        parts.append(part)
    return b"".join(parts)
