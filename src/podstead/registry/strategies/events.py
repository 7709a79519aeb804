"""Events: selectable by what they are about; they expire."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from msgspec import Struct
from msgspec.json import Decoder

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
        return self.fields(entry.object) | {"metadata.name": entry.name, "metadata.namespace": entry.namespace}


def _stored_label(label: str) -> str:
    if label == "reportingController":
        return "reportingComponent"
    return label.replace("regarding.", "involvedObject.")


class _Created(Struct, rename="camel"):
    creation_timestamp: str | None = None


class _Series(Struct, rename="camel"):
    last_observed_time: str | None = None


class _Moments(Struct, rename="camel"):
    metadata: _Created
    last_timestamp: str | None = None
    event_time: str | None = None
    series: _Series | None = None


_decode_moments = Decoder(_Moments).decode


def expired(encoded: bytes, now: datetime) -> bool:
    """Tell whether the latest occurrence of an encoded event is more than TIME_TO_LIVE ago.

    Of the event no more is decoded than that: every one is asked every minute.
    """
    event = _decode_moments(encoded)
    observed = event.series.last_observed_time if event.series is not None else None
    latest: datetime | None = None
    for moment in (event.metadata.creation_timestamp, event.last_timestamp, event.event_time, observed):
        try:
            parsed = clock.parse(moment) if moment else None
        except ValueError:
            continue
        if parsed is not None and (latest is None or parsed > latest):
            latest = parsed
    return latest is None or now - latest > TIME_TO_LIVE
