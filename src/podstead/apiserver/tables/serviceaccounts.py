"""The table of service accounts."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of


def _cells(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), len(obj.get("secrets") or ()), age(obj, now)]


TABLE = TableFormat((NAME, Column("Secrets", "How many secrets its pods may use."), AGE), _cells)
