"""An informer: a local, present copy of some objects, and calls when one comes, changes or goes.

List, then watch from there; list again when the server no longer keeps the revision. Between two calls nothing is
missed for good: what happened during a break shows as the difference between the copy and the new list.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType

from podstead import clock
from podstead.client.base import Client, EventType, Object, WatchEvent
from podstead.objects.errors import StatusError

log = logging.getLogger(__name__)

FIRST_DELAY, LAST_DELAY = 0.1, 30.0
"""Seconds before the next list or watch; doubled each time, times 0.5 to 1.5."""
STEADY = 10.0
"""A watch that lasted as many seconds was no failure: the delay starts anew."""

Handler = Callable[[Object], object]
UpdateHandler = Callable[[Object, Object], object]


def key_of(obj: Object) -> str:
    """Return `namespace/name`, or `name` for what is cluster-scoped."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    name: str = metadata["name"]
    return f"{namespace}/{name}" if namespace else name


class Informer:
    """Keeps `store` and calls `on_add(obj)`, `on_update(old, new)`, `on_delete(last)`; assign them before `run`.

    `store` (key_of -> object) already shows the change when a handler is called. Handlers are synchronous and quick;
    one that raises is logged and does not stop the others. `synced` is set once the first list has been delivered.
    Objects are shared: never change one.
    """

    def __init__(
        self, client: Client, resource: str, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> None:
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._objects: dict[str, Object] = {}
        self._version = ""
        """Watch from here; empty: list first."""
        self.store: Mapping[str, Object] = MappingProxyType(self._objects)
        self.synced = asyncio.Event()
        self.on_add: Handler | None = None
        self.on_update: UpdateHandler | None = None
        self.on_delete: Handler | None = None

    async def run(self) -> None:
        """Run until cancelled."""
        delay = FIRST_DELAY
        while True:
            started = clock.monotonic()
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except StatusError as error:
                if error.code == 410:
                    self._version = ""
                else:
                    log.warning("cannot watch %s: %s", self._resource, error)
            except (OSError, TimeoutError) as error:
                log.warning("cannot watch %s: %s", self._resource, error)
            if clock.monotonic() - started > STEADY:
                delay = FIRST_DELAY
            await asyncio.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(delay * 2, LAST_DELAY)

    async def _list(self) -> None:
        listing = await self._client.list(
            self._resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        found = {key_of(obj): obj for obj in listing.items}
        for key in [key for key in self._objects if key not in found]:
            self._removed(key, self._objects[key])
        for key, obj in found.items():
            self._present(key, obj)
        self._version = listing.resource_version
        self.synced.set()

    async def _watch(self) -> None:
        """Follow a watch to its end."""
        events = self._client.watch(
            self._resource,
            self._namespace,
            resource_version=self._version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        try:
            async for event in events:
                self._take(event)
        finally:
            await _close(events)

    def _take(self, event: WatchEvent) -> None:
        obj = event.object
        if event.type is EventType.DELETED:
            self._removed(key_of(obj), obj)
        elif event.type is not EventType.BOOKMARK:
            self._present(key_of(obj), obj)
        self._version = obj["metadata"]["resourceVersion"]

    def _present(self, key: str, obj: Object) -> None:
        old = self._objects.get(key)
        if old is not None and old["metadata"].get("uid") != obj["metadata"].get("uid"):
            # Another object of that name: the end of the first was missed.
            self._removed(key, old)
            old = None
        self._objects[key] = obj
        if old is None:
            if self.on_add is not None:
                self._call(self.on_add, obj)
        elif self.on_update is not None and old["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            self._call(self.on_update, old, obj)

    def _removed(self, key: str, last: Object) -> None:
        if self._objects.pop(key, None) is not None and self.on_delete is not None:
            self._call(self.on_delete, last)

    def _call(self, handler: Callable[..., object], *args: Object) -> None:
        try:
            handler(*args)
        except Exception:
            log.exception("a handler of %s failed", self._resource)


async def _close(events: AsyncIterator[WatchEvent]) -> None:
    """End a watch now rather than when it is collected; not every iterator can."""
    close = getattr(events, "aclose", None)
    if close is not None:
        await close()
