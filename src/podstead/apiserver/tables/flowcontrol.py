"""The tables of API priority and fairness."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of
from podstead.apiserver.tables.cells import NONE, condition, spec_of, status_of, text


def _flow_schema(obj: Object, now: datetime) -> list[Cell]:
    spec = spec_of(obj)
    method = spec.get("distinguisherMethod")
    return [
        name_of(obj),
        text((spec.get("priorityLevelConfiguration") or {}), "name"),
        int(spec.get("matchingPrecedence") or 0),
        NONE if method is None else text(method, "type"),
        age(obj, now),
        str(condition(status_of(obj), "Dangling").get("status", "?")),
    ]


def _precedence(obj: Object) -> tuple[int, str]:
    """The order in which flow schemas are tried, which their table shows."""
    return int(spec_of(obj).get("matchingPrecedence") or 0), name_of(obj)


def _priority_level(obj: Object, now: datetime) -> list[Cell]:
    spec = spec_of(obj)
    limited: dict[str, Any] | None = spec.get("limited")
    queuing = ((limited or {}).get("limitResponse") or {}).get("queuing")

    def number(holder: dict[str, Any] | None, field: str) -> Cell:
        return NONE if holder is None else int(holder.get(field) or 0)

    return [
        name_of(obj),
        text(spec, "type"),
        number(limited, "nominalConcurrencyShares"),
        number(queuing, "queues"),
        number(queuing, "handSize"),
        number(queuing, "queueLengthLimit"),
        age(obj, now),
    ]


TABLES = {
    "flowschemas": TableFormat(
        (
            NAME,
            Column("PriorityLevel", "The priority level of its requests."),
            Column("MatchingPrecedence", "Lower numbers are tried first."),
            Column("DistinguisherMethod", "What parts its requests into flows."),
            AGE,
            Column("MissingPL", "Whether the priority level does not exist."),
        ),
        _flow_schema,
        order=_precedence,
    ),
    "prioritylevelconfigurations": TableFormat(
        (
            NAME,
            Column("Type", "Whether its requests are limited."),
            Column("NominalConcurrencyShares", "Its share of the requests that run at once."),
            Column("Queues", "How many queues it has."),
            Column("HandSize", "How many queues a flow is spread over."),
            Column("QueueLengthLimit", "How many requests may wait in a queue."),
            AGE,
        ),
        _priority_level,
    ),
}
