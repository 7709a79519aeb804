"""Validation of events.k8s.io/v1 events: stricter than of core's, in the paths that the fields have there (KEP-383)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.conversion.events import NAMES
from podstead.objects.errors import FieldError
from podstead.objects.validation import event as core

Object = Mapping[str, Any]

_TYPES = ("Normal", "Warning")
_UNSET = "needs to be unset"
_OLD = ("firstTimestamp", "lastTimestamp", "count", "source")
_FIXED = (
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
)


def validate(event: Object) -> Iterator[FieldError]:
    stored = _stored(event)
    yield from core.validate_content(stored)
    yield from _series(stored)
    if not stored.get("eventTime"):
        yield meta.required("eventTime")
    if stored.get("type") not in _TYPES:
        yield meta.invalid("type", "", f"has invalid value: {stored.get('type') or ''}")
    yield from (meta.invalid(field, "", _UNSET) for field in _OLD if stored.get(field))


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    """Only the series, and the metadata, may change."""
    stored, before = _stored(new), _stored(old)
    yield from core.validate_content(stored)
    yield from _series(stored)
    for field in _FIXED:
        if stored.get(field) != before.get(field):
            path = "reportingController" if field == "reportingComponent" else field
            yield meta.invalid(path, stored.get(field), meta.IMMUTABLE)


def _stored(event: Object) -> dict[str, Any]:
    return {NAMES.get(name, name): value for name, value in event.items()}


def _series(event: Object) -> Iterator[FieldError]:
    series = event.get("series")
    if series is not None:
        if (series.get("count") or 0) < 2:
            yield meta.invalid("series.count", "", "should be at least 2")
        if not series.get("lastObservedTime"):
            yield meta.required("series.lastObservedTime")
