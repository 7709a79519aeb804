"""Writes pods' statuses to the API: only changes, one write at a time for a pod, the newest wins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from podstead.client.base import Client, Object
from podstead.node.phases import RUNNING, STARTS
from podstead.node.status import merged
from podstead.objects.errors import StatusError

log = logging.getLogger(__name__)

_RETRY, _RETRY_LIMIT = 1.0, 30.0
"""Seconds until a write that the server could not do is tried again; doubled each time."""


class StatusWriter:
    """`current(uid)` gives the newest object of a pod that this node knows, or None. `run` is its task."""

    def __init__(self, client: Client, current: Callable[[str], Object | None]) -> None:
        self._client = client
        self._current = current
        self._wanted: dict[str, dict[str, Any]] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._written: dict[str, Object] = {}
        """What the last write answered: newer than `current` until the watch has brought it."""
        self._group: asyncio.TaskGroup | None = None
        self._runs = asyncio.Event()

    def write(self, uid: str, status: dict[str, Any]) -> None:
        """Have `status` written; returns at once."""
        self._wanted[uid] = status
        self._begin(uid)

    async def flushed(self, uid: str) -> None:
        """Return when what was given to `write` for this pod is in the API (or the pod is gone)."""
        while uid in self._wanted or uid in self._busy:
            await self._runs.wait()
            if (task := self._busy.get(uid)) is not None:
                await asyncio.wait([task])

    def forget(self, uid: str) -> None:
        """Let go of a pod that is gone; `current` does not know it any more."""
        self._written.pop(uid, None)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as self._group:
                self._runs.set()
                for uid in list(self._wanted):
                    self._begin(uid)
                await asyncio.Event().wait()
        finally:
            self._group = None
            self._runs.clear()

    def _begin(self, uid: str) -> None:
        if self._group is not None and uid not in self._busy:
            self._busy[uid] = self._group.create_task(self._write_pod(uid), name=f"status {uid}")

    async def _write_pod(self, uid: str) -> None:
        delay = _RETRY
        try:
            while (status := self._wanted.pop(uid, None)) is not None:
                try:
                    await self._write(uid, status)
                except StatusError as error:
                    if error.code < 500 and error.code != 429:
                        log.error("the status of pod %s was refused: %s", uid, error)
                        continue
                    self._wanted.setdefault(uid, status)
                    log.warning("the status of pod %s could not be written, trying again: %s", uid, error)
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, _RETRY_LIMIT)
                except Exception:
                    log.exception("the status of pod %s could not be written", uid)
        finally:
            del self._busy[uid]

    async def _write(self, uid: str, status: dict[str, Any]) -> None:
        obj = self._newest(uid)
        while obj is not None and obj["metadata"]["uid"] == uid:
            present = obj.get("status") or {}
            wanted = merged(status, present)
            if wanted == present:
                return
            try:
                written = await self._client.update("pods", {**obj, "status": wanted}, subresource="status")
            except StatusError as error:
                if error.code == 404:
                    return
                if error.code != 409:
                    raise
            else:
                if wanted.get("phase") == "Running":
                    STARTS.mark(uid, RUNNING)
                if self._current(uid) is not None:
                    self._written[uid] = written
                return
            obj = await self._fresh(obj)

    def _newest(self, uid: str) -> Object | None:
        known, written = self._current(uid), self._written.get(uid)
        if known is None or written is None or _revision(known) >= _revision(written):
            self._written.pop(uid, None)
            return known
        return written

    async def _fresh(self, obj: Object) -> Object | None:
        meta = obj["metadata"]
        try:
            return await self._client.get("pods", meta["name"], meta["namespace"])
        except StatusError as error:
            if error.code == 404:
                return None
            raise


def _revision(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])
