"""The scheduler: binds each pod that has no node to one that can hold it, and says why where none can.

Filters (`filters`): readiness, spec.unschedulable and taints, nodeSelector and node affinity, the host's ports,
requests against what is left, affinity and anti-affinity of pods, topology spread. Of the nodes that fit, the one with
the fewest pods wins; preferences among nodes count for nothing. Of the pods that wait, the one of highest priority is
next.
Source: Kubernetes documentation, "Kubernetes Scheduler".
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from podstead import clock
from podstead.client.base import Client, Object
from podstead.client.events import NORMAL, WARNING, EventRecorder, reference
from podstead.client.informer import Informer, key_of
from podstead.controllers.base import WorkQueue
from podstead.controllers.filters import Demand, Peers, has_peers, misfits
from podstead.metrics import Histogram
from podstead.objects.errors import StatusError
from podstead.objects.hostports import HostPort, conflict
from podstead.objects.pod import from_object

NAME = "default-scheduler"
_DONE = ("Succeeded", "Failed")


SCHEDULED = Histogram(
    "podstead_pod_scheduled_duration_seconds", "From the scheduler's sight of a new pod to its binding to a node."
)


class Scheduler:
    """One pod at a time, so that two never take the same room. `run` is its task."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._recorder = EventRecorder(client, NAME)
        self._queue = WorkQueue("scheduler", self._schedule, workers=1, rank=self._rank)
        self._nodes = Informer(client, "nodes")
        self._nodes.on_add = lambda _node: self._retry_pending()
        self._nodes.on_update = self._node_changed
        self._pods = Informer(client, "pods")
        self._pods.on_add = self._pod_seen
        self._pods.on_update = self._pod_changed
        self._pods.on_delete = self._pod_gone
        self._pending: dict[str, float] = {}
        """Keys of the pods that wait for a node, in the order of their coming, and when that was."""
        self._used: dict[str, tuple[str, Demand]] = {}
        """By pod key: its node and what it takes there."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._recorder.run())
            group.create_task(self._nodes.run())
            group.create_task(self._pods.run())
            await self._nodes.synced.wait()
            await self._pods.synced.wait()
            group.create_task(self._queue.run())

    def _node_changed(self, old: Object, new: Object) -> None:
        def view(node: Object) -> tuple[object, ...]:
            status = node.get("status", {})
            ready = [one["status"] for one in status.get("conditions") or () if one["type"] == "Ready"]
            return node.get("spec"), node["metadata"].get("labels"), status.get("allocatable"), ready

        if view(old) != view(new):
            self._retry_pending()

    def _rank(self, key: str) -> int:
        """Pods of a higher priority come first."""
        obj = self._pods.store.get(key)
        return -(obj["spec"].get("priority") or 0) if obj is not None else 0

    def _retry_pending(self) -> None:
        for key in self._pending:
            self._queue.add(key)

    def _pod_seen(self, obj: Object) -> None:
        key, spec = key_of(obj), obj["spec"]
        if spec.get("nodeName"):
            self._pending.pop(key, None)
            if obj.get("status", {}).get("phase") in _DONE:
                self._release(key)
            elif key not in self._used or self._used[key][0] != spec["nodeName"]:
                self._used[key] = spec["nodeName"], Demand.held(obj)
                self._retry_peers()
        elif not self._is_ours(obj):
            self._pending.pop(key, None)
        elif key not in self._pending:
            self._pending[key] = clock.monotonic()
            self._queue.add(key)

    def _pod_changed(self, old: Object, new: Object) -> None:
        """As `_pod_seen`; one that waits is looked at again where its spec is another (a toleration more)."""
        self._pod_seen(new)
        key, changed = key_of(new), old["spec"] != new["spec"]
        if key in self._pending and changed:
            self._queue.add(key)
        elif key in self._used and (changed or _granted(old) != _granted(new)):
            self._used[key] = self._used[key][0], Demand.held(new)
            self._retry_pending()  # It may have been resized.
        if old["metadata"].get("labels") != new["metadata"].get("labels"):
            self._retry_peers()

    def _retry_peers(self) -> None:
        """Look again at the pods that wait for others, or for others to go."""
        for key in self._pending:
            if (obj := self._pods.store.get(key)) is not None and has_peers(obj):
                self._queue.add(key)

    @staticmethod
    def _is_ours(obj: Object) -> bool:
        return obj["spec"].get("schedulerName", NAME) == NAME and not obj["metadata"].get("deletionTimestamp")

    def _pod_gone(self, obj: Object) -> None:
        key = key_of(obj)
        self._pending.pop(key, None)
        self._release(key)

    def _release(self, key: str) -> None:
        if self._used.pop(key, None) is not None:
            self._retry_pending()

    async def _schedule(self, key: str) -> None:
        obj = self._pods.store.get(key)
        if obj is None or key not in self._pending:
            return
        pod = from_object(obj)
        demand = Demand.of(pod)
        reasons = Counter[str]()
        fitting = []
        peers = await self._peers(obj)
        nodes = list(self._nodes.store.values())
        for node in nodes:
            name = node["metadata"]["name"]
            used = self._usage(name)
            why = misfits(pod, demand, node, used)
            if not why and conflict(demand.ports, self._ports_of(name)):
                why = ["node(s) didn't have free ports for the requested pod ports"]
            if not why and peers is not None and (unfit := peers.misfit(obj, node)):
                why = [unfit]
            if not why:
                fitting.append((used.get("pods", 0), name))
            reasons.update(why)
        if not fitting:
            await self._tell_unschedulable(obj, len(nodes), reasons)
            return
        await self._bind(obj, key, min(fitting)[1], demand)

    async def _peers(self, obj: Object) -> Peers | None:
        """Return the pods to be looked at for `obj`; None where neither it nor one of them says anything of others."""
        placed = list(self._placed())
        if not has_peers(obj) and not any(map(has_peers, placed)):
            return None
        namespaces: Mapping[str, Mapping[str, str]] = {}
        if any(_selects_namespaces(one) for one in (obj, *placed)):
            listed = await self._client.list("namespaces")
            namespaces = {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in listed.items}
        return Peers(list(self._nodes.store.values()), placed, namespaces)

    def _placed(self) -> Iterator[Object]:
        """Yield the pods on nodes, those included that were bound just now."""
        for key, (node, _) in self._used.items():
            if (obj := self._pods.store.get(key)) is not None:
                yield obj if obj["spec"].get("nodeName") else {**obj, "spec": {**obj["spec"], "nodeName": node}}

    def _usage(self, node: str) -> Counter[str]:
        total = Counter[str]()
        for bound, demand in self._used.values():
            if bound == node:
                total.update(demand.amounts)
        return total

    def _ports_of(self, node: str) -> Iterator[HostPort]:
        return (port for bound, demand in self._used.values() if bound == node for port in demand.ports)

    async def _bind(self, obj: Object, key: str, node: str, demand: Demand) -> None:
        meta, since = obj["metadata"], self._pending[key]
        self._used[key] = node, demand
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self._client.create_subresource("pods", meta["name"], meta["namespace"], "binding", binding)
        except StatusError as error:
            self._unassume(key)
            if error.code == 404:
                return
            raise
        self._pending.pop(key, None)
        SCHEDULED.observe(clock.monotonic() - since)
        message = f"Successfully assigned {meta['namespace']}/{meta['name']} to {node}"
        self._recorder.event(reference(obj), NORMAL, "Scheduled", message)

    def _unassume(self, key: str) -> None:
        """Give the room back, unless the pod was bound by another. Wakes nobody: that would try the same at once."""
        now = self._pods.store.get(key)
        if now is None or not now["spec"].get("nodeName"):
            self._used.pop(key, None)

    async def _tell_unschedulable(self, obj: Object, total: int, reasons: Counter[str]) -> None:
        why = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
        message = f"0/{total} nodes are available: {why}." if total else "no nodes available to schedule pods"
        self._recorder.event(reference(obj), WARNING, "FailedScheduling", message)
        conditions = list((obj.get("status") or {}).get("conditions") or ())
        before = next((one for one in conditions if one["type"] == "PodScheduled"), None)
        if before is not None and before.get("message") == message:
            return
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": None,
            "lastTransitionTime": (before and before.get("lastTransitionTime")) or clock.rfc3339(),
            "observedGeneration": obj["metadata"].get("generation", 0),
        }
        others = [one for one in conditions if one["type"] != "PodScheduled"]
        status = {**(obj.get("status") or {}), "conditions": [*others, condition]}
        await self._client.update("pods", {**obj, "status": status}, subresource="status")


def _granted(obj: Object) -> list[object]:
    return [one.get("allocatedResources") for one in (obj.get("status") or {}).get("containerStatuses") or ()]


def _selects_namespaces(obj: Object) -> bool:
    affinity = obj["spec"].get("affinity") or {}
    terms: Sequence[Object] = [
        term
        for kind in ("podAffinity", "podAntiAffinity")
        for term in (affinity.get(kind) or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    ]
    return any(term.get("namespaceSelector") is not None for term in terms)
