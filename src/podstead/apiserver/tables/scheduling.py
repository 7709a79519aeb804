"""The tables of priority classes and runtime classes."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of
from podstead.apiserver.tables.cells import text


def _priority_class(obj: Object, now: datetime) -> list[Cell]:
    return [
        name_of(obj),
        int(obj.get("value") or 0),
        bool(obj.get("globalDefault")),
        age(obj, now),
        text(obj, "preemptionPolicy"),
    ]


def _runtime_class(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), text(obj, "handler"), age(obj, now)]


TABLES = {
    "priorityclasses": TableFormat(
        (
            NAME,
            Column("Value", "The priority of its pods.", type="integer"),
            Column("Global-Default", "Whether pods that name no class have this one.", type="boolean"),
            AGE,
            Column("PreemptionPolicy", "Whether its pods may displace others."),
        ),
        _priority_class,
    ),
    "runtimeclasses": TableFormat((NAME, Column("Handler", "The runtime that it stands for."), AGE), _runtime_class),
}
