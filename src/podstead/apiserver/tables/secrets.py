"""The table of secrets."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of


def _cells(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), str(obj.get("type", "")), len(obj.get("data") or ()), age(obj, now)]


TABLE = TableFormat(
    (NAME, Column("Type", "What the secret is for."), Column("Data", "How many keys it has."), AGE), _cells
)
