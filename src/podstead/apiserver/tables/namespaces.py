"""The table of namespaces."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of


def _cells(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), str((obj.get("status") or {}).get("phase", "")), age(obj, now)]


TABLE = TableFormat((NAME, Column("Status", "Whether the namespace is in use or ends."), AGE), _cells)
