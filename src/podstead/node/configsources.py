"""The ConfigMaps and Secrets that a pod's variables are made from: read for each container, waited for if missing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from podstead.client.base import Client, EventType
from podstead.client.supervise import supervise
from podstead.node.environment import ConfigError, Reference, object_data, references
from podstead.objects.errors import StatusError
from podstead.objects.pod import Container

log = logging.getLogger(__name__)


class ConfigSources:
    """For one pod; `wake` asks for another pass once something appeared that was missing. `close` ends the waiting."""

    def __init__(self, client: Client, namespace: str, wake: Callable[[], None]) -> None:
        self._client = client
        self._namespace = namespace
        self._wake = wake
        self._versions: dict[Reference, str] = {}
        """By what was read: its resourceVersion, empty for what was not there."""
        self._waiting: dict[Reference, asyncio.Task[None]] = {}

    async def read(self, container: Container) -> Mapping[Reference, Mapping[str, str]]:
        """Return the data of what `container` names and is there. Raises ConfigError where it cannot be read."""
        wanted = sorted(references(container))
        found = await asyncio.gather(*(self._one(*reference) for reference in wanted))
        return {reference: data for reference, data in zip(wanted, found, strict=True) if data is not None}

    async def _one(self, resource: str, name: str) -> dict[str, str] | None:
        try:
            obj = await self._client.get(resource, name, self._namespace)
        except StatusError as error:
            if error.code != 404:
                raise ConfigError(str(error)) from error
            self._versions[resource, name] = ""
            return None
        self._versions[resource, name] = obj["metadata"]["resourceVersion"]
        return object_data(resource, obj)

    def wait_for(self, missing: Reference) -> None:
        """Wake the pod when the object comes, or is another than it was when it was read."""
        task = self._waiting.get(missing)
        if task is None or task.done():
            resource, name = missing
            seen = self._versions.get(missing, "")
            work = supervise(f"watch of {resource} {name}", lambda: self._watch(resource, name, seen))
            self._waiting[missing] = asyncio.create_task(work)

    async def _watch(self, resource: str, name: str, seen: str) -> None:
        field = f"metadata.name={name}"
        listed = await self._client.list(resource, self._namespace, field_selector=field)
        if any(obj["metadata"]["resourceVersion"] != seen for obj in listed.items):
            self._wake()
            return
        version = listed.resource_version
        async for event in self._client.watch(
            resource, self._namespace, resource_version=version, field_selector=field
        ):
            if event.type in (EventType.ADDED, EventType.MODIFIED):
                self._wake()
                return

    async def close(self) -> None:
        tasks = list(self._waiting.values())
        self._waiting.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
