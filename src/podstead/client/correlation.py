"""Keeps events few: similar ones become one that counts, and one object's flood is cut.

Source: the event correlation of Kubernetes' client-go and its defaults: ten events that differ in nothing but their
message within ten minutes are combined; one component writes 25 events about one object at once, then one every five
minutes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

T = TypeVar("T")

SIMILAR = 10
"""Events of the same reason with as many different messages are combined."""
INTERVAL = 600.0
"""Seconds after which similar events are counted anew."""
BURST = 25
REFILL = 300.0
"""Seconds until an object's bucket, of BURST tokens, gets another one."""
_REMEMBERED = 4096
_COMBINED = "(combined from similar events): "


@dataclass(frozen=True, slots=True)
class Record:
    """An event to write. `involved`: an ObjectReference's fields; `combined`: it stands for similar ones too."""

    involved: tuple[tuple[str, str], ...]
    type: str
    reason: str
    message: str
    moment: datetime
    combined: bool = False

    @property
    def key(self) -> tuple[object, ...]:
        """What two records share if the second is counted as a repeat of the first."""
        if self.combined:
            return self.group
        return self.involved, self.type, self.reason, self.message

    @property
    def group(self) -> tuple[object, ...]:
        """What similar events share."""
        return self.about, self.type, self.reason

    @property
    def about(self) -> tuple[tuple[str, str], ...]:
        """The object, whichever part of it is meant."""
        return tuple(part for part in self.involved if part[0] != "fieldPath")


@dataclass(slots=True)
class _Group:
    last: float
    messages: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Correlator:
    """Asked for every record of one component, in order. Times are the records' own."""

    def __init__(self) -> None:
        self._groups: OrderedDict[tuple[object, ...], _Group] = OrderedDict()
        self._buckets: OrderedDict[tuple[object, ...], _Bucket] = OrderedDict()

    def combine(self, record: Record) -> Record:
        """Return the record, or the one for all that are similar if these are too many."""
        now = record.moment.timestamp()
        group = self._groups.get(record.group)
        if group is None or now - group.last > INTERVAL:
            group = _Group(now)
        group.last = now
        group.messages.add(record.message)
        _remember(self._groups, record.group, group)
        if len(group.messages) < SIMILAR:
            return record
        group.messages.pop()
        message = (_COMBINED + record.message).encode()[:1024].decode(errors="ignore")
        return replace(record, message=message, combined=True)

    def allows(self, record: Record) -> bool:
        """Take a token from the object's bucket; False where there is none."""
        now = record.moment.timestamp()
        bucket = self._buckets.get(record.about)
        if bucket is None:
            bucket = _Bucket(BURST, now)
        else:
            bucket.tokens = min(BURST, bucket.tokens + max(now - bucket.at, 0.0) / REFILL)
            bucket.at = now
        _remember(self._buckets, record.about, bucket)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def _remember(known: OrderedDict[tuple[object, ...], T], key: tuple[object, ...], value: T) -> None:
    known[key] = value
    known.move_to_end(key)
    while len(known) > _REMEMBERED:
        known.popitem(last=False)
