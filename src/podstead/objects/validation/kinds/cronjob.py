"""Validation of cron jobs (https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import non_negative, one_of
from podstead.objects.validation.kinds.job import validate_job_spec

Object = Mapping[str, Any]
_CONCURRENCY = ("Allow", "Forbid", "Replace")
_NAME_LENGTH = 52
"""The controller adds eleven characters to it for the name of a job, which is a label's value."""
_FIELDS = 5
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_RANGES: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
"""Of minute, hour, day of the month, month, day of the week: the least, the most, and names for them."""
_SURELY_THERE = "Europe/London"
_ZONE_PART = re.compile(r"(?!-)[A-Za-z._0-9+-]{1,14}\Z")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_UNIT = re.compile(r"[^.0-9]+")
_UNITS = {
    "ns": 1,
    **dict.fromkeys(("us", "µs", "μs"), 10**3),
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
"""Nanoseconds; the two micros are the sign (U+00B5) and the letter (U+03BC)."""
_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


def validate(cron: Object) -> Iterator[FieldError]:
    name = (cron.get("metadata") or {}).get("name") or ""
    yield from _spec(cron.get("spec") or {})
    if len(name) > _NAME_LENGTH:
        yield meta.invalid("metadata.name", name, f"must be no more than {_NAME_LENGTH} characters")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return _spec(new.get("spec") or {})


def _spec(spec: Object) -> Iterator[FieldError]:
    schedule = spec.get("schedule") or ""
    if not schedule:
        yield meta.required("spec.schedule")
    else:
        yield from _schedule(schedule)
    yield from non_negative(
        spec, ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"), "spec"
    )
    yield from one_of(spec.get("concurrencyPolicy"), _CONCURRENCY, "spec.concurrencyPolicy")
    if spec.get("timeZone") is not None:
        yield from _time_zone(spec["timeZone"], "spec.timeZone")
    template = spec.get("jobTemplate") or {}
    yield from validate_job_spec(template.get("spec") or {}, "spec.jobTemplate.spec")


def _schedule(schedule: str) -> Iterator[FieldError]:
    path, fields = "spec.schedule", schedule.split()
    if "TZ" in schedule:
        yield meta.invalid(path, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    elif schedule.startswith("@"):
        every, space, duration = schedule.partition(" ")
        if every == "@every" and space:
            if problem := _duration_problem(duration):
                yield meta.invalid(path, schedule, f"failed to parse duration {schedule}: {problem}")
        elif schedule not in _MACROS:
            yield meta.invalid(path, schedule, f"unrecognized descriptor: {schedule}")
    elif len(fields) != _FIELDS:
        found = " ".join(fields)
        yield meta.invalid(path, schedule, f"expected exactly {_FIELDS} fields, found {len(fields)}: [{found}]")
    else:
        for field, (low, high, names) in zip(fields, _RANGES, strict=True):
            if problem := _field_problem(field, low, high, names):
                yield meta.invalid(path, schedule, problem)
                return


def _duration_problem(text: str) -> str:
    """Say what is wrong with a duration, "" where nothing is (Go's time.ParseDuration and its words)."""
    shown = f'"{text}"'
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return ""
    nanoseconds = 0
    if not rest:
        return f"time: invalid duration {shown}"
    while rest:
        number = _NUMBER.match(rest)
        if number is None:
            return f"time: invalid duration {shown}"
        rest = rest[number.end() :]
        unit = _UNIT.match(rest)
        if unit is None:
            return f"time: missing unit in duration {shown}"
        if unit[0] not in _UNITS:
            return f'time: unknown unit "{unit[0]}" in duration {shown}'
        rest = rest[unit.end() :]
        whole, _, part = number[0].partition(".")
        scale = _UNITS[unit[0]]
        nanoseconds += int(whole or 0) * scale + int(part or 0) * scale // 10 ** len(part)
    return f"time: invalid duration {shown}" if nanoseconds >= 2**63 else ""


def _time_zone(name: str, path: str) -> Iterator[FieldError]:
    """A name of the IANA time zone database, as far as this machine has it (or the package tzdata does)."""
    if not name:
        yield meta.invalid(path, name, "timeZone must be nil or non-empty string")
        return
    if not all(_ZONE_PART.match(part) and part not in (".", "..") for part in name.split("/")):
        yield meta.invalid(path, name, f"unknown time zone {name}")
        return
    if name.lower() == "local":
        detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        yield meta.invalid(path, name, detail)
    if name not in ("UTC", "Local") and not _known_zone(name):
        yield meta.invalid(path, name, f"unknown time zone {name}")


@lru_cache(maxsize=64)
def _known_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        # Without any database no name is wrong.
        return name != _SURELY_THERE and not _known_zone(_SURELY_THERE)
    return True


def _field_problem(field: str, low: int, high: int, names: tuple[str, ...]) -> str:
    """Say what is wrong with one field of a schedule, "" where nothing is (crontab(5); robfig/cron's words)."""
    for part in field.split(","):
        span, slash, step = part.partition("/")
        begin, dash, end = span.partition("-")
        if "/" in step or "-" in end:
            return f"too many {'slashes' if '/' in step else 'hyphens'}: {part}"
        bounds = [low, high]
        if span not in ("*", "?"):
            for place, text in ((0, begin), (1, end if dash else begin)):
                number = _number(text, low, names)
                if number is None:
                    return f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
                bounds[place] = number
        if slash and (not step.isascii() or not step.isdigit()):
            return f'failed to parse int from {step}: strconv.Atoi: parsing "{step}": invalid syntax'
        if bounds[0] < low:
            return f"beginning of range ({bounds[0]}) below minimum ({low}): {part}"
        if bounds[1] > high:
            return f"end of range ({bounds[1]}) above maximum ({high}): {part}"
        if bounds[0] > bounds[1]:
            return f"beginning of range ({bounds[0]}) beyond end of range ({bounds[1]}): {part}"
        if slash and not int(step):
            return f"step of range should be a positive number: {part}"
    return ""


def _number(text: str, low: int, names: tuple[str, ...]) -> int | None:
    if text.lower() in names:
        return names.index(text.lower()) + low
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
