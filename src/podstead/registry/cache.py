"""The watch cache of one resource: its present objects, sorted, and a window of its latest changes.

It is changed by `apply` alone, on the loop, when the store has committed; so whatever runs on the loop between two
awaits sees one state, the one at `revision`.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator

from podstead import clock
from podstead.objects.kinds import ResourceInfo
from podstead.registry.entry import Codec, Entry
from podstead.registry.watch import Change, Event, Watch, bookmark_event
from podstead.store.base import Commit, KeyValue

WINDOW_EVENTS = 4096
WINDOW_SECONDS = 180.0
WINDOW_KEEP = 128
"""Changes that stay in the window however old they are."""
WINDOW_BYTES = 32 << 20
"""Bytes of objects in the window above which changes leave it; each keeps a state of its object in memory."""
FRESH_SECONDS = 3.0
"""How long a read waits for a revision that is not reached yet, as kube-apiserver does."""


class Cache:
    """Objects and changes of the resource whose keys start with `prefix`."""

    def __init__(
        self,
        info: ResourceInfo,
        prefix: str,
        *,
        window_events: int = WINDOW_EVENTS,
        window_seconds: float = WINDOW_SECONDS,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self.info = info
        self.prefix = prefix
        self.codec = Codec(info)
        self._revision = 0
        self.changed = 0
        """The revision of the last change of this resource that this process has seen (at first: of the load)."""
        self.oldest = 0
        """A watch can start from this revision, not from an older one."""
        self.window: deque[Change] = deque()
        self.first = 0
        """Sequence number of the window's first change; `end` is one past the last."""
        self.watches: set[Watch] = set()
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._window_events = window_events
        self._window_seconds = window_seconds
        self._window_bytes = window_bytes
        self._held = 0
        """Bytes of the objects in the window."""
        self._awaited: list[tuple[int, asyncio.Future[None]]] = []
        """Who waits for which revision."""

    @property
    def revision(self) -> int:
        """The store's revision up to which this cache is current, whichever resource it was a write of."""
        return self._revision

    @revision.setter
    def revision(self, revision: int) -> None:
        self._revision = revision
        for wanted, waiting in self._awaited:
            if wanted <= revision and not waiting.done():
                waiting.set_result(None)

    @property
    def end(self) -> int:
        return self.first + len(self.window)

    # -- reading

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def __len__(self) -> int:
        return len(self._keys)

    def scan(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Return the entries below `prefix` that sort behind `after`, in order; use it up before the next await."""
        entries = self._entries
        start, stop = self._range(prefix, after)
        return (entries[key] for key in self._keys[start:stop])

    def count(self, prefix: str, after: str = "") -> int:
        """Return how many entries `scan` gives."""
        start, stop = self._range(prefix, after)
        return max(stop - start, 0)

    def _range(self, prefix: str, after: str) -> tuple[int, int]:
        keys = self._keys
        start = bisect_left(keys, max(prefix, after + "\0") if after else prefix)
        return start, bisect_left(keys, prefix[:-1] + chr(ord(prefix[-1]) + 1))

    def position(self, revision: int) -> int:
        """Return the sequence number of the first change after `revision`."""
        return self.first + bisect_right(self.window, revision, key=_revision_of)

    async def reach(self, revision: int) -> bool:
        """Wait, FRESH_SECONDS at most, until the cache is current up to `revision`; tells whether it is."""
        if revision <= self.revision:
            return True
        waiting = (revision, asyncio.get_running_loop().create_future())
        self._awaited.append(waiting)
        try:
            await asyncio.wait((waiting[1],), timeout=FRESH_SECONDS)
        finally:
            self._awaited.remove(waiting)
        return revision <= self.revision

    def bookmark(self, revision: int, initial_events_end: bool = False) -> Event:
        return bookmark_event(self.codec.api_version, self.codec.kind, revision, initial_events_end)

    # -- changing, by the registry only

    def load(self, items: Iterable[KeyValue], revision: int) -> None:
        """Take what the store holds at `revision`, before anything is applied."""
        for item in items:
            self._entries[item.key] = self.codec.entry(item.key, item.revision, item.value)
        self._keys = sorted(self._entries)
        self.revision = self.changed = self.oldest = revision

    def apply(self, commits: Iterable[Commit]) -> list[Change]:
        """Apply commits of this resource, in order; `notify` tells the watchers once all resources are current."""
        now = clock.monotonic()
        changes = [change for commit in commits if (change := self._apply(commit, now))]
        self.window.extend(changes)
        if changes:
            self.changed = changes[-1].revision
            self._held += sum(len(change.entry.encoded) for change in changes)
        self.trim(now)
        return changes

    def _apply(self, commit: Commit, now: float) -> Change | None:
        previous = self._entries.get(commit.key)
        if commit.value is None:
            if previous is None:
                return None
            del self._entries[commit.key]
            del self._keys[bisect_left(self._keys, commit.key)]
            return Change(commit.revision, previous, previous.at(commit.revision), True, now)
        entry = self.codec.entry(commit.key, commit.revision, commit.value)
        self._entries[commit.key] = entry
        if previous is None:
            insort(self._keys, commit.key)
        return Change(commit.revision, previous, entry, False, now)

    def notify(self, changes: list[Change]) -> None:
        end = self.end
        for watch in list(self.watches):
            watch.offer(changes, end)

    def trim(self, now: float) -> None:
        """Drop changes beyond the window's size, and those that are old, for each holds an object in memory."""
        window = self.window
        while (
            len(window) > self._window_events
            or (len(window) > 1 and self._held > self._window_bytes)
            or (len(window) > WINDOW_KEEP and now - window[0].moment > self._window_seconds)
        ):
            gone = window.popleft()
            self.oldest = gone.revision
            self._held -= len(gone.entry.encoded)
            self.first += 1

    def slim(self) -> None:
        """Let go of what can be made again: decoded objects that nobody holds, lines of changes past."""
        for entry in self._entries.values():
            entry.slim()
        for change in self.window:
            change.slim()

    def send_bookmarks(self) -> None:
        for watch in list(self.watches):
            watch.bookmark()

    def close(self) -> None:
        """End every watch."""
        for watch in list(self.watches):
            watch.close()


def _revision_of(change: Change) -> int:
    return change.revision
