"""The table of events."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import Cell, Column, Object, TableFormat, name_of, since


def _source(obj: Object) -> str:
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent") or ""
    instance = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {instance}" if instance else component


def _target(obj: Object) -> str:
    involved = obj.get("involvedObject") or {}
    kind, name = str(involved.get("kind", "")).lower(), involved.get("name", "")
    return f"{kind}/{name}" if name else kind


def _cells(obj: Object, now: datetime) -> list[Cell]:
    first = since(obj.get("firstTimestamp") or obj.get("eventTime"), now)
    last = since(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
    count = int(obj.get("count") or 1)
    series = obj.get("series")
    if series:
        last, count = since(series.get("lastObservedTime"), now), int(series.get("count") or 0)
    return [
        last,
        str(obj.get("type", "")),
        str(obj.get("reason", "")),
        _target(obj),
        str((obj.get("involvedObject") or {}).get("fieldPath", "")),
        _source(obj),
        str(obj.get("message", "")).strip(),
        first,
        count,
        name_of(obj),
    ]


TABLE = TableFormat(
    (
        Column("Last Seen", "How long ago it happened last."),
        Column("Type", "Normal or Warning."),
        Column("Reason", "One word for why it happened."),
        Column("Object", "What it happened to."),
        Column("Subobject", "The part of the object that it happened to.", priority=1),
        Column("Source", "Who reports it.", priority=1),
        Column("Message", "What happened, in a sentence."),
        Column("First Seen", "How long ago it happened first.", priority=1),
        Column("Count", "How often it happened.", type="integer", priority=1),
        Column("Name", "The event's own name.", format="name", priority=1),
    ),
    _cells,
)
