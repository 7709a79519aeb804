"""The table of API services."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of
from podstead.apiserver.tables.cells import condition, spec_of, status_of, text


def _api_service(obj: Object, now: datetime) -> list[Cell]:
    service = spec_of(obj).get("service")
    available = condition(status_of(obj), "Available")
    state = text(available, "status", "Unknown")
    if available and state != "True":
        state = f"{state} ({available.get('reason', '')})"
    return [
        name_of(obj),
        f"{service.get('namespace', '')}/{service.get('name', '')}" if service is not None else "Local",
        state,
        age(obj, now),
    ]


TABLES = {
    "apiservices": TableFormat(
        (
            NAME,
            Column("Service", "The service that answers, or this server itself."),
            Column("Available", "Whether it answers."),
            AGE,
        ),
        _api_service,
    ),
}
