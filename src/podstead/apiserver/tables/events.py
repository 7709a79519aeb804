"""The table of events, of the core group and of events.k8s.io."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from podstead.apiserver.tables.base import Cell, Column, Object, TableFormat, name_of, since
from podstead.apiserver.tables.cells import text


def _source(obj: Object) -> str:
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    component = source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    instance = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {instance}" if instance else str(component)


def _about(obj: Object) -> dict[str, Any]:
    return obj.get("involvedObject") or obj.get("regarding") or {}


def _target(about: dict[str, Any]) -> str:
    kind, name = text(about, "kind").lower(), about.get("name", "")
    return f"{kind}/{name}" if name else kind


def _cells(obj: Object, now: datetime) -> list[Cell]:
    """Both versions of an event say the same in fields of different names."""
    first = since(obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime"), now)
    last_time = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp")
    last = since(last_time, now) if last_time else first
    count = int(obj.get("count") or obj.get("deprecatedCount") or 1)
    series = obj.get("series")
    if series:
        last, count = since(series.get("lastObservedTime"), now), int(series.get("count") or 0)
    about = _about(obj)
    return [
        last,
        text(obj, "type"),
        text(obj, "reason"),
        _target(about),
        text(about, "fieldPath"),
        _source(obj),
        str(obj.get("message") or obj.get("note") or "").strip(),
        first,
        count,
        name_of(obj),
    ]


TABLES = {
    "events": TableFormat(
        (
            Column("Last Seen", "How long ago it happened last."),
            Column("Type", "Normal or Warning."),
            Column("Reason", "One word for why it happened."),
            Column("Object", "What it happened to."),
            Column("Subobject", "The part of the object that it happened to.", priority=1),
            Column("Source", "Who reports it.", priority=1),
            Column("Message", "What happened, in a sentence."),
            Column("First Seen", "How long ago it happened first.", priority=1),
            Column("Count", "How often it happened.", priority=1),
            Column("Name", "The event's own name.", format="name", priority=1),
        ),
        _cells,
    )
}
