"""Protobuf's wire format: fields read from bytes, and written to them (protobuf.dev, "Encoding")."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
_NAMES = {VARINT: "varint", FIXED64: "64-bit", LENGTH: "length-delimited", FIXED32: "32-bit"}
_MAX_VARINT = 10


class WireError(ValueError):
    """Bytes that are no protobuf message; the text says why."""


def wire_name(wire: int) -> str:
    """A wire type in words."""
    return _NAMES.get(wire, f"type {wire}")


def varint(data: bytes, position: int) -> tuple[int, int]:
    """Return an unsigned 64-bit number and the position after it. Raises WireError."""
    value = shift = 0
    for index in range(position, min(position + _MAX_VARINT, len(data))):
        byte = data[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, index + 1
        shift += 7
    raise WireError("unexpected EOF" if len(data) < position + _MAX_VARINT else "a number is longer than 64 bits")


def varints(data: bytes) -> Iterator[int]:
    """Yield the numbers of a packed list. Raises WireError."""
    position = 0
    while position < len(data):
        value, position = varint(data, position)
        yield value


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield (number, wire type, value) of a message's fields, in their order.

    The value of a VARINT is an unsigned number, of all others the bytes. Raises WireError for what is truncated, for
    groups, and for the number 0.
    """
    position, end = 0, len(data)
    while position < end:
        key, position = varint(data, position)
        number, wire = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise WireError(f"illegal field number {number}")
        if wire == VARINT:
            value, position = varint(data, position)
            yield number, wire, value
            continue
        if wire == LENGTH:
            size, position = varint(data, position)
        elif wire in _FIXED_SIZES:
            size = _FIXED_SIZES[wire]
        else:
            raise WireError(f"illegal wire type {wire} of field {number}")
        if size > end - position:
            raise WireError("unexpected EOF")
        yield number, wire, data[position : position + size]
        position += size


def signed(value: int) -> int:
    """An unsigned 64-bit number as the signed one that it stands for."""
    return value - (1 << 64) if value >> 63 else value


def encode_varint(value: int) -> bytes:
    """Return a number of at least 0 as varint."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_field(number: int, content: bytes | str | bool | int) -> bytes:
    """Return a field: length-delimited for bytes and text, a varint for numbers (of at least 0) and truth values."""
    if isinstance(content, int):
        return encode_varint(number << 3 | VARINT) + encode_varint(content)
    raw = content.encode() if isinstance(content, str) else content
    return encode_varint(number << 3 | LENGTH) + encode_varint(len(raw)) + raw


def encode_double(number: int, value: float) -> bytes:
    """Return a field that holds a double."""
    return encode_varint(number << 3 | FIXED64) + struct.pack("<d", value)
