"""Watch events, and a watcher's walk through its resource's window of changes.

A change is kept once, in the window of its resource's cache; a watcher is a cursor into that window. So a watcher has
no queue of its own to fill: one that does not keep up falls out of the window's far end, gets an ERROR event with a
410 Status, and ends, and nobody else notices. The line that goes on the wire is encoded once for all watchers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from podstead.objects import errors
from podstead.objects.exchange import EventType
from podstead.registry.entry import Entry, encode, unstored
from podstead.registry.selection import Selection

if TYPE_CHECKING:
    from podstead.registry.cache import Cache

BATCH = 256
"""Events handed out at once: enough to join in one write, few enough that others get their turn."""
BATCH_BYTES = 1 << 20
"""Bytes of objects after which no more are handed out at once: a watcher that does not read holds no more than that."""
LAST_BOOKMARK_SECONDS = 2.0
"""How long before its end a watch gets a last bookmark, as kube-apiserver does: what follows goes on from there."""
LOST_SECONDS = 5.0
"""What a consumer has, once its watch is over or has been cut, to finish what it is sending."""


class Event:
    """One watch event. `entry` is the object, a bookmark's (kind, apiVersion, resourceVersion only) or a Status."""

    __slots__ = ("_line", "entry", "type")

    def __init__(self, type: EventType, entry: Entry) -> None:
        self.type = type
        self.entry = entry
        self._line: bytes | None = None

    @property
    def object(self) -> dict[str, Any]:
        return self.entry.object

    def encoded(self) -> bytes:
        """Return the line for the wire, newline included; made once, shared by all who watch."""
        if self._line is None:
            self._line = b'{"type":"%s","object":%s}\n' % (self.type.encode(), self.entry.encoded)
        return self._line


class Change:
    """One commit on a resource: from `previous` (None: created) to `entry` (for a removal the last state, `gone`)."""

    __slots__ = ("_events", "entry", "gone", "moment", "previous", "revision")

    def __init__(self, revision: int, previous: Entry | None, entry: Entry, gone: bool, moment: float) -> None:
        self.revision = revision
        self.previous = previous
        self.entry = entry
        self.gone = gone
        self.moment = moment
        """Monotonic seconds at which it was applied."""
        self._events: dict[EventType, Event] = {}

    def seen_by(self, selection: Selection, prefix: str) -> Event | None:
        """Return the event that a watcher of `prefix` with `selection` gets, None where it is none of its business.

        An object that starts to match is ADDED for that watcher; one that stops is DELETED, as it was before, at the
        revision of the change (Kubernetes, API concepts).
        """
        if not self.entry.key.startswith(prefix):
            return None
        if selection.trivial:
            before, after = self.previous is not None, not self.gone
        else:
            before = self.previous is not None and selection.matches(self.previous)
            after = not self.gone and selection.matches(self.entry)
        if after:
            return self._event(EventType.MODIFIED if before else EventType.ADDED)
        return self._event(EventType.DELETED) if before else None

    def slim(self) -> None:
        """Let go of decoded objects, and of lines for the wire: who watches has got them, others make them again."""
        self._events.clear()
        self.entry.slim()
        if self.previous is not None:
            self.previous.slim()

    def _event(self, type: EventType) -> Event:
        event = self._events.get(type)
        if event is None:
            entry = self.entry
            if type is EventType.DELETED and not self.gone:
                assert self.previous is not None
                entry = self.previous.at(self.revision)
            event = self._events[type] = Event(type, entry)
        return event


class Watch:
    """An async iterator of events; `batch` gives several at once. Ends after an ERROR event, `close` or its time.

    Made by `ResourceRegistry.watch`. One consumer. Close it when done: `async with` or `close`.
    """

    def __init__(
        self,
        cache: Cache,
        prefix: str,
        selection: Selection,
        *,
        initial: Iterable[Event],
        after: int,
        cursor: int,
        bookmarks: bool,
        timeout: float | None,
    ) -> None:
        self._cache = cache
        self._prefix = prefix
        self._selection = selection
        self._initial = deque(initial)
        self._after = after
        """Changes up to this revision are not for this watcher: its listing contains them."""
        self._cursor = cursor
        self._bookmarks = bookmarks
        self._bookmark_due = False
        self._ready: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._fallen = False
        self.lost: Callable[[], None] | None = None
        """Called once it is clear that the consumer does not take what it has been given: it fell out of the window,
        or the watch is over and it still does not ask. For one who waits for somebody else, to let go of that one."""
        self._timer: asyncio.TimerHandle | None = None
        if timeout is not None:
            call_later = asyncio.get_running_loop().call_later
            early = bookmarks and timeout > LAST_BOOKMARK_SECONDS
            self._timer = (
                call_later(timeout - LAST_BOOKMARK_SECONDS, self._say_goodbye)
                if early
                else call_later(timeout, self._expire)
            )
        cache.watches.add(self)

    # -- for the consumer

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Event:
        if not self._ready:
            self._ready.extend(await self.batch())
        if not self._ready:
            raise StopAsyncIteration
        return self._ready.popleft()

    async def batch(self) -> list[Event]:
        """Wait for events and return those that are there (at most BATCH); an empty list is the end."""
        while True:
            events = self._collect()
            if events or self._closed:
                return events
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration; what has not been handed out is dropped. Idempotent."""
        self._closed = True
        self._initial.clear()
        self._cache.watches.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    # -- for the cache, on the loop

    def offer(self, changes: list[Change], end: int) -> None:
        """Take note of changes just added to the window, whose new end is `end`; wakes only for what concerns it."""
        if self._cursor < self._cache.first:
            self._fall()
        if self._waiter is None or self._waiter.done():
            return
        if any(change.seen_by(self._selection, self._prefix) for change in changes if change.revision > self._after):
            self._wake()
        else:
            self._cursor = end

    def bookmark(self) -> None:
        """Send a bookmark after what is pending, if this watcher asked for them."""
        if self._bookmarks:
            self._bookmark_due = True
            self._wake()

    def _say_goodbye(self) -> None:
        self.bookmark()
        self._timer = asyncio.get_running_loop().call_later(LAST_BOOKMARK_SECONDS, self._expire)

    def _expire(self) -> None:
        busy = self._waiter is None
        self.close()
        if busy:
            self._timer = asyncio.get_running_loop().call_later(LOST_SECONDS, self._lose)

    def _fall(self) -> None:
        """It fell out of the window: it gets its 410 with the next batch, if it asks for one in time."""
        if not self._fallen:
            self._fallen = True
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(LOST_SECONDS, self._lose)

    def _lose(self) -> None:
        lost, self.lost = self.lost, None
        if lost is not None:
            lost()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _collect(self) -> list[Event]:
        if self._closed:
            return []
        events: list[Event] = []
        size = 0
        while self._initial and len(events) < BATCH and size < BATCH_BYTES:
            events.append(self._initial.popleft())
            size += len(events[-1].entry.encoded)
        cache = self._cache
        if self._cursor < cache.first:
            self._initial.clear()
            return [*events, self._cut()]
        if self._initial:
            return events
        while self._cursor < cache.end and len(events) < BATCH and size < BATCH_BYTES:
            change = cache.window[self._cursor - cache.first]
            self._cursor += 1
            if change.revision > self._after and (event := change.seen_by(self._selection, self._prefix)):
                events.append(event)
                size += len(event.entry.encoded)
                self._after = change.revision
        if self._bookmark_due and self._cursor == cache.end:
            self._bookmark_due = False
            events.append(cache.bookmark(cache.revision))
        return events

    def _cut(self) -> Event:
        oldest = self._cache.oldest
        self.close()
        return expired_event(f"too old resource version: {max(self._after, 1)} ({oldest})")


class LateWatch(Watch):
    """A watch list of a revision that is not reached yet: it begins when it is, or fails as a list would.

    `begin` gives the initial events of that moment; `late` the error.
    """

    def __init__(
        self,
        cache: Cache,
        prefix: str,
        selection: Selection,
        *,
        revision: int,
        begin: Callable[[], Iterable[Event]],
        late: Callable[[], errors.StatusError],
        bookmarks: bool,
        timeout: float | None,
    ) -> None:
        super().__init__(
            cache,
            prefix,
            selection,
            initial=(),
            after=cache.revision,
            cursor=cache.end,
            bookmarks=bookmarks,
            timeout=timeout,
        )
        self._awaited: int | None = revision
        self._begin = begin
        self._late = late

    async def batch(self) -> list[Event]:
        if self._awaited is not None:
            revision, self._awaited = self._awaited, None
            if not await self._cache.reach(revision):
                self.close()
                return [Event(EventType.ERROR, unstored(self._late().status()))]
            self._initial.extend(self._begin())
            self._after, self._cursor = self._cache.revision, self._cache.end
        return await super().batch()


class FailedWatch(Watch):
    """A watch that could not start: one ERROR event in the stream, as Kubernetes answers a watch that is authorized."""

    def __init__(self, error: errors.StatusError) -> None:
        self._error: list[Event] = [Event(EventType.ERROR, unstored(error.status()))]
        self._ready = deque()
        self.lost = None

    async def batch(self) -> list[Event]:
        events, self._error = self._error, []
        return events

    def close(self) -> None:
        self._error = []


def expired_event(message: str) -> Event:
    """Return the ERROR event that tells a watcher to list again."""
    return Event(EventType.ERROR, unstored(errors.expired(message).status()))


def bookmark_event(api_version: str, kind: str, revision: int, initial_events_end: bool = False) -> Event:
    """Return a BOOKMARK at `revision`; the one that ends the initial events says so by annotation (KEP-3157)."""
    metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if initial_events_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    obj = {"kind": kind, "apiVersion": api_version, "metadata": metadata}
    return Event(EventType.BOOKMARK, Entry("", revision, encode(obj)))
