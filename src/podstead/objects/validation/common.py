"""Rules that several fields share: required parts, choices, paths within a volume, ports, addresses, file modes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError

Object = Mapping[str, Any]

NON_NEGATIVE = "must be greater than or equal to 0"
POSITIVE = "must be greater than zero"
FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
BAD_OPERATOR = "not a valid selector operator"
MAX_INT32 = 2**31 - 1
MAX_ID = 2**31 - 1
"""The largest user or group id that OCI runtimes and the API take."""

_PORT_NAME = re.compile(r"[-a-z0-9]+\Z")
_PORT_NAME_LENGTH = 15


def each(path: str, value: Any, problems: Iterable[str]) -> Iterator[FieldError]:
    """One error for each problem that a value has."""
    return (meta.invalid(path, value, problem) for problem in problems)


def needs(holder: Object, path: str, *fields: str) -> Iterator[FieldError]:
    """Each of the fields has to be there and not be empty."""
    for field in fields:
        if not holder.get(field):
            yield meta.required(f"{path}.{field}")


def one_of(value: str | None, choices: Sequence[str], path: str) -> Iterator[FieldError]:
    """A field that has to be set (defaulting does) to one of `choices`."""
    if not value:
        yield meta.required(path)
    elif value not in choices:
        yield meta.unsupported(path, value, choices)


def choice(holder: Object, field: str, choices: Sequence[str], path: str) -> Iterator[FieldError]:
    """A field that may be left out, and is one of `choices` if it is not."""
    value = holder.get(field)
    if value is not None and value not in choices:
        yield meta.unsupported(f"{path}.{field}", value, choices)


def required_name(value: str, path: str) -> Iterator[FieldError]:
    """A DNS label that has to be there."""
    if value:
        yield from each(path, value, meta.dns_label_problems(value))
    else:
        yield meta.required(path)


def label_key(value: str, path: str) -> Iterator[FieldError]:
    return each(path, value, meta.label_key_problems(value))


def file_mode(holder: Object, field: str, path: str) -> Iterator[FieldError]:
    mode = holder.get(field)
    if mode is not None and not 0 <= mode <= 0o777:
        yield meta.invalid(f"{path}.{field}", mode, FILE_MODE)


def ids(holder: Object, fields: Iterable[str], path: str) -> Iterator[FieldError]:
    """User and group ids, where they are set."""
    for field in fields:
        if holder.get(field) is not None:
            yield from one_id(holder[field], f"{path}.{field}")


def one_id(value: int, path: str) -> Iterator[FieldError]:
    if not 0 <= value <= MAX_ID:
        yield meta.invalid(path, value, meta.in_range(0, MAX_ID))


def non_negative(holder: Object, fields: Iterable[str], path: str) -> Iterator[FieldError]:
    for field in fields:
        if (holder.get(field) or 0) < 0:
            yield meta.invalid(f"{path}.{field}", holder[field], NON_NEGATIVE)


def no_backsteps(target: str, path: str) -> Iterator[FieldError]:
    if ".." in target.split("/"):
        yield meta.invalid(path, target, "must not contain '..'")


def descending_path(target: str, path: str) -> Iterator[FieldError]:
    """A relative path that does not lead upwards."""
    if target.startswith("/"):
        yield meta.invalid(path, target, "must be a relative path")
    yield from no_backsteps(target, path)


def local_path(target: str, path: str) -> Iterator[FieldError]:
    """As `descending_path`; names that begin with two dots are the kubelet's own, too."""
    yield from descending_path(target, path)
    if target.startswith("..") and not target.startswith("../"):
        yield meta.invalid(path, target, "must not start with '..'")


def port_name_problems(name: str) -> list[str]:
    """A service name of RFC 6335, in lower case."""
    problems = [meta.too_long(_PORT_NAME_LENGTH)] if len(name) > _PORT_NAME_LENGTH else []
    if not _PORT_NAME.match(name):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", name):
        problems.append("must contain at least one letter (a-z)")
    if "--" in name:
        problems.append("must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def port_number(number: int, path: str) -> Iterator[FieldError]:
    if not 1 <= number <= 65535:
        yield meta.invalid(path, number, meta.in_range(1, 65535))


def port(value: int | str, path: str) -> Iterator[FieldError]:
    """A port by number or by the name that a container gives it."""
    if isinstance(value, str):
        yield from each(path, value, port_name_problems(value))
    else:
        yield from port_number(value, path)


def is_ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return "%" not in value


def ip_errors(path: str, value: str) -> Iterator[FieldError]:
    """An IPv4 or IPv6 address."""
    if not is_ip(value):
        yield meta.invalid(path, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
