"""What the API's verbs exchange beside single objects: lists, watch events, patch types.

Shared by whatever serves these verbs in the same process (the registry) and whatever asks for them (client.base).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Object = dict[str, Any]


class PatchType(StrEnum):
    """Content types of a PATCH body."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"


class EventType(StrEnum):
    """Types of a watch event, as on the wire. A `Client` turns ERROR into a StatusError."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change. For DELETED `object` is the last state, at the revision of its removal."""

    type: EventType
    object: Object


@dataclass(frozen=True, slots=True)
class ObjectList:
    """A consistent listing: a watch from `resource_version` continues it without a gap."""

    items: list[Object]
    resource_version: str
