"""events.k8s.io/v1 Event and core/v1 Event: the same fields, most of them under other names (KEP-383)."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
"""Field of events.k8s.io/v1 to field of core/v1, where they differ."""
_BACK = {core: new for new, core in NAMES.items()}


def to_stored(event: Object) -> Object:
    return {NAMES.get(name, name): value for name, value in event.items()}


def from_stored(event: Object) -> Object:
    return {_BACK.get(name, name): value for name, value in event.items()}
