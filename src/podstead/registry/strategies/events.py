"""Events: selectable by what they are about; they expire."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from podstead import clock
from podstead.registry.entry import Entry
from podstead.registry.strategies.base import Object, Strategy, text

TIME_TO_LIVE = timedelta(hours=1)
_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


class EventStrategy(Strategy):
    """A PUT may create, as a recorder that counts does not know what has expired."""

    creates_on_update: ClassVar[bool] = True
    extra_field_labels: ClassVar[frozenset[str]] = frozenset(
        {*(f"involvedObject.{field}" for field in _INVOLVED), "reason", "reportingComponent", "source", "type"}
    )

    def fields(self, obj: Object) -> dict[str, str]:
        involved: dict[str, Any] = obj.get("involvedObject") or {}
        source = (obj.get("source") or {}).get("component") or obj.get("reportingComponent")
        fields = {f"involvedObject.{field}": text(involved.get(field)) for field in _INVOLVED}
        return fields | {
            "reason": text(obj.get("reason")),
            "reportingComponent": text(obj.get("reportingComponent")),
            "source": text(source),
            "type": text(obj.get("type")),
        }


class NewEventStrategy(EventStrategy):
    """events.k8s.io/v1: the same objects, selected by the names that their fields have there."""

    extra_field_labels: ClassVar[frozenset[str]] = frozenset(
        {*(f"regarding.{field}" for field in _INVOLVED), "reason", "reportingController", "type"}
    )

    def fields(self, obj: Object) -> dict[str, str]:
        # `obj` is in the stored form.
        core = super().fields(obj)
        return core | {label: core[_stored_label(label)] for label in self.extra_field_labels}

    def fields_of(self, entry: Entry) -> dict[str, str]:
        # What the entry keeps is for the labels of the other version.
        metadata = entry.object["metadata"]
        own = {"metadata.name": metadata.get("name", ""), "metadata.namespace": metadata.get("namespace", "")}
        return self.fields(entry.object) | own


def _stored_label(label: str) -> str:
    if label == "reportingController":
        return "reportingComponent"
    return label.replace("regarding.", "involvedObject.")


def expired(event: Object, now: datetime) -> bool:
    """Tell whether an event's latest occurrence is more than TIME_TO_LIVE ago."""
    moments = [
        event["metadata"].get("creationTimestamp"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        (event.get("series") or {}).get("lastObservedTime"),
    ]
    latest: datetime | None = None
    for moment in moments:
        try:
            parsed = clock.parse(moment) if moment else None
        except ValueError:
            continue
        if parsed is not None and (latest is None or parsed > latest):
            latest = parsed
    return latest is None or now - latest > TIME_TO_LIVE
