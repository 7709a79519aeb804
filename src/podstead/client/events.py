"""Events (core/v1) as components record them: queued, written off the hot path, repeated ones counted up.

Repeats of the same event (object, field path, type, reason, message) raise `count` and `lastTimestamp` of the first
one by a patch; many similar ones are combined, and floods are cut (client.correlation).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from podstead import clock
from podstead.client.base import Client, Object
from podstead.client.correlation import Correlator, Record
from podstead.objects.errors import StatusError

log = logging.getLogger(__name__)

NORMAL, WARNING = "Normal", "Warning"
_WINDOW = 0.05
"""Seconds for which events are gathered: a pod's start gets the machine first, its seven events one commit after."""
_LAST_WORDS = 1.0
"""Seconds for what is queued at the end."""
_REMEMBERED = 4096
_NAME_LIMIT = 253
_QUEUED = 10_000


@dataclass(slots=True)
class _Written:
    name: str
    count: int


def reference(obj: Object, field_path: str = "") -> dict[str, str]:
    """Return the ObjectReference to `obj`; resourceVersion is left out so that repeats compare equal."""
    meta = obj["metadata"]
    parts = {
        "kind": obj.get("kind", ""),
        "namespace": meta.get("namespace", ""),
        "name": meta["name"],
        "uid": meta.get("uid", ""),
        "apiVersion": obj.get("apiVersion", ""),
        "fieldPath": field_path,
    }
    return {key: value for key, value in parts.items() if value}


class EventRecorder:
    """Records events for one component; `run` is its task. Safe to call `event` before `run` has started."""

    def __init__(self, client: Client, component: str, host: str = "") -> None:
        self._client = client
        self._component = component
        self._host = host
        self._queue: deque[Record] = deque(maxlen=_QUEUED)
        self._wake = asyncio.Event()
        self._written: OrderedDict[tuple[object, ...], _Written] = OrderedDict()
        self._last_stamp = 0
        self._correlator = Correlator()

    def event(self, involved: dict[str, str], type_: str, reason: str, message: str) -> None:
        """Queue an event about `involved` (see `reference`); `message` is cut at 1,024 bytes, as the API demands."""
        message = message.encode()[:1024].decode(errors="ignore")
        self._queue.append(Record(tuple(involved.items()), type_, reason, message, clock.now()))
        self._wake.set()

    async def run(self) -> None:
        """Write events until cancelled; what is queued then is written before the end."""
        try:
            while True:
                await self._wake.wait()
                await asyncio.sleep(_WINDOW)
                self._wake.clear()
                await self._flush()
        finally:
            if self._queue:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._flush(), _LAST_WORDS)

    async def _flush(self) -> None:
        records, self._queue = list(self._queue), deque(maxlen=_QUEUED)
        fresh: dict[tuple[object, ...], Record] = {}
        for record in map(self._correlator.combine, records):
            if not self._correlator.allows(record):
                if (written := self._written.get(record.key)) is not None:
                    written.count += 1
            elif record.key in self._written or record.key in fresh:
                await self._write_all(fresh)
                fresh = {}
                await self._guarded(self._repeat(record))
            else:
                fresh[record.key] = record
        await self._write_all(fresh)

    async def _write_all(self, fresh: dict[tuple[object, ...], Record]) -> None:
        if fresh:
            await asyncio.gather(*(self._guarded(self._create(record)) for record in fresh.values()))

    async def _guarded(self, write: Awaitable[None]) -> None:
        try:
            await write
        except StatusError as error:
            # A namespace that ends takes its events with it: nothing is lost that anybody could read.
            log.debug("event not written: %s", error)
        except Exception:
            log.exception("event not written")

    async def _create(self, record: Record) -> None:
        involved = dict(record.involved)
        namespace = involved.get("namespace", "default")
        name = self._name(involved["name"], record.moment)
        stamp = clock.rfc3339(record.moment)
        event: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "type": record.type,
            "reason": record.reason,
            "message": record.message,
            "source": {"component": self._component} | ({"host": self._host} if self._host else {}),
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }
        self._remember(record.key, _Written(name, 1))
        await self._client.create("events", event, namespace)

    def _name(self, involved: str, moment: datetime) -> str:
        """Return OBJECT.NANOSECONDS in hex digits, as client-go names events; no two are alike."""
        self._last_stamp = max(int(moment.timestamp() * 1e9), self._last_stamp + 1)
        suffix = f".{self._last_stamp:x}"
        return involved[: _NAME_LIMIT - len(suffix)].rstrip("-.") + suffix

    async def _repeat(self, record: Record) -> None:
        written = self._written.get(record.key)
        if written is None:
            return await self._create(record)
        namespace = dict(record.involved).get("namespace", "default")
        patch = {"count": written.count + 1, "lastTimestamp": clock.rfc3339(record.moment), "message": record.message}
        try:
            await self._client.patch("events", written.name, namespace, patch)
        except StatusError as error:
            if error.code != 404:
                raise
            del self._written[record.key]
            return await self._create(record)
        written.count += 1
        return None

    def _remember(self, key: tuple[object, ...], written: _Written) -> None:
        self._written[key] = written
        self._written.move_to_end(key)
        while len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)
