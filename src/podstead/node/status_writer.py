"""Writes pods' statuses to the API: only changes, one write at a time for a pod, the newest wins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from podstead.client.base import Client, Object
from podstead.objects.errors import StatusError

log = logging.getLogger(__name__)

_RETRY = 1.0


class StatusWriter:
    """`current(uid)` gives the newest object of a pod that this node knows, or None. `run` is its task."""

    def __init__(self, client: Client, current: Callable[[str], Object | None]) -> None:
        self._client = client
        self._current = current
        self._wanted: dict[str, dict[str, Any]] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()

    def write(self, uid: str, status: dict[str, Any]) -> None:
        """Have `status` written; returns at once."""
        self._wanted[uid] = status
        self._wake.set()

    async def flushed(self, uid: str) -> None:
        """Return when what was given to `write` for this pod is in the API (or the pod is gone)."""
        while uid in self._wanted or uid in self._busy:
            if (task := self._busy.get(uid)) is not None:
                await asyncio.wait([task])
            else:
                await asyncio.sleep(0)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for uid in [uid for uid in self._wanted if uid not in self._busy]:
                    self._busy[uid] = group.create_task(self._write_pod(uid), name=f"status {uid}")

    async def _write_pod(self, uid: str) -> None:
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
                    await asyncio.sleep(_RETRY)
        finally:
            del self._busy[uid]

    async def _write(self, uid: str, status: dict[str, Any]) -> None:
        obj = self._current(uid)
        while obj is not None and obj["metadata"]["uid"] == uid:
            if obj.get("status") == status:
                return
            try:
                await self._client.update("pods", {**obj, "status": status}, subresource="status")
                return
            except StatusError as error:
                if error.code == 404:
                    return
                if error.code != 409:
                    raise
            obj = await self._fresh(obj)

    async def _fresh(self, obj: Object) -> Object | None:
        meta = obj["metadata"]
        try:
            return await self._client.get("pods", meta["name"], meta["namespace"])
        except StatusError as error:
            if error.code == 404:
                return None
            raise
