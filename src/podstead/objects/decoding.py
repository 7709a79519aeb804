"""Decode JSON bodies, find duplicate fields, and word what is wrong with a body as a Kubernetes API server does."""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from podstead.objects.errors import StatusError, bad_request

_decode = msgspec.json.Decoder().decode

# Python's word for a syntax error, and the second half of Go's.
_SYNTAX = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
    "Extra data": "after top-level value",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": "in \\u hexadecimal character escape",
}
_SURROGATE = r"u[dD][89abAB][0-9a-fA-F]{2}", r"u[dD][c-fC-F][0-9a-fA-F]{2}"
# Any escape; what is in the group is half a pair.
_ESCAPE = re.compile(rf"\\{_SURROGATE[0]}\\{_SURROGATE[1]}|(\\{_SURROGATE[0]}|\\{_SURROGATE[1]})|\\.", re.DOTALL)
MAX_DEPTH = 200
"""Levels of lists and maps within each other: what is stored must be fit for whatever walks through it later."""
_TRUNCATED = "unexpected end of JSON input"
_TOO_DEEP = "exceeded max depth"


class _DuplicatedError(Exception):
    """Some object has a key twice."""


class _Pairs(list[tuple[str, Any]]):
    """An object's keys and values as they were sent."""


def decode_json(body: bytes, *, kind: str = "", duplicates: bool = True) -> tuple[Any, list[str]]:
    """Return what a body says, and the path of every field that it says twice (spec.containers[0].name).

    The last of duplicates counts. `kind` is what the body should be, for the message. `duplicates=False` spares the
    second look, which fieldValidation=Ignore allows. Raises a 400 for what is not JSON.
    """
    try:
        try:
            value = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            if (mended := _mended(body)) == body:
                raise
            value = _decode(mended)
        else:
            mended = body
        if mended.count(b"{") + mended.count(b"[") > MAX_DEPTH and too_deep(value):
            raise RecursionError
        return value, duplicate_fields(mended) if duplicates else []
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise unrecognized(body, kind, f"couldn't get version/kind; json parse error: {syntax_error(body)}") from error
    except RecursionError as error:
        raise unrecognized(body, kind, f"couldn't get version/kind; json parse error: {_TOO_DEEP}") from error


def too_deep(value: Any) -> bool:
    """Tell whether lists and maps are nested deeper than MAX_DEPTH, without going as deep."""
    level = [value] if type(value) in (dict, list) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        level = [
            item
            for outer in level
            for item in (outer.values() if type(outer) is dict else outer)
            if type(item) is dict or type(item) is list
        ]
    return bool(level)


def _mended(body: bytes) -> bytes:
    """Return a text with U+FFFD for what is no character, as Go's decoder reads it: bytes that are no UTF-8, escapes of
    half a surrogate pair."""
    text = body.decode(errors=_REPLACED)
    return _ESCAPE.sub(lambda found: "\ufffd" if found[1] else found[0], text).encode()


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd" * (error.end - error.start), error.end


_REPLACED = "podstead.each_byte"
codecs.register_error(_REPLACED, _replaced)


def duplicate_fields(body: bytes) -> list[str]:
    """Return the paths of the fields that a JSON text holds more than once, each once."""
    try:
        json.loads(body, object_pairs_hook=_unique, parse_int=float)
    except _DuplicatedError:
        return list(dict.fromkeys(_find(json.loads(body, object_pairs_hook=_Pairs, parse_int=float), "")))
    return []


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise _DuplicatedError


def _find(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, item in value:
            below = f"{path}.{key}" if path else key
            if key in seen:
                yield below
            seen.add(key)
            yield from _find(item, below)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _find(item, f"{path}[{index}]")


def syntax_error(body: bytes) -> str:
    """Say what is wrong with a text that is not JSON, as Go's decoder does, which looks at bytes."""
    text = body.decode("latin-1")
    try:
        json.loads(text, parse_int=_in_range, parse_float=_in_range, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        if error.msg.startswith("Unterminated string") or not text[error.pos :].strip():
            return _TRUNCATED
        where = _SYNTAX.get(error.msg, "in literal")
        rest = text[error.pos :].lstrip()
        if error.msg == "Expecting ',' delimiter" and _inside_array(text[: error.pos]):
            where = "after array element"
        return f"invalid character {_quote(rest[0])} {where}"
    except RecursionError:
        return _TOO_DEEP
    except ValueError as error:
        return str(error)
    return "number out of range"


def _in_range(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"json: cannot unmarshal number {digits:.80} into Go value of type float64")
    return value


def _no_constant(name: str) -> float:
    """NaN and Infinity, which Python's decoder takes."""
    # `-I` is the beginning of a number, in which the letter is wrong.
    where = "in numeric literal" if name[0] == "-" else "looking for beginning of value"
    raise ValueError(f"invalid character '{name.lstrip('-')[0]}' {where}")


def _quote(letter: str) -> str:
    return "'\\''" if letter == "'" else f"'{letter}'" if letter.isprintable() else repr(letter)


def _inside_array(text: str) -> bool:
    """Whether the innermost bracket that is still open, strings aside, is an array's."""
    open_brackets, quoted, escaped = [], False, False
    for letter in text:
        if escaped:
            escaped = False
        elif quoted and letter == "\\":
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif not quoted and letter in "[{":
            open_brackets.append(letter)
        elif not quoted and letter in "]}" and open_brackets:
            open_brackets.pop()
    return open_brackets[-1:] == ["["]


def unrecognized(body: bytes, kind: str, problem: str) -> StatusError:
    """400 for a body of which not even the kind can be told."""
    wanted = f" (must be of type {kind})" if kind else ""
    return bad_request(f"the object provided is unrecognized{wanted}: {problem} ({_summary(body)})")


def _summary(body: bytes) -> str:
    """The beginning of a body: as text where it may be JSON, in hexadecimal where it is not."""
    if not body:
        return "<empty>"
    more = " ..." if len(body) > 30 else ""
    return (body[:30].decode(errors="replace") if body[:1] == b"{" else body[:30].hex()) + more
