"""The table of leases."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of
from podstead.apiserver.tables.cells import spec_of, text


def _lease(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), text(spec_of(obj), "holderIdentity"), age(obj, now)]


TABLES = {"leases": TableFormat((NAME, Column("Holder", "Who holds the lease."), AGE), _lease)}
