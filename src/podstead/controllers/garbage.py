"""Garbage collection: what all of whose owners are gone is deleted; owners wait for, or let go of, their dependents.

Sources: Kubernetes documentation, "Garbage Collection", "Owners and Dependents", "Use Cascading Deletion".
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from podstead import clock
from podstead.client.base import Client, EventType, Metadata, Object
from podstead.client.events import WARNING, EventRecorder
from podstead.controllers.base import WorkQueue
from podstead.controllers.ownergraph import FOREGROUND, ORPHAN, Node, OwnerGraph, node_of
from podstead.objects.errors import StatusError
from podstead.objects.exchange import OwnerReference
from podstead.objects.kinds import SERVED, ResourceInfo, by_kind, by_resource

log = logging.getLogger(__name__)

_WORKERS = 32
"""Many, for what they write at once shares a commit."""
_TOGETHER = 64
"""Dependents that are orphaned at once."""
_ABSENT = 500
"""Owners that are known to be gone; an owner with many dependents is asked for once."""
_FIRST_DELAY, _LAST_DELAY = 0.1, 30.0
"""Seconds before a resource is listed again after a failure; doubled each time, times 0.5 to 1.5."""
_SCAN_SECONDS = 1.0
_IGNORED = frozenset({"events", "events.events.k8s.io"})


class _Unresolvable(Exception):
    """An owner that cannot be looked up as it is named: nothing may follow from that."""


@dataclass(slots=True)
class _Owners:
    """An object's references: to owners that stay, are gone, or wait for their dependents' end."""

    solid: list[OwnerReference] = field(default_factory=list)
    dangling: list[OwnerReference] = field(default_factory=list)
    waiting: list[OwnerReference] = field(default_factory=list)


def collectable() -> list[str]:
    """Return the resources whose objects may own and be owned."""
    wanted = {"delete", "list", "watch"}
    return [info.resource for info in SERVED if wanted <= set(info.verbs) and info.resource not in _IGNORED]


def _owning(reference: OwnerReference) -> ResourceInfo | None:
    """Return the resource of an owner, as it is stored; None for a kind that is not served."""
    info = by_kind(reference.api_version, reference.kind)
    return info and (info.stored_as or info)


class GarbageCollector:
    """One watch of metadata a resource feeds a graph of owners; one queue of uids that may need work.

    Nothing is deleted on the graph's word alone: the object and its owners are read first.
    """

    def __init__(self, client: Client, resources: Sequence[str] | None = None) -> None:
        self._client = client
        self._resources = collectable() if resources is None else list(resources)
        self._recorder = EventRecorder(client, "garbage-collector-controller")
        self._reset()

    def _reset(self) -> None:
        self._graph = OwnerGraph()
        self._queue = WorkQueue("garbage collection", self._work, workers=_WORKERS)
        self._verified: dict[str, tuple[str, str, str]] = {}
        """Where an owner with dependents was found: resource, namespace, name, by uid."""
        self._absent: OrderedDict[tuple[str, ...], bool] = OrderedDict()
        """(uid, resource, namespace, name) of owners that are not there -> whether the uid is in another namespace."""
        self._places: dict[str, tuple[float, dict[str, str]]] = {}
        self._unlisted = set(self._resources)
        self._listed = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled. Work begins when every resource has been listed: before, owners seem to own less."""
        self._reset()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._recorder.run())
            for resource in self._resources:
                group.create_task(self._follow(resource), name=f"garbage collection of {resource}")
            await self._listed.wait()
            group.create_task(self._queue.run())

    # -- what there is

    async def _follow(self, resource: str) -> None:
        delay = _FIRST_DELAY
        version = ""
        while True:
            try:
                if not version:
                    version = await self._list(resource)
                    delay = _FIRST_DELAY
                async for event in self._client.watch_metadata(resource, resource_version=version):
                    if event.type is EventType.DELETED:
                        self._gone(resource, event.metadata)
                    elif event.type is not EventType.BOOKMARK:
                        self._present(resource, event.metadata)
                    version = event.metadata.resource_version
            except StatusError as error:
                if error.code == 410:
                    version = ""
                else:
                    log.warning("cannot watch %s: %s", resource, error)
            except (OSError, TimeoutError) as error:
                log.warning("cannot watch %s: %s", resource, error)
            await asyncio.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(delay * 2, _LAST_DELAY)

    async def _list(self, resource: str) -> str:
        listing = await self._client.list_metadata(resource)
        uids = {metadata.uid for metadata in listing.items}
        # What went during a break of the watch.
        for node in [one for one in self._graph.nodes.values() if one.resource == resource and one.uid not in uids]:
            self._vanished(node.uid, resource, node.namespace, node.name)
        for uid, place in list(self._verified.items()):
            if place[0] == resource and uid not in uids:
                self._vanished(uid, *place)
        for metadata in listing.items:
            self._present(resource, metadata)
        self._unlisted.discard(resource)
        if not self._unlisted:
            self._listed.set()
        return listing.resource_version

    def _present(self, resource: str, metadata: Metadata) -> None:
        uid = metadata.uid
        old, new = self._graph.nodes.get(uid), node_of(resource, metadata)
        if new is not None:
            self._graph.put(new)
        elif old is not None:
            self._graph.remove(uid)
        if old is not None:
            self._unblocked(old, new)
        if new is None:
            return
        known = {(one.uid, one.name) for one in old.owners} if old is not None else set()
        for reference in new.owners:
            if (reference.uid, reference.name) not in known and self._questionable(new, reference):
                self._queue.add(uid)
        if new.foreground and not (old is not None and old.foreground):
            for dependent in self._graph.dependents(uid):
                self._queue.add(dependent.uid)
            self._queue.add(uid)
        if new.orphans:
            self._queue.add(uid)

    def _unblocked(self, old: Node, new: Node | None) -> None:
        """Look again at owners that waited for a dependent and need no longer."""
        for reference in old.owners:
            owner = self._graph.nodes.get(reference.uid)
            if owner is not None and owner.foreground and (new is None or not new.blocks(reference.uid)):
                self._queue.add(owner.uid)

    def _questionable(self, node: Node, reference: OwnerReference) -> bool:
        """Tell whether an owner has not been found yet where this reference says, or waits for its dependents."""
        owner = self._graph.nodes.get(reference.uid)
        if owner is not None and owner.foreground:
            return True
        info = _owning(reference)
        if info is None:
            return False
        place = info.resource, node.namespace if info.namespaced else "", reference.name
        return self._verified.get(reference.uid) != place

    def _gone(self, resource: str, metadata: Metadata) -> None:
        self._vanished(metadata.uid, resource, metadata.namespace, metadata.name)

    def _vanished(self, uid: str, resource: str, namespace: str, name: str) -> None:
        self._verified.pop(uid, None)
        if self._graph.owns(uid):
            self._remember_absent((uid, resource, namespace, name), elsewhere=False)
            for dependent in self._graph.dependents(uid):
                self._queue.add(dependent.uid)
        node = self._graph.remove(uid)
        if node is not None:
            self._unblocked(node, None)

    # -- what is to be done

    async def _work(self, uid: str) -> None:
        node = self._graph.nodes.get(uid)
        if node is None or (node.deleting and not node.foreground and not node.orphans):
            return
        latest: Metadata | None = None
        try:
            latest = await self._client.get_metadata(node.resource, node.name, node.namespace)
        except StatusError as error:
            if error.code != 404:
                raise
        if latest is None or latest.uid != uid:
            self._vanished(uid, node.resource, node.namespace, node.name)
        elif node.orphans:
            await self._orphan(node)
        elif node.foreground:
            await self._finish_foreground(node)
        elif latest.owner_references:
            await self._judge(node, latest)

    async def _judge(self, node: Node, latest: Metadata) -> None:
        """Delete what has no owner left, or only owners that wait for it; else let go of owners that are gone."""
        try:
            owners = await self._classify(node, latest.owner_references or ())
        except _Unresolvable:
            return
        if owners.solid:
            if owners.dangling or owners.waiting:
                await self._drop_owners(node, {one.uid for one in (*owners.dangling, *owners.waiting)})
            return
        finalizers = latest.finalizers or ()
        if owners.waiting and self._graph.owns(node.uid):
            policy = "Foreground"
            if any(dependent.foreground for dependent in self._graph.dependents(node.uid)):
                # A circle: somebody has to go first.
                await self._unblock(node)
                latest = await self._client.get_metadata(node.resource, node.name, node.namespace)
        elif ORPHAN in finalizers:
            policy = "Orphan"
        else:
            policy = "Foreground" if FOREGROUND in finalizers else "Background"
        await self._delete(node, latest, policy)

    async def _delete(self, node: Node, latest: Metadata, policy: str) -> None:
        try:
            await self._client.delete(
                node.resource,
                node.name,
                node.namespace,
                uid=node.uid,
                resource_version=latest.resource_version,
                propagation_policy=policy,
            )
        except StatusError as error:
            if error.code != 404:
                raise

    async def _classify(self, node: Node, references: Iterable[OwnerReference]) -> _Owners:
        owners = _Owners()
        for reference in references:
            owner = await self._owner(node, reference)
            if owner is None:
                owners.dangling.append(reference)
            elif owner.deletion_timestamp and FOREGROUND in (owner.finalizers or ()):
                owners.waiting.append(reference)
            else:
                owners.solid.append(reference)
        return owners

    async def _owner(self, node: Node, reference: OwnerReference) -> Metadata | None:
        """Return the owner, None if it is gone. Raises _Unresolvable."""
        info = _owning(reference)
        if info is None:
            raise _Unresolvable
        if info.namespaced and not node.namespace:
            self._tell_invalid(node, reference)
            raise _Unresolvable
        namespace = node.namespace if info.namespaced else ""
        key = reference.uid, info.resource, namespace, reference.name
        if key not in self._absent:
            try:
                owner = await self._client.get_metadata(info.resource, reference.name, namespace)
            except StatusError as error:
                if error.code != 404:
                    raise
            else:
                if owner.uid == reference.uid:
                    if self._graph.owns(owner.uid):
                        self._verified[owner.uid] = key[1:]
                    return owner
            self._remember_absent(key, elsewhere=info.namespaced and await self._elsewhere(info.resource, key))
        if self._absent[key]:
            self._tell_invalid(node, reference)
        return None

    async def _elsewhere(self, resource: str, key: tuple[str, ...]) -> bool:
        """Tell whether an object of that uid is in another namespace, where it can own nothing of this one."""
        scanned = self._places.get(resource)
        if scanned is None or clock.monotonic() - scanned[0] > _SCAN_SECONDS:
            listing = await self._client.list_metadata(resource)
            scanned = clock.monotonic(), {one.uid: one.namespace for one in listing.items}
            self._places[resource] = scanned
            asyncio.get_running_loop().call_later(_SCAN_SECONDS, self._places.pop, resource, None)
        return scanned[1].get(key[0], key[2]) != key[2]

    def _remember_absent(self, key: tuple[str, ...], *, elsewhere: bool) -> None:
        self._absent[key] = elsewhere
        while len(self._absent) > _ABSENT:
            self._absent.popitem(last=False)

    def _tell_invalid(self, node: Node, reference: OwnerReference) -> None:
        identity = (
            f"[{reference.api_version}/{reference.kind}, namespace: {node.namespace}, name: {reference.name}, "
            f"uid: {reference.uid}]"
        )
        kind = by_resource(node.resource)
        involved = {
            "kind": kind.kind,
            "namespace": node.namespace,
            "name": node.name,
            "uid": node.uid,
            "apiVersion": kind.api_version,
        }
        message = f'ownerRef {identity} does not exist in namespace "{node.namespace}"'
        present = {name: value for name, value in involved.items() if value}
        self._recorder.event(present, WARNING, "OwnerRefInvalidNamespace", message)

    # -- owners that are being deleted

    async def _finish_foreground(self, owner: Node) -> None:
        """Let an owner go that no dependent blocks any more; else see to it that these go."""
        blocking = [one for one in self._graph.dependents(owner.uid) if one.blocks(owner.uid)]
        if not blocking:
            await self._lift(owner, FOREGROUND)
        for dependent in blocking:
            if not dependent.foreground:
                self._queue.add(dependent.uid)

    async def _orphan(self, owner: Node) -> None:
        """Take the owner out of its dependents' references, then let it go."""
        dependents = list(self._graph.dependents(owner.uid))
        for start in range(0, len(dependents), _TOGETHER):
            some = dependents[start : start + _TOGETHER]
            drops = (self._drop_owners(one, {owner.uid}) for one in some)
            for outcome in await asyncio.gather(*drops, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
        await self._lift(owner, ORPHAN)

    async def _lift(self, node: Node, finalizer: str) -> None:
        latest = await self._read(node)
        if latest is not None and finalizer in (latest["metadata"].get("finalizers") or ()):
            left = [one for one in latest["metadata"]["finalizers"] if one != finalizer]
            await self._patch(node, latest, {"finalizers": left or None})

    async def _drop_owners(self, node: Node, uids: set[str]) -> None:
        latest = await self._read(node)
        if latest is not None:
            references = latest["metadata"].get("ownerReferences") or ()
            left = [one for one in references if one["uid"] not in uids]
            if len(left) != len(references):
                await self._patch(node, latest, {"ownerReferences": left or None})

    async def _unblock(self, node: Node) -> None:
        """Have none of an object's owners wait for it."""
        latest = await self._read(node)
        if latest is not None:
            references = latest["metadata"].get("ownerReferences") or ()
            unblocking = [{**one, "blockOwnerDeletion": False} for one in references]
            if any(one.get("blockOwnerDeletion") for one in references):
                await self._patch(node, latest, {"ownerReferences": unblocking})

    async def _read(self, node: Node) -> Object | None:
        """Return the object, None where it is gone or another of its name is there."""
        try:
            latest = await self._client.get(node.resource, node.name, node.namespace)
        except StatusError as error:
            if error.code != 404:
                raise
            return None
        return latest if latest["metadata"]["uid"] == node.uid else None

    async def _patch(self, node: Node, latest: Object, metadata: Object) -> None:
        """Merge into metadata, unless another write came in between (409: the queue tries again)."""
        patch = {"metadata": {**metadata, "resourceVersion": latest["metadata"]["resourceVersion"], "uid": node.uid}}
        try:
            await self._client.patch(node.resource, node.name, node.namespace, patch)
        except StatusError as error:
            if error.code != 404:
                raise
