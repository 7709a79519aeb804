"""A namespace that ends: its pods are deleted, then all else in it, then it is let go itself (its finalizer removed).

Sources: Kubernetes documentation, "Namespaces"; KEP-5080 for the order; the conditions are worded as the real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from podstead import clock
from podstead.client.base import Client, EventType, Metadata, MetadataList, Object
from podstead.client.informer import Informer
from podstead.controllers.base import WorkQueue
from podstead.objects.errors import StatusError
from podstead.objects.kinds import SERVED

FINALIZER = "kubernetes"
_LOOK_AGAIN = 30.0
"""Seconds after which contents that remain are looked at again, if nobody has told of their end before."""
_TOGETHER = 64
"""Objects that are deleted at once, so that they share commits."""

_SETTLED = (
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
    ("NamespaceFinalizersRemaining", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
)
"""The conditions in order, with reason and message of each that is False: nothing to wait for."""


@dataclass(slots=True)
class _Rest:
    """What could not be deleted yet: instances by resource and by finalizer, and what failed."""

    left: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    errors: list[StatusError] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    """The resourceVersion of the lists of what is left."""

    def add(self, resource: str, listing: MetadataList) -> None:
        if listing.items:
            self.versions[resource] = listing.resource_version
        for metadata in listing.items:
            self.left[resource] = self.left.get(resource, 0) + 1
            for finalizer in metadata.finalizers or ():
                self.held[finalizer] = self.held.get(finalizer, 0) + 1

    def conditions(self) -> dict[str, tuple[str, str]]:
        """Return reason and message of each condition that is True."""
        told: dict[str, tuple[str, str]] = {}
        if self.errors:
            texts = ", ".join(sorted(error.message for error in self.errors))
            text = f"Failed to delete all resource types, {len(self.errors)} remaining: {texts}"
            told["NamespaceDeletionContentFailure"] = "ContentDeletionFailed", text
        if self.left:
            texts = ", ".join(
                sorted(f"{_full(name)} has {count} resource instances" for name, count in self.left.items())
            )
            told["NamespaceContentRemaining"] = "SomeResourcesRemain", f"Some resources are remaining: {texts}"
        if self.held:
            texts = ", ".join(sorted(f"{name} in {count} resource instances" for name, count in self.held.items()))
            text = f"Some content in the namespace has finalizers remaining: {texts}"
            told["NamespaceFinalizersRemaining"] = "SomeFinalizersRemain", text
        return told


def deletable() -> list[str]:
    """Return the resources that a namespace may contain, in the order of their deletion.

    Pods first (KEP-5080); events last, for what ends in the meantime still writes some.
    """
    wanted = {"delete", "list"}
    names = [info.resource for info in SERVED if info.namespaced and wanted <= set(info.verbs)]
    return sorted(names, key=lambda name: (name != "pods", name.partition(".")[0] == "events"))


class NamespaceController:
    """One queue of namespaces that end. What remains in one is watched for as long as it does."""

    def __init__(self, client: Client, resources: Sequence[str] | None = None) -> None:
        self._client = client
        self._resources = deletable() if resources is None else list(resources)
        self._queue = WorkQueue("namespaces", self._work)
        self._namespaces = Informer(client, "namespaces")
        self._namespaces.on_add = self._consider
        self._namespaces.on_update = lambda _old, new: self._consider(new)
        self._waiting: dict[str, list[asyncio.Task[None]]] = {}
        """Watches of what remains, by namespace."""

    def _consider(self, obj: Object) -> None:
        if obj["metadata"].get("deletionTimestamp"):
            self._queue.add(obj["metadata"]["name"])

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._namespaces.run())
                group.create_task(self._queue.run())
        finally:
            for name in list(self._waiting):
                await self._wait_no_more(name)

    async def _work(self, name: str) -> None:
        await self._wait_no_more(name)
        namespace = await self._current(name)
        if namespace is None or FINALIZER not in namespace["spec"].get("finalizers", ()):
            return
        rest = _Rest()
        for resource in self._resources:
            await self._empty(resource, name, rest)
            if resource == "pods" and rest.left:
                # What they use (claims, secrets, network policies) stays until they have ended.
                break
        namespace = await self._tell(namespace, rest)
        if rest.errors:
            raise rest.errors[0]
        if rest.left:
            self._wait(name, rest)
            return
        kept = [finalizer for finalizer in namespace["spec"]["finalizers"] if finalizer != FINALIZER]
        final = {**namespace, "spec": {**namespace["spec"], "finalizers": kept}}
        await self._client.update("namespaces", final, subresource="finalize")

    def _wait(self, name: str, rest: _Rest) -> None:
        """Look again when something that remains is gone."""
        self._queue.add_after(name, _LOOK_AGAIN)
        self._waiting[name] = [
            asyncio.create_task(self._until_one_goes(name, resource, version), name=f"content of {name}: {resource}")
            for resource, version in rest.versions.items()
        ]

    async def _wait_no_more(self, name: str) -> None:
        if tasks := self._waiting.pop(name, None):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _until_one_goes(self, namespace: str, resource: str, version: str) -> None:
        try:
            async for event in self._client.watch_metadata(resource, resource_version=version):
                if event.type is EventType.DELETED and event.metadata.namespace == namespace:
                    break
        except (StatusError, OSError, TimeoutError):
            # The timer sees to it.
            return
        self._queue.add(namespace)

    async def _current(self, name: str) -> Object | None:
        """Return the namespace if it is being deleted."""
        try:
            namespace = await self._client.get("namespaces", name)
        except StatusError as error:
            if error.code == 404:
                return None
            raise
        return namespace if namespace["metadata"].get("deletionTimestamp") else None

    async def _empty(self, resource: str, namespace: str, rest: _Rest) -> None:
        """Delete all of one resource; `rest` is told what is still there afterwards."""
        try:
            objects = (await self._client.list_metadata(resource, namespace)).items
            todo = [one for one in objects if not one.deletion_timestamp]
            for start in range(0, len(todo), _TOGETHER):
                deletions = (self._delete(resource, one) for one in todo[start : start + _TOGETHER])
                for outcome in await asyncio.gather(*deletions, return_exceptions=True):
                    if isinstance(outcome, BaseException):
                        raise outcome
            if objects:
                rest.add(resource, await self._client.list_metadata(resource, namespace))
        except StatusError as error:
            rest.errors.append(error)

    async def _delete(self, resource: str, obj: Metadata) -> None:
        try:
            await self._client.delete(resource, obj.name, obj.namespace, uid=obj.uid, propagation_policy="Background")
        except StatusError as error:
            # Gone, or another of that name, which the next pass finds.
            if error.code not in (404, 409):
                raise

    async def _tell(self, namespace: Object, rest: _Rest) -> Object:
        """Write the conditions if they changed; return the namespace as it is then."""
        known = {condition["type"]: condition for condition in namespace["status"].get("conditions", ())}
        true = rest.conditions()
        own = []
        for kind, reason, message in _SETTLED:
            status, (reason, message) = ("True", true[kind]) if kind in true else ("False", (reason, message))
            old = known.pop(kind, {})
            since = (old.get("status") == status and old.get("lastTransitionTime")) or clock.rfc3339()
            own.append(
                {"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
            )
        conditions = [*known.values(), *own]
        if conditions == namespace["status"].get("conditions"):
            return namespace
        told = {**namespace, "status": {**namespace["status"], "conditions": conditions}}
        return await self._client.update("namespaces", told, subresource="status")


def _full(resource: str) -> str:
    """RESOURCE.GROUP, as the real controller writes it: nothing after the dot for the core group."""
    return resource if "." in resource else f"{resource}."
