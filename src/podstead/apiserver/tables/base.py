"""What a table is made of, and its encoding as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from podstead.apiserver.tables.duration import human_duration

Object = Mapping[str, Any]
Cell = str | int | bool
"""A value of a column. Where a real server writes a number under a column of type `string`, so does this one."""

NO_COLUMNS = b"null"
"""columnDefinitions of all events of a watch but the first, which client-go reads as `the same as before`."""


@dataclass(frozen=True, slots=True)
class Column:
    """TableColumnDefinition. `priority` 0 is always shown, 1 only in wide output."""

    name: str
    description: str
    type: str = "string"
    format: str = ""
    priority: int = 0


NAME = Column("Name", "The object's name, unique among its kind within a namespace.", format="name")
AGE = Column("Age", "How long ago the object was created.")


def _no_conditions(obj: Object) -> list[dict[str, str]]:
    return []


@dataclass(frozen=True, slots=True)
class TableFormat:
    """The columns of a kind; `cells(object, now)` gives one value a column, wide ones included.

    `conditions` gives a row's TableRowConditions; `order`, where there is one, the key by which rows are sorted.
    """

    columns: tuple[Column, ...]
    cells: Callable[[Object, datetime], list[Cell]]
    conditions: Callable[[Object], list[dict[str, str]]] = field(default=_no_conditions)
    order: Callable[[Object], Any] | None = None

    def definitions(self) -> bytes:
        """Return columnDefinitions as JSON."""
        return msgspec.json.encode(self.columns)

    def row(self, obj: Object, now: datetime, included: bytes) -> bytes:
        """Return one TableRow as JSON; `included` is what goes to its `object` field, encoded."""
        conditions = self.conditions(obj)
        extra = b',"conditions":' + msgspec.json.encode(conditions) if conditions else b""
        cells = msgspec.json.encode(self.cells(obj, now))
        return b'{"cells":' + cells + extra + b',"object":' + included + b"}"


def encode(api_version: str, list_meta: bytes, definitions: bytes, rows: Iterable[bytes]) -> bytes:
    """Return a Table. `list_meta` is its metadata, encoded; `definitions` are its columns, or NO_COLUMNS."""
    head = b'{"kind":"Table","apiVersion":"' + api_version.encode() + b'","metadata":' + list_meta
    return head + b',"columnDefinitions":' + definitions + b',"rows":[' + b",".join(rows) + b"]}"


def partial_object(obj: Object, api_version: str) -> bytes:
    """Return the PartialObjectMetadata of an object as JSON."""
    head = b'{"kind":"PartialObjectMetadata","apiVersion":"' + api_version.encode() + b'","metadata":'
    return head + msgspec.json.encode(obj.get("metadata", {})) + b"}"


def name_of(obj: Object) -> str:
    return str(obj.get("metadata", {}).get("name", ""))


def moment(timestamp: Any) -> datetime | None:
    """Return an RFC 3339 timestamp as a time, None where there is none or it is not one."""
    try:
        then = datetime.fromisoformat(str(timestamp).replace("Z", "+00:00"))
    except ValueError:
        return None
    return then if then.tzinfo else None


def since(timestamp: Any, now: datetime) -> str:
    """Return the age of an RFC 3339 timestamp, `<unknown>` where there is none."""
    then = moment(timestamp) if timestamp else None
    return human_duration((now - then).total_seconds()) if then else "<unknown>"


def age(obj: Object, now: datetime) -> str:
    return since(obj.get("metadata", {}).get("creationTimestamp"), now)


def _generic_cells(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), str(obj.get("metadata", {}).get("creationTimestamp") or "")]


GENERIC = TableFormat((NAME, Column("Created At", "When the object was created.", type="date")), _generic_cells)
