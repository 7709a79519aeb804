"""Answers: bytes and headers of ordinary (not streamed) responses, Status objects for errors, warnings, gzip."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from podstead.apiserver.negotiation import JSON, YAML, takes_gzip, wants_yaml
from podstead.objects.errors import StatusError
from podstead.objects.yaml_text import encode_yaml

_GZIP_FROM = 128 * 1024
_GZIP_LEVEL = 1  # what Kubernetes uses: the wire is fast, the processor is not
_YAML_LONG = 8 * 1024  # from here on, writing YAML takes milliseconds
_WARNINGS_LIMIT = 4096
_WARNING_LIMIT = 256
_PRETTY_AGENTS = ("curl", "Wget", "Mozilla/5.0")


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response. `body` is JSON unless `content_type` says otherwise."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    gzipped: bool = False
    """`body` is compressed, and sent so to who takes that."""


def of_object(obj: Any, status: int = 200) -> Answer:
    return Answer(msgspec.json.encode(obj), status)


def of_error(error: StatusError) -> Answer:
    """Return the Status of an error; Retry-After goes along where it says when to come back."""
    headers = {}
    seconds = (error.details or {}).get("retryAfterSeconds")
    if seconds:
        headers["Retry-After"] = str(seconds)
    return Answer(msgspec.json.encode(error.status()), error.code, headers=headers)


def common_headers(audit_id: str, warnings: Iterable[str] = ()) -> CIMultiDict[str]:
    """Return the headers that every response has."""
    headers = CIMultiDict({"Audit-Id": audit_id, "Cache-Control": "no-cache, private", "Server": "podstead"})
    for line in _warning_lines(list(dict.fromkeys(warnings))):
        headers.add("Warning", line)
    return headers


def _warning_lines(texts: list[str]) -> list[str]:
    """Return `299 - "text"` values (RFC 7234, 5.5), shortened where together they would be too long for a header."""
    if sum(map(len, texts)) > _WARNINGS_LIMIT:
        texts = [text[:_WARNING_LIMIT] for text in texts][: _WARNINGS_LIMIT // _WARNING_LIMIT]
    lines = []
    for text in texts:
        printable = "".join(letter if letter.isprintable() else " " for letter in text)
        quoted = printable.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'299 - "{quoted}"')
    return lines


async def response(
    answer: Answer, request: web.BaseRequest, headers: CIMultiDict[str], pretty: str | None
) -> web.Response:
    """Return the response to `request`; `pretty` is that query parameter, None where it is not given."""
    body = answer.body
    headers.update(answer.headers)
    etag = answer.headers.get("ETag")
    if etag and etag in (match.strip() for match in request.headers.get("If-None-Match", "").split(",")):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = answer.content_type
    if answer.gzipped:
        if _takes_gzip(request) and not _wants_pretty(request, pretty):
            return web.Response(body=body, status=answer.status, headers=_compressed(headers))
        body = await asyncio.to_thread(zlib.decompress, body, 31)
    if answer.content_type == JSON and not etag and wants_yaml(",".join(request.headers.getall("Accept", ()))):
        body = await asyncio.to_thread(_yaml, body) if len(body) > _YAML_LONG else _yaml(body)
        headers["Content-Type"] = YAML
    elif answer.content_type.startswith(JSON) and _wants_pretty(request, pretty):
        body = await asyncio.to_thread(_pretty, body) if len(body) > _GZIP_FROM else _pretty(body)
    if len(body) > _GZIP_FROM and _takes_gzip(request):
        body = await asyncio.to_thread(_gzip, body)
        _compressed(headers)
    return web.Response(body=body, status=answer.status, headers=headers)


def _takes_gzip(request: web.BaseRequest) -> bool:
    return takes_gzip(",".join(request.headers.getall("Accept-Encoding", ())))


def _compressed(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    headers["Content-Encoding"] = "gzip"
    headers.add("Vary", "Accept-Encoding")
    return headers


def _wants_pretty(request: web.BaseRequest, pretty: str | None) -> bool:
    if pretty is not None:
        return pretty not in ("false", "0")
    return request.headers.get("User-Agent", "").startswith(_PRETTY_AGENTS)


def _pretty(body: bytes) -> bytes:
    return msgspec.json.format(body, indent=2) + b"\n"


def _yaml(body: bytes) -> bytes:
    return encode_yaml(msgspec.json.decode(body))


def _gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)
    return compressor.compress(body) + compressor.flush()
