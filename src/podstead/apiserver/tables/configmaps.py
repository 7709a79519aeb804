"""The table of configmaps."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of


def _cells(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age(obj, now)]


TABLE = TableFormat((NAME, Column("Data", "How many keys it has, text and binary."), AGE), _cells)
