"""Objects in Kubernetes' protobuf form, decoded to the JSON form that the rest of the API takes.

A body is four bytes and an envelope (runtime.Unknown) that names the kind and holds its message. The field numbers are
in data/protobuf.tsv, the types in the generated schema. A number that is in neither is refused by name: to drop what a
newer client says would change what its user asked for.
https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import msgspec

from podstead.objects import wire
from podstead.objects.decoding import too_deep, unrecognized
from podstead.objects.definitions import DATA, definition, definition_of
from podstead.objects.errors import bad_request
from podstead.objects.wire import FIXED64, LENGTH, VARINT, WireError

MAGIC = b"k8s\0"
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

_MAX_DEPTH = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZEROS: dict[str, Any] = {"string": "", "bytes": "", "bool": False, "int32": 0, "int64": 0, "float64": 0.0}
_RANGES = {"int32": 1 << 31, "int64": 1 << 63}
_NO_VALUE = object()


class _Message(msgspec.Struct, frozen=True):
    """What the numbers of a message mean; `name` is the definition whose fields they are."""

    name: str
    fields: dict[int, _Field]

    @property
    def struct(self) -> str:
        return self.name.rpartition(".")[2]


class _Field(msgspec.Struct, frozen=True):
    """`type` is the schema's, without the list or map around it; the marks are those of data/protobuf.tsv."""

    name: str
    type: str = ""
    is_list: bool = False
    is_map: bool = False
    zero_is_unset: bool = False
    wrapped: bool = False
    inlined: bool = False
    removed: bool = False


@cache
def _lines() -> dict[str, str]:
    entries: dict[str, str] = {}
    for line in (DATA / "protobuf.tsv").read_text(encoding="ascii").splitlines():
        name, tab, fields = line.partition("\t")
        if tab:
            entries[name] = fields
    return entries


def message_names() -> list[str]:
    """All messages: definitions, and what is only ever a part of others."""
    return list(_lines())


@cache
def message(name: str, owner: str = "") -> _Message:
    """Return a message by its definition's name. Raises KeyError.

    `owner` is for a message whose fields are, in JSON, those of an outer definition: the outer one's name.
    """
    fields = {}
    for part in _lines()[name].split():
        number, _, text = part.partition(":")
        fields[int(number)] = _field(owner or name, text)
    return _Message(owner or name, fields)


def _field(owner: str, text: str) -> _Field:
    if text[0] == "+":
        return _Field(text[1:], inlined=True)
    if text[0] == "-":
        return _Field(text[1:], removed=True)
    name = text.removeprefix("~").removesuffix("{}")
    type_ = definition(owner).fields[name].type
    wrapped = text.endswith("{}")
    is_map = type_.startswith("map[string]")
    if is_map:
        type_ = type_.removeprefix("map[string]")
    is_list = type_.startswith("[]")
    return _Field(name, type_.removeprefix("[]"), is_list, is_map, text[0] == "~", wrapped)


def decode(body: bytes, *, api_version: str, kind: str) -> dict[str, Any]:
    """Return the object in a body, with its kind and apiVersion: `api_version` and `kind` where it does not say them.

    Raises a 400 for what is not Kubernetes' protobuf, and for fields and kinds that are not known.
    """
    try:
        return _envelope(body, api_version, kind, 0)
    except WireError as error:
        raise unrecognized(body, kind, str(error)) from error


def _envelope(body: bytes, api_version: str, kind: str, depth: int) -> dict[str, Any]:
    if not body.startswith(MAGIC):
        raise WireError(f"provided data does not appear to be a protobuf message, expected prefix {list(MAGIC)}")
    type_meta = raw = b""
    texts = {3: "", 4: ""}  # contentEncoding, contentType
    for number, kind_of_wire, value in wire.fields(body[len(MAGIC) :]):
        if kind_of_wire != LENGTH or not isinstance(value, bytes) or number > 4:
            raise WireError(f"runtime.Unknown has no field {number} of this type")
        if number == 1:
            type_meta = value
        elif number == 2:
            raw = value
        else:
            texts[number] = _text(value, "contentEncoding" if number == 3 else "contentType")
    if texts[3] or texts[4] not in ("", MEDIA_TYPE):
        raise WireError(
            f'an object of the type "{texts[4]}" and encoding "{texts[3]}" within protobuf is not supported'
        )
    found_version, found_kind = _type_meta(type_meta)
    api_version, kind = found_version or api_version, found_kind or kind
    group, _, version = api_version.rpartition("/")
    try:
        wanted = message(definition_of(group, version, kind).name)
    except KeyError:
        raise bad_request(f'no kind "{kind}" is registered for version "{api_version}" in protobuf') from None
    return {"kind": kind, "apiVersion": api_version, **_message(wanted, raw, "", {}, depth + 1)}


def _type_meta(raw: bytes) -> tuple[str, str]:
    found = {1: "", 2: ""}
    for number, _, value in wire.fields(raw):
        if number not in found or not isinstance(value, bytes):
            raise WireError(f"runtime.TypeMeta has no field {number} of this type")
        found[number] = _text(value, "kind")
    return found[1], found[2]


def _message(wanted: _Message, raw: bytes, path: str, into: dict[str, Any], depth: int) -> dict[str, Any]:
    """Read a message into `into`: what a field says again is added to lists and messages, and replaces the rest."""
    if depth > _MAX_DEPTH:
        raise WireError("exceeded max depth")
    for number, kind_of_wire, value in wire.fields(raw):
        field = wanted.fields.get(number)
        if field is None:
            where = f' at "{path}"' if path else ""
            raise WireError(f"unknown field number {number} of {wanted.struct}{where}")
        if field.inlined:
            _message(message(field.name, wanted.name), _bytes(kind_of_wire, value, path), path, into, depth + 1)
            continue
        below = f"{path}.{field.name}" if path else field.name
        if field.removed:
            if value not in (0, b""):
                raise WireError(f'field "{below}" (number {number} of {wanted.struct}) is not supported any more')
            continue
        _set(into, field, kind_of_wire, value, below, depth)
    return into


def _set(into: dict[str, Any], field: _Field, kind_of_wire: int, value: int | bytes, path: str, depth: int) -> None:
    if field.is_map:
        key, item = _entry(field, _bytes(kind_of_wire, value, path), path, depth)
        into.setdefault(field.name, {})[key] = item
    elif field.is_list:
        into.setdefault(field.name, []).extend(_items(field, kind_of_wire, value, path, depth))
    else:
        read = _value(field.type, kind_of_wire, value, path, depth, into.get(field.name))
        if read is _NO_VALUE or (field.zero_is_unset and read == _ZEROS.get(field.type, _NO_VALUE)):
            into.pop(field.name, None)
        else:
            into[field.name] = read


def _items(field: _Field, kind_of_wire: int, value: int | bytes, path: str, depth: int) -> list[Any]:
    """The elements that one occurrence of a list's field holds: several where it is packed or wrapped."""
    if field.wrapped:
        return _wrapped(field, _bytes(kind_of_wire, value, path), path, depth)
    if kind_of_wire == LENGTH and isinstance(value, bytes) and field.type in ("int32", "int64", "bool"):
        return [_scalar(field.type, VARINT, number, path) for number in wire.varints(value)]
    read = _value(field.type, kind_of_wire, value, path, depth)
    return [None if read is _NO_VALUE else read]


def _wrapped(field: _Field, raw: bytes, path: str, depth: int) -> list[Any]:
    items = []
    for number, kind_of_wire, value in wire.fields(raw):
        if number != 1:
            raise WireError(f'unknown field number {number} at "{path}"')
        items.append(_value(field.type, kind_of_wire, value, path, depth))
    return items


def _entry(field: _Field, raw: bytes, path: str, depth: int) -> tuple[str, Any]:
    """Read one entry of a map: field 1 is the key, field 2 the value, and either may be left out if it is zero."""
    key, item = "", _NO_VALUE
    for number, kind_of_wire, value in wire.fields(raw):
        if number == 1:
            key = _text(_bytes(kind_of_wire, value, path), path)
        elif number != 2:
            raise WireError(f'unknown field number {number} of an entry of "{path}"')
        elif field.is_list:
            item = _items(field, kind_of_wire, value, f"{path}[{key}]", depth)
        else:
            item = _value(field.type, kind_of_wire, value, f"{path}[{key}]", depth)
    if item is _NO_VALUE:
        item = [] if field.is_list else _ZEROS[field.type] if field.type in _ZEROS else _zero(field.type, path, depth)
    return key, item


def _zero(type_: str, path: str, depth: int) -> Any:
    read = _value(type_, LENGTH, b"", path, depth)
    return None if read is _NO_VALUE else read


def _value(
    type_: str, kind_of_wire: int, value: int | bytes, path: str, depth: int, before: dict[str, Any] | None = None
) -> Any:
    """Return one value as in JSON, _NO_VALUE for a message that stands for null. `before` is what a message adds to."""
    if type_[0] != "#":
        return _scalar(type_, kind_of_wire, value, path)
    raw = _bytes(kind_of_wire, value, path)
    leaf = definition(type_[1:]).leaf
    if leaf:
        return _LEAVES[leaf](raw, path, depth)
    return _message(message(type_[1:]), raw, path, before if before is not None else {}, depth + 1)


def _bytes(kind_of_wire: int, value: int | bytes, path: str) -> bytes:
    if kind_of_wire != LENGTH or not isinstance(value, bytes):
        raise WireError(f'wrong wire type ({wire.wire_name(kind_of_wire)}) for field "{path}"')
    return value


def _scalar(type_: str, kind_of_wire: int, value: int | bytes, path: str) -> Any:
    if type_ == "string":
        return _text(_bytes(kind_of_wire, value, path), path)
    if type_ == "bytes":
        return b64encode(_bytes(kind_of_wire, value, path)).decode()
    if type_ == "float64" and kind_of_wire == FIXED64 and isinstance(value, bytes):
        return struct.unpack("<d", value)[0]
    if kind_of_wire != VARINT or isinstance(value, bytes) or type_ == "float64":
        raise WireError(f'wrong wire type ({wire.wire_name(kind_of_wire)}) for field "{path}"')
    if type_ == "bool":
        return value != 0
    number = wire.signed(value)
    if not -_RANGES[type_] <= number < _RANGES[type_]:
        raise WireError(f'number {number} in field "{path}" is out of range of {type_}')
    return number


def _text(raw: bytes, path: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise WireError(f'invalid UTF-8 in field "{path}"') from error


# -- messages that are a text, a number or anything else in JSON


def _parts(raw: bytes, types: tuple[str, ...], path: str) -> list[Any]:
    """The fields 1, 2... of a message with these types, zero where they are left out."""
    found = [_ZEROS[type_] for type_ in types]
    for number, kind_of_wire, value in wire.fields(raw):
        if number > len(types):
            raise WireError(f'unknown field number {number} at "{path}"')
        found[number - 1] = _scalar(types[number - 1], kind_of_wire, value, path)
    return found


def _quantity(raw: bytes, path: str, depth: int) -> str:
    text = _parts(raw, ("string",), path)[0]
    return text or "0"


def _int_or_string(raw: bytes, path: str, depth: int) -> int | str:
    is_string, number, text = _parts(raw, ("int64", "int32", "string"), path)
    return text if is_string else number  # type: ignore[no-any-return]


def _moment(raw: bytes, path: str) -> datetime:
    seconds, nanos = _parts(raw, ("int64", "int32"), path)
    try:
        return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError as error:
        raise WireError(f'the time in field "{path}" is out of range') from error


def _time(raw: bytes, path: str, depth: int) -> Any:
    # An empty message is no time; the beginning of 1970 is one with its zeros written out.
    return _moment(raw, path).strftime("%FT%TZ").rjust(20, "0") if raw else _NO_VALUE


def _micro_time(raw: bytes, path: str, depth: int) -> Any:
    return _moment(raw, path).strftime("%FT%T.%fZ").rjust(27, "0") if raw else _NO_VALUE


def _object(raw: bytes, path: str, depth: int) -> Any:
    """RawExtension and FieldsV1: JSON, or for an object within an object protobuf again."""
    content = b""
    for number, kind_of_wire, value in wire.fields(raw):
        if number != 1:
            raise WireError(f'unknown field number {number} at "{path}"')
        content = _bytes(kind_of_wire, value, path)
    if not content:
        return _NO_VALUE
    if content.startswith(MAGIC):
        return _envelope(content, "", "", depth + 1)
    try:
        decoded = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f'field "{path}" is not JSON: {error}') from error
    if too_deep(decoded):
        raise WireError(f'field "{path}" exceeded max depth')
    return decoded


_LEAVES: dict[str, Callable[[bytes, str, int], Any]] = {
    "quantity": _quantity,
    "intorstring": _int_or_string,
    "time": _time,
    "microtime": _micro_time,
    "object": _object,
}
