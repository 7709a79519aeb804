"""A namespace that ends: everything in it is deleted, then the namespace itself is let go (its finalizer removed)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from podstead import clock
from podstead.client.base import Client, Object
from podstead.client.informer import Informer
from podstead.controllers.base import WorkQueue
from podstead.objects.errors import StatusError
from podstead.objects.kinds import SERVED

FINALIZER = "kubernetes"
_LOOK_AGAIN = 5.0
"""Seconds after which contents that a finalizer holds are looked at again; the end of a pod is seen at once."""

_SETTLED = (
    ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "False",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "False",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
)
_NOTHING_HELD = (
    "NamespaceFinalizersRemaining",
    "False",
    "ContentHasNoFinalizers",
    "All content-preserving finalizers finished",
)
_REMAIN = "Some resources are remaining: "
_HELD = "Some content in the namespace has finalizers remaining: "


class NamespaceController:
    """Source: Kubernetes documentation, Namespaces; "Terminating" conditions as the real controller words them."""

    def __init__(self, client: Client, resources: Sequence[str] | None = None) -> None:
        self._client = client
        self._resources = resources or [info.resource for info in SERVED if info.namespaced]
        self._queue = WorkQueue("namespaces", self._work)
        self._namespaces = Informer(client, "namespaces")
        self._namespaces.on_add = self._consider
        self._namespaces.on_update = lambda _old, new: self._consider(new)
        self._pods = Informer(client, "pods")
        self._pods.on_delete = self._pod_gone

    def _consider(self, obj: Object) -> None:
        if obj["metadata"].get("deletionTimestamp"):
            self._queue.add(obj["metadata"]["name"])

    def _pod_gone(self, obj: Object) -> None:
        namespace = self._namespaces.store.get(obj["metadata"]["namespace"])
        if namespace is not None:
            self._consider(namespace)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._namespaces.run())
            group.create_task(self._pods.run())
            group.create_task(self._queue.run())

    async def _work(self, name: str) -> None:
        try:
            namespace = await self._client.get("namespaces", name)
        except StatusError as error:
            if error.code == 404:
                return
            raise
        if not namespace["metadata"].get("deletionTimestamp"):
            return
        left: dict[str, int] = {}
        held: dict[str, int] = {}
        # Events last: what ends in the meantime still writes some.
        for resource in sorted(self._resources, key=lambda one: one == "events"):
            await self._empty(resource, name, left, held)
        if left:
            await self._tell(namespace, left, held)
            self._queue.add_after(name, _LOOK_AGAIN)
            return
        kept = [finalizer for finalizer in namespace["spec"].get("finalizers", ()) if finalizer != FINALIZER]
        final = {**namespace, "spec": {**namespace["spec"], "finalizers": kept}}
        await self._client.update("namespaces", final, subresource="finalize")

    async def _empty(self, resource: str, name: str, left: dict[str, int], held: dict[str, int]) -> None:
        """Delete all of one resource; what is still there afterwards is counted in `left`, by finalizer in `held`."""
        for obj in (await self._client.list(resource, name)).items:
            if not obj["metadata"].get("deletionTimestamp"):
                try:
                    await self._client.delete(resource, obj["metadata"]["name"], name, uid=obj["metadata"]["uid"])
                except StatusError as error:
                    if error.code not in (404, 409):
                        raise
        for obj in (await self._client.list(resource, name)).items:
            left[resource] = left.get(resource, 0) + 1
            for finalizer in obj["metadata"].get("finalizers", ()):
                held[finalizer] = held.get(finalizer, 0) + 1

    async def _tell(self, namespace: Object, left: dict[str, int], held: dict[str, int]) -> None:
        """Write the conditions that say what the namespace waits for."""
        remaining = ", ".join(
            f"{_full(resource)} has {count} resource instances" for resource, count in sorted(left.items())
        )
        finalizers = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(held.items()))
        wanted = [*_SETTLED, ("NamespaceContentRemaining", "True", "SomeResourcesRemain", _REMAIN + remaining)]
        if held:
            wanted.append(("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", _HELD + finalizers))
        else:
            wanted.append(_NOTHING_HELD)
        before = {condition["type"]: condition for condition in namespace["status"].get("conditions", ())}
        conditions = []
        for kind, status, reason, message in wanted:
            old = before.get(kind)
            since = (old and old["status"] == status and old.get("lastTransitionTime")) or clock.rfc3339()
            conditions.append(
                {"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
            )
        if [condition.get("message") for condition in before.values()] == [one["message"] for one in conditions]:
            return
        told = {**namespace, "status": {**namespace["status"], "conditions": conditions}}
        await self._client.update("namespaces", told, subresource="status")


def _full(resource: str) -> str:
    """RESOURCE.GROUP, as the real controller writes it: nothing after the dot for the core group."""
    return resource if "." in resource else f"{resource}."
