"""The table of pod disruption budgets."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of
from podstead.apiserver.tables.cells import spec_of, status_of, text

_NOT_GIVEN = "N/A"


def _budget(obj: Object, now: datetime) -> list[Cell]:
    spec = spec_of(obj)
    return [
        name_of(obj),
        text(spec, "minAvailable", _NOT_GIVEN),
        text(spec, "maxUnavailable", _NOT_GIVEN),
        int(status_of(obj).get("disruptionsAllowed") or 0),
        age(obj, now),
    ]


TABLES = {
    "poddisruptionbudgets": TableFormat(
        (
            NAME,
            Column("Min Available", "How many pods must stay available, as a number or a share."),
            Column("Max Unavailable", "How many pods may be unavailable, as a number or a share."),
            Column("Allowed Disruptions", "How many pods may be evicted now.", type="integer"),
            AGE,
        ),
        _budget,
    ),
}
