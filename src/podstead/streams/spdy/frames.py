"""SPDY/3.1 frames: a parser that is fed bytes as they come, and the bytes of the frames that a server sends.

Payloads of data frames are handed on in whatever pieces they arrive, so that no frame is held in memory whole. The
layouts are those of the SPDY/3 draft, 2.2 and 2.6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from podstead.streams.spdy.headers import Compressor, Decompressor, HeaderError

VERSION = 3
CONTROL_LIMIT = 64 << 10
"""Bytes of the largest control frame that is accepted."""

MAX_STREAM_ID = (1 << 31) - 1
_HEAD = struct.Struct(">II")
_CONTROL = 1 << 31
_LENGTH = (1 << 24) - 1
_FIN = 0x01


class Kind(IntEnum):
    """Types of control frames. Others (CREDENTIAL) are skipped."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Reset(IntEnum):
    """Why a stream was reset."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_ALREADY_CLOSED = 9


class Gone(IntEnum):
    """Why a connection was ended."""

    OK = 0
    PROTOCOL_ERROR = 1


INITIAL_WINDOW_SIZE = 7
"""The only one of the settings that matters to a server that opens no streams."""


@dataclass(frozen=True, slots=True)
class SynStream:
    """A new stream. `fin`: its opener will send nothing on it; `unidirectional`: the other end must not."""

    stream_id: int
    headers: Mapping[str, str]
    fin: bool
    unidirectional: bool


@dataclass(frozen=True, slots=True)
class HeadersFrame:
    """SYN_REPLY or HEADERS; `reply` tells which."""

    stream_id: int
    headers: Mapping[str, str]
    fin: bool
    reply: bool


@dataclass(frozen=True, slots=True)
class RstStream:
    stream_id: int
    status: int


@dataclass(frozen=True, slots=True)
class Settings:
    """By id; persistence flags are dropped."""

    values: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Ping:
    id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    last_good: int
    status: int


@dataclass(frozen=True, slots=True)
class WindowUpdate:
    """`stream_id` 0 is the connection's own window."""

    stream_id: int
    delta: int


@dataclass(frozen=True, slots=True)
class Data:
    """A piece of a data frame; `fin` with the last piece of a stream's last frame."""

    stream_id: int
    data: bytes
    fin: bool


Frame = SynStream | HeadersFrame | RstStream | Settings | Ping | GoAway | WindowUpdate | Data


class ProtocolError(Exception):
    """What arrived is not SPDY/3.1, or is more than is accepted; the connection cannot go on."""


class Parser:
    """Frames of one direction of a connection, in order."""

    def __init__(self) -> None:
        self._headers = Decompressor()
        self._partial = bytearray()
        self._data_id = 0
        self._data_left = 0
        self._data_fin = False

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Yield what `chunk` completes. Raises ProtocolError, after which nothing may be fed any more."""
        view, position, end = memoryview(chunk), 0, len(chunk)
        while position < end:
            if self._data_left:
                size = min(self._data_left, end - position)
                self._data_left -= size
                # A copy: a slice would keep the whole chunk alive for as long as one byte of it waits.
                piece = bytes(view[position : position + size])
                yield Data(self._data_id, piece, self._data_fin and not self._data_left)
                position += size
                continue
            position += self._gather(view[position:], 8)
            if len(self._partial) < 8:
                return
            word, rest = _HEAD.unpack_from(self._partial)
            length = rest & _LENGTH
            if not word & _CONTROL:
                self._partial.clear()
                frame = self._start_data(word, rest >> 24, length)
                if frame is not None:
                    yield frame
                continue
            if length > CONTROL_LIMIT:
                raise ProtocolError(f"a control frame has {length} bytes; {CONTROL_LIMIT} are accepted")
            position += self._gather(view[position:], 8 + length)
            if len(self._partial) < 8 + length:
                return
            body = bytes(self._partial[8:])
            self._partial.clear()
            control = self._control(word, rest >> 24, body)
            if control is not None:
                yield control

    def _gather(self, view: memoryview, wanted: int) -> int:
        """Take what is missing for `wanted` bytes of a frame; returns how many were taken."""
        missing = view[: max(wanted - len(self._partial), 0)]
        self._partial += missing
        return len(missing)

    def _start_data(self, stream_id: int, flags: int, length: int) -> Data | None:
        if stream_id == 0:
            raise ProtocolError("a data frame is for stream 0")
        if not length:
            return Data(stream_id, b"", bool(flags & _FIN))
        self._data_id, self._data_left, self._data_fin = stream_id, length, bool(flags & _FIN)
        return None

    def _control(self, word: int, flags: int, body: bytes) -> Frame | None:
        version, kind = (word >> 16) & 0x7FFF, word & 0xFFFF
        if version != VERSION:
            raise ProtocolError(f"a control frame is of version {version}; version {VERSION} is spoken here")
        try:
            match kind:
                case Kind.SYN_STREAM:
                    stream_id, _, _, _ = struct.unpack_from(">IIBB", body)
                    headers = self._headers.decompress(body[10:])
                    return SynStream(_id(stream_id), headers, bool(flags & _FIN), bool(flags & 0x02))
                case Kind.SYN_REPLY | Kind.HEADERS:
                    (stream_id,) = struct.unpack_from(">I", body)
                    headers = self._headers.decompress(body[4:])
                    return HeadersFrame(_id(stream_id), headers, bool(flags & _FIN), kind == Kind.SYN_REPLY)
                case Kind.RST_STREAM:
                    stream_id, status = struct.unpack(">II", body)
                    return RstStream(_id(stream_id), status)
                case Kind.SETTINGS:
                    return _settings(body)
                case Kind.PING:
                    return Ping(*struct.unpack(">I", body))
                case Kind.GOAWAY:
                    last_good, status = struct.unpack(">II", body)
                    return GoAway(last_good & MAX_STREAM_ID, status)
                case Kind.WINDOW_UPDATE:
                    stream_id, delta = struct.unpack(">II", body)
                    return WindowUpdate(stream_id & MAX_STREAM_ID, delta & MAX_STREAM_ID)
        except struct.error as error:
            raise ProtocolError(f"a {Kind(kind).name} frame has {len(body)} bytes") from error
        except HeaderError as error:
            raise ProtocolError(str(error)) from error
        return None


def _id(stream_id: int) -> int:
    if not stream_id & MAX_STREAM_ID:
        raise ProtocolError("a frame is for stream 0")
    return stream_id & MAX_STREAM_ID


def _settings(body: bytes) -> Settings:
    (count,) = struct.unpack_from(">I", body)
    if len(body) != 4 + 8 * count:
        raise ProtocolError(f"a SETTINGS frame with {count} settings has {len(body)} bytes")
    return Settings({word & _LENGTH: value for word, value in struct.iter_unpack(">II", body[4:])})


# -- what is sent


def control(kind: Kind, body: bytes, flags: int = 0) -> bytes:
    """Return a control frame."""
    return _HEAD.pack(_CONTROL | VERSION << 16 | kind, flags << 24 | len(body)) + body


def data_head(stream_id: int, length: int, *, fin: bool = False) -> bytes:
    """Return the head of a data frame of `length` bytes (less than 16 MiB)."""
    return _HEAD.pack(stream_id, (_FIN << 24 if fin else 0) | length)


def syn_reply(stream_id: int, compressor: Compressor) -> bytes:
    """Return the frame that takes a stream, without headers, as Kubernetes' servers do."""
    return control(Kind.SYN_REPLY, struct.pack(">I", stream_id) + compressor.compress({}))


def rst_stream(stream_id: int, status: Reset) -> bytes:
    return control(Kind.RST_STREAM, struct.pack(">II", stream_id, status))


def ping(number: int) -> bytes:
    return control(Kind.PING, struct.pack(">I", number))


def goaway(last_good: int, status: Gone) -> bytes:
    return control(Kind.GOAWAY, struct.pack(">II", last_good, status))


def settings(values: Mapping[int, int]) -> bytes:
    body = b"".join(struct.pack(">II", number, value) for number, value in values.items())
    return control(Kind.SETTINGS, struct.pack(">I", len(values)) + body)


def window_update(stream_id: int, delta: int) -> bytes:
    return control(Kind.WINDOW_UPDATE, struct.pack(">II", stream_id, delta))
