"""What has changed between two objects, in the form in which the API server shows it under an error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

# Fields of pods in which false and 0 are the same as nothing, as they are no pointers in Kubernetes' types: a client
# that reads a pod and writes it again leaves them out.
_ZERO_IS_NOTHING = frozenset(
    {
        "chapAuthDiscovery",
        "chapAuthSession",
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "hostPort",
        "initialDelaySeconds",
        "lun",
        "partition",
        "readOnly",
        "sslEnabled",
        "stdin",
        "stdinOnce",
        "tty",
    }
)


def difference(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> str:
    """The fields that differ, `-` before the old and `+` before the new value of each; empty where none does."""
    if old == new:
        return ""
    lines = list(_fields(old, new, 1))
    return "\n".join([f"  {name}{{", *lines, "  }", ""]) if _tell(lines) else ""


def _tell(lines: list[str]) -> bool:
    return any(line[0] != " " for line in lines)


def _fields(old: Mapping[str, Any], new: Mapping[str, Any], depth: int) -> Iterator[str]:
    alike = 0
    for key in [*old, *(key for key in new if key not in old)]:
        lines = list(_entry(f"{key}: ", _value(old, key), _value(new, key), depth))
        alike += not lines
        yield from lines
    if alike:
        indent = "\t" * depth
        yield f"  {indent}... // {alike} identical fields"


def _value(holder: Mapping[str, Any], key: str) -> Any:
    """What a field holds; None for what counts as nothing."""
    value = holder.get(key)
    is_number = isinstance(value, bool | int | float)
    return value if value or (is_number and key not in _ZERO_IS_NOTHING) else None


def _entry(label: str, was: Any, now: Any, depth: int) -> Iterator[str]:
    """The lines of one field or element, none where it is the same."""
    if was == now:
        return
    indent = "\t" * depth
    lines: list[str] | None = None
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        lines = list(_fields(was, now, depth + 1))
    elif isinstance(was, list) and isinstance(now, list):
        lines = []
        for index in range(max(len(was), len(now))):
            before, after = (each[index] if index < len(each) else None for each in (was, now))
            lines += _entry("", before, after, depth + 1)
    if lines is None:
        for mark, value in (("-", was), ("+", now)):
            if value is not None:
                yield f"{mark} {indent}{label}{json.dumps(value, ensure_ascii=False)},"
    elif _tell(lines):
        yield from [f"  {indent}{label}{{", *lines, f"  {indent}}},"]
