"""Request bodies: read up to the limit, and decoded from any form that an object may be written in."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from aiohttp import web

from podstead.apiserver.negotiation import OBJECT_FORMS, PROTOBUF, YAML, require_content_type
from podstead.objects import protobuf, schema, yaml_text
from podstead.objects.errors import StatusError, unsupported_media_type

LIMIT = 3 * 1024 * 1024
"""Bytes; the limit of Kubernetes."""
_LONG = 64 * 1024
"""Bytes of YAML or protobuf from which decoding would hold up other requests for milliseconds."""


class Expected(Protocol):
    """What the body should be, where it does not say so itself and in messages."""

    @property
    def api_version(self) -> str: ...
    @property
    def kind(self) -> str: ...


def too_large() -> StatusError:
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {LIMIT}", {})


async def read(request: web.BaseRequest) -> bytes:
    """Return the body. Raises StatusError 413 beyond LIMIT, 415 where it is compressed, 417, 501."""
    headers = request.headers
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise unsupported_media_type("a request's body must not be compressed")
    if headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        raise StatusError(501, "NotImplemented", "unsupported transfer encoding", {})
    if (request.content_length or 0) > LIMIT:
        raise too_large()
    expected = headers.get("Expect", "").lower()
    if expected == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
    elif expected:
        raise StatusError(417, "ExpectationFailed", f"unknown expectation {expected!r:.100}", {})
    parts, size = [], 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > LIMIT:
            raise too_large()
        parts.append(part)
    return b"".join(parts)


async def read_object(
    request: web.BaseRequest, expected: Expected, *, duplicates: bool = True
) -> tuple[Any, list[str]]:
    """Return what a body says as JSON values, and the paths of the fields that it says twice.

    Raises StatusError 415 for another content type than JSON, YAML and protobuf, 400 for what cannot be read, and as
    `read` does.
    """
    media_type = require_content_type(request.headers.get("Content-Type", ""), OBJECT_FORMS)
    data = await read(request)
    if media_type in (YAML, PROTOBUF) and len(data) > _LONG:
        return await asyncio.to_thread(_decode, media_type, data, expected, duplicates)
    return _decode(media_type, data, expected, duplicates)


async def read_options(request: web.BaseRequest, expected: Expected) -> Any:
    """Return the options that a body gives, None where there is no body. Raises StatusError as `read_object` does."""
    data = await read(request)
    if not data:
        return None
    media_type = require_content_type(request.headers.get("Content-Type", ""), OBJECT_FORMS)
    return _decode(media_type, data, expected, False)[0]


def _decode(media_type: str, data: bytes, expected: Expected, duplicates: bool) -> tuple[Any, list[str]]:
    if media_type == PROTOBUF:
        return protobuf.decode(data, api_version=expected.api_version, kind=expected.kind), []
    if media_type == YAML:
        return yaml_text.decode_yaml(data, kind=expected.kind, duplicates=duplicates)
    return schema.decode_json(data, kind=expected.kind, duplicates=duplicates)
