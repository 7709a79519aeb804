"""SPDY/3 header blocks: name-value pairs, compressed with one zlib context for each direction of a connection.

The layout and the dictionary are those of the SPDY/3 draft (2.6.10, 2.6.10.1).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

BLOCK_LIMIT = 16 << 10
"""Bytes of the largest header block, uncompressed, that is accepted: Kubernetes' have less than 200."""

_NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_STATUSES = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
)
_VALUES = (
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _counted(words: list[str]) -> bytes:
    return b"".join(struct.pack(">I", len(word)) + word.encode() for word in words)


DICTIONARY = (
    _counted(
        [*_NAMES.split(" "), "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"]
    )
    + (_STATUSES + _VALUES).encode()
)
"""What both ends' zlib contexts know from the start; its Adler-32 is in the first block of every connection."""


class HeaderError(ValueError):
    """A header block is broken, too large, or not what SPDY allows; the context cannot be used any more."""


class Compressor:
    """Header blocks of one direction, in order. Makes its context with the first block (10 KiB)."""

    def __init__(self) -> None:
        self._zlib: zlib._Compress | None = None

    def compress(self, headers: Mapping[str, str]) -> bytes:
        if self._zlib is None:
            # What is sent is nearly empty: the smallest window that deflate has works as well as the largest.
            self._zlib = zlib.compressobj(level=1, wbits=11, memLevel=1, zdict=DICTIONARY)
        pairs = b"".join(_text(name.lower()) + _text(value) for name, value in headers.items())
        return self._zlib.compress(struct.pack(">I", len(headers)) + pairs) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">I", len(encoded)) + encoded


class Decompressor:
    """Header blocks of the other direction; never makes more than BLOCK_LIMIT bytes of one."""

    def __init__(self) -> None:
        self._zlib: zlib._Decompress | None = None

    def decompress(self, block: bytes) -> dict[str, str]:
        """Return the headers, names in lower case, several values joined by NUL as sent. Raises HeaderError."""
        if self._zlib is None:
            self._zlib = zlib.decompressobj(zdict=DICTIONARY)
        try:
            data = self._zlib.decompress(block, BLOCK_LIMIT + 1)
        except zlib.error as error:
            raise HeaderError("the header block cannot be decompressed") from error
        if len(data) > BLOCK_LIMIT or self._zlib.unconsumed_tail:
            raise HeaderError(f"the header block has more than {BLOCK_LIMIT} bytes")
        if self._zlib.eof:
            raise HeaderError("the header block ends the compression")
        return _parse(data)


def _parse(data: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    try:
        (count,) = struct.unpack_from(">I", data)
        position = 4
        for _ in range(count):
            name, position = _take(data, position)
            value, position = _take(data, position)
            if not name or name != name.lower() or name in headers:
                raise HeaderError(f"the header name {name!r:.100} is empty, in capitals, or there twice")
            headers[name] = value
    except (struct.error, UnicodeDecodeError) as error:
        raise HeaderError("the header block is cut short or not text") from error
    if position != len(data):
        raise HeaderError("the header block has more bytes than headers")
    return headers


def _take(data: bytes, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", data, position)
    start, end = position + 4, position + 4 + length
    if end > len(data):
        raise HeaderError("the header block is cut short or not text")
    return data[start:end].decode(), end
