"""The tables of metrics.k8s.io, as metrics-server prints them: what is used, and over which time it was measured."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import NAME, Cell, Column, Object, TableFormat, name_of
from podstead.apiserver.tables.cells import text


def _node(obj: Object, _: datetime) -> list[Cell]:
    return [name_of(obj), *_used([obj["usage"]]), text(obj, "window")]


def _pod(obj: Object, _: datetime) -> list[Cell]:
    return [name_of(obj), *_used([one["usage"] for one in obj["containers"]]), text(obj, "window")]


def _used(usages: list[dict[str, str]]) -> list[Cell]:
    cpu = sum(int(usage["cpu"].removesuffix("n")) for usage in usages)
    memory = sum(int(usage["memory"].removesuffix("Ki")) for usage in usages)
    return [f"{cpu}n" if cpu else "0", f"{memory}Ki"]


_COLUMNS = (
    NAME,
    Column("cpu", "Processor time a second, in billionths of a core."),
    Column("memory", "The working set."),
    Column("Window", "The time between the two samples."),
)

TABLES = {"nodes": TableFormat(_COLUMNS, _node), "pods": TableFormat(_COLUMNS, _pod)}
