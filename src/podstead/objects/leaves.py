"""Checks of JSON values that are no structs: strings, numbers, base64, times, quantities, int-or-strings.

Each check takes a decoded JSON value and returns it as the API would print it again: a quantity in its canonical form,
a time in UTC. It raises MismatchError where the JSON type is wrong (the caller knows the field) and ValueError where
the text is. The messages are those that a Go API server gives (encoding/json, time, encoding/base64).
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from podstead.objects.quantity import Quantity

Leaf = Callable[[Any], Any]


class MismatchError(Exception):
    """A JSON value of the wrong type: `found` and `wanted` in Go's words."""

    def __init__(self, value: Any, wanted: str, *, exact: bool = False) -> None:
        super().__init__(f"{describe(value, exact)} into {wanted}")
        self.found = describe(value, exact)
        self.wanted = wanted


def describe(value: Any, exact: bool = False) -> str:
    """A JSON value's type as encoding/json names it; `exact` adds the number, as for one out of range."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return f"number {value}" if exact else "number"
    if isinstance(value, str):
        return "string"
    return "null" if value is None else "array" if isinstance(value, list) else "object"


def check_string(value: Any) -> str:
    if type(value) is not str:
        raise MismatchError(value, "string")
    return value


def check_bool(value: Any) -> bool:
    if type(value) is not bool:
        raise MismatchError(value, "bool")
    return value


def check_int32(value: Any) -> int:
    if type(value) is not int or not -(2**31) <= value < 2**31:
        raise MismatchError(value, "int32", exact=True)
    return value


def check_int64(value: Any) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise MismatchError(value, "int64", exact=True)
    return value


def check_float(value: Any) -> float:
    if type(value) not in (int, float):
        raise MismatchError(value, "float64")
    return value  # type: ignore[no-any-return]


def check_int_or_string(value: Any) -> int | str:
    return value if type(value) is str else check_int32(value)


def check_object(value: Any) -> Any:
    if type(value) is not dict:
        raise MismatchError(value, "map[string]interface {}")
    return value


def check_any(value: Any) -> Any:
    return value


def check_quantity(value: Any) -> str:
    if type(value) is str:
        return _canonical(value)
    if type(value) in (int, float):
        return Quantity.parse(value).canonical()
    raise ValueError(str(_wrong_quantity()))


@lru_cache(maxsize=1024)
def _canonical(text: str) -> str:
    return Quantity.parse(text).canonical()


def _wrong_quantity() -> ValueError:
    try:
        Quantity.parse("")
    except ValueError as error:
        return error
    raise AssertionError("an empty quantity was accepted")


def check_bytes(value: Any) -> str:
    """Base64 with padding, RFC 4648 section 4; line breaks within are dropped."""
    if type(value) is not str:
        raise MismatchError(value, "[]uint8")
    try:
        binascii.a2b_base64(value, strict_mode=True)
        # It takes whole quanta of padding for right.
        if len(value) - len(value.rstrip("=")) <= 2:
            return value
    except ValueError:
        pass
    joined = value.replace("\r", "").replace("\n", "")
    where = _illegal_base64(joined)
    if where is None:
        return b64encode(binascii.a2b_base64(joined)).decode()
    # The position counts the line breaks too.
    kept = [index for index, letter in enumerate(value) if letter not in "\r\n"]
    raise ValueError(f"illegal base64 data at input byte {kept[where] if where < len(kept) else len(value)}")


_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*")
_TAIL = re.compile(r"[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=")
_LETTERS = re.compile(r"[A-Za-z0-9+/]*")


def _illegal_base64(text: str) -> int | None:
    """Return where text without line breaks stops to be base64, or None."""
    body = _BASE64.match(text)
    assert body is not None  # it matches nothing at least
    if body.end() == len(text):
        return None
    tail = _TAIL.match(text, body.end())
    if tail is not None:
        return None if tail.end() == len(text) else tail.end()
    letters = _LETTERS.match(text, body.end())
    assert letters is not None
    # A quantum that ends early is reported where it begins, a foreign letter where it stands.
    return body.end() if letters.end() == len(text) else letters.end()


_TIME = re.compile(r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:[.,](\d+))?(Z|[+-]\d{2}:\d{2})", re.ASCII)


def check_time(value: Any) -> str:
    """RFC 3339, printed in UTC to the second: metav1.Time."""
    return _time(value, '"2006-01-02T15:04:05Z07:00"')[0] + "Z"


def check_micro_time(value: Any) -> str:
    """RFC 3339, printed in UTC to the microsecond: metav1.MicroTime."""
    seconds, fraction = _time(value, '"2006-01-02T15:04:05.000000Z07:00"')
    return f"{seconds}.{fraction[:6]:0<6}Z"


def _time(value: Any, layout: str) -> tuple[str, str]:
    """Return a timestamp's UTC seconds as text, and the digits of its fraction."""
    if type(value) is not str:
        raise MismatchError(value, "string")
    match = _TIME.fullmatch(value)
    if match is None:
        raise ValueError(f'parsing time "{value}" as {layout}: cannot parse "{value}" as "2006"')
    if match[8] == "Z" and _plausible(match):
        return value[:19], match[7] or ""
    try:
        moment = datetime.fromisoformat(value[:19]) - _offset(match[8])
    except (ValueError, OverflowError) as error:
        raise ValueError(f'parsing time "{value}": {_out_of_range(match)} out of range') from error
    return moment.isoformat(), match[7] or ""


def _plausible(match: re.Match[str]) -> bool:
    """Whether a date is right on sight, which spares the common case the calendar."""
    return "01" <= match[2] <= "12" and "01" <= match[3] <= "28" and match[4] < "24" and match[5] < "60" > match[6]


def _offset(zone: str) -> timedelta:
    if zone == "Z":
        return timedelta()
    hours, minutes = int(zone[1:3]), int(zone[4:])
    if hours > 24 or minutes > 59:
        raise ValueError("time zone offset")
    return timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)


def _out_of_range(match: re.Match[str]) -> str:
    if not "01" <= match[2] <= "12":
        return "month"
    if match[4] > "23":
        return "hour"
    if match[5] > "59":
        return "minute"
    if match[6] > "59":
        return "second"
    return "day"


LEAVES: dict[str, Leaf] = {
    "string": check_string,
    "bool": check_bool,
    "int32": check_int32,
    "int64": check_int64,
    "float64": check_float,
    "bytes": check_bytes,
    "any": check_any,
    "object": check_object,
    "quantity": check_quantity,
    "intorstring": check_int_or_string,
    "time": check_time,
    "microtime": check_micro_time,
}
# What a JSON null within a list or map becomes: Go's zero value.
ZEROS: dict[str, Any] = {
    "string": "",
    "bool": False,
    "int32": 0,
    "int64": 0,
    "float64": 0,
    "bytes": "",
    "quantity": "0",
    "intorstring": 0,
}
# Types whose right JSON type needs no further look.
EXACT: dict[str, type] = {"string": str, "bool": bool}
