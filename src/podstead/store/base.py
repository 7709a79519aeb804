"""The store's protocol: a revisioned key-value map with compare-and-swap, history and commit notification.

Revisions are positive integers that rise by one a write, over the whole store. Keys are text, values bytes.
Order of events, for every implementation:

1. The check of a compare-and-swap and the giving out of the revision happen in commit order, against what is
   pending before it; one failed check fails that write alone.
2. After a batch is durable, subscribers are called on the event loop with its events in revision order, once each.
3. Only then are the batch's writers answered. A commit that fails publishes nothing and fails all its writers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


class StoreError(Exception):
    """The store could not do what was asked.

    StoreError
    +-- KeyExists         create: the key is there already
    +-- KeyMissing        update, delete: the key is not there
    +-- RevisionMismatch  update, delete: the key is at another revision
    +-- Compacted         list at a revision, or subscribe from one, that is no longer kept
    """


class KeyExists(StoreError):
    """create: the key is there already."""


class KeyMissing(StoreError):
    """update, delete: the key is not there."""


class RevisionMismatch(StoreError):
    """update, delete: the key is at another revision; `current` is that."""

    def __init__(self, current: int) -> None:
        super().__init__(f"the key is at revision {current}")
        self.current = current


class Compacted(StoreError):
    """The revision asked for is older than what is kept; `oldest` is the oldest that can be read."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"revisions before {oldest} are gone")
        self.oldest = oldest


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key at one revision: `revision` is that of its last write."""

    key: str
    value: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One write that is durable. `value` is None for a delete; `created` tells a create from an update."""

    key: str
    revision: int
    value: bytes | None
    created: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing, sorted by key: `revision` is the store's when read, `remaining` how many keys follow."""

    items: list[KeyValue]
    revision: int
    remaining: int


Subscriber = Callable[[Sequence[Commit]], None]


class Store(Protocol):
    """What the registry asks of a store. All methods are called on the event loop's thread."""

    @property
    def revision(self) -> int:
        """The revision of the last commit that subscribers have seen."""
        ...

    @property
    def failed(self) -> bool:
        """Whether nothing can be written any more: a fault that only a new start cures."""
        ...

    @property
    def compacted(self) -> int:
        """The oldest revision at which `list` can still read."""
        ...

    async def open(self) -> None: ...

    async def close(self) -> None:
        """Finish what was accepted, then close. Writes after this raise StoreError."""
        ...

    async def get(self, key: str) -> KeyValue | None: ...

    async def list(self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0) -> Page:
        """Return keys that start with `prefix` and sort after `after`, as they were at `revision` (0: now).

        `limit` 0 means all. Raises Compacted.
        """
        ...

    async def create(self, key: str, value: bytes) -> int:
        """Write a new key; returns its revision. Raises KeyExists."""
        ...

    async def update(self, key: str, value: bytes, expected: int) -> int:
        """Replace a key that is at revision `expected`. Raises KeyMissing, RevisionMismatch."""
        ...

    async def delete(self, key: str, expected: int) -> int:
        """Remove a key that is at revision `expected`; returns the revision of the removal. Raises as update."""
        ...

    def subscribe(self, subscriber: Subscriber) -> None:
        """Have `subscriber` called with each batch of commits from now on; it must not block, raise or await."""
        ...
