"""Watches the API objects that volumes of this node show: those and no others, each once however many show it.

One watch an object, as the kubelet's. An object that says it is immutable is not watched any longer once that is known
(Kubernetes documentation, "ConfigMaps": immutable).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from podstead.client.base import Client, Object
from podstead.client.informer import Informer
from podstead.client.supervise import supervise


@dataclass(frozen=True, slots=True)
class Reference:
    """An object, or with no `name` all objects of a kind. `resource` is the plural, with its group if it has one."""

    resource: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.resource, self.namespace, self.name) if part)


def version_of(objects: Mapping[str, Object]) -> str:
    """Return what tells two states of what is referred to apart; empty if there is nothing."""
    found = (obj["metadata"] for obj in objects.values())
    return " ".join(sorted(f"{metadata['uid']}:{metadata['resourceVersion']}" for metadata in found))


class ObjectWatches:
    """`changed(reference, version)` is called with each state that becomes known, the first included.

    `hold` and `release` may be called at any time; something is watched only while `run` runs.
    """

    def __init__(self, changed: Callable[[Reference, str], None]) -> None:
        self._changed = changed
        self._held: dict[Reference, asyncio.Task[None] | None] = {}
        self._group: asyncio.TaskGroup | None = None
        self._client: Client | None = None

    def hold(self, reference: Reference) -> None:
        """Watch it from now on; once is enough."""
        if reference not in self._held:
            self._held[reference] = None
            self._start(reference)

    def release(self, reference: Reference) -> None:
        task = self._held.pop(reference, None)
        if task is not None:
            task.cancel()

    async def run(self, client: Client) -> None:
        """Watch what is held until cancelled."""
        self._client = client
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for reference in self._held:
                    self._start(reference)
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None

    def _start(self, reference: Reference) -> None:
        if self._group is None or self._client is None:
            return
        selector = f"metadata.name={reference.name}" if reference.name else ""
        informer = Informer(self._client, reference.resource, reference.namespace, field_selector=selector)

        def tell(*objects: Object) -> None:
            self._changed(reference, version_of(informer.store))
            if reference.name and objects[-1].get("immutable") is True and informer.store:
                # It stays as it is, and so does this entry until it is released.
                task = self._held.get(reference)
                if task is not None:
                    task.cancel()

        informer.on_add, informer.on_update, informer.on_delete = tell, tell, tell
        task = self._group.create_task(supervise(f"watch {reference}", informer.run), name=f"watch {reference}")
        self._held[reference] = task
