"""The scheduler: binds each pod that has no node to one that can hold it, and says why where none can.

Filters: the node's name, readiness, spec.unschedulable and taints, nodeSelector, the host's ports, and requests (cpu,
memory, ephemeral-storage, number of pods) against what is left. Of the nodes that fit, the one with most left wins.
Of the pods that wait, one with the highest priority is next.
Source: Kubernetes documentation, "Kubernetes Scheduler", "Taints and Tolerations".
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from podstead import clock
from podstead.client.base import Client, Object
from podstead.client.events import NORMAL, WARNING, EventRecorder, reference
from podstead.client.informer import Informer, key_of
from podstead.controllers.base import WorkQueue
from podstead.objects.errors import StatusError
from podstead.objects.hostports import HostPort, conflict, taken
from podstead.objects.pod import Pod, Toleration, from_object, pod_requests
from podstead.objects.quantity import Quantity

NAME = "default-scheduler"
_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_DONE = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Demand:
    """What a pod asks of a node, in thousandths (cpu: millicores; bytes times 1,000), and its ports there."""

    amounts: Mapping[str, int]
    ports: frozenset[HostPort] = frozenset()

    @classmethod
    def of(cls, pod: Pod) -> Demand:
        amounts = Counter[str]({"pods": 1000})
        asked = pod_requests(pod)
        amounts.update({resource: asked[resource].milli() for resource in _RESOURCES if resource in asked})
        return cls(amounts, taken(pod))


def tolerates(tolerations: Iterable[Toleration], taint: Mapping[str, str]) -> bool:
    """Tell whether one of `tolerations` matches `taint` (a decoded core/v1 Taint)."""
    return any(
        (not one.effect or one.effect == taint["effect"])
        and (not one.key or one.key == taint["key"])
        and (one.operator == "Exists" or (one.value == taint.get("value", "") and bool(one.key)))
        for one in tolerations
    )


def misfit(pod: Pod, demand: Demand, node: Object, used: Mapping[str, int]) -> str | None:
    """Return why `pod` cannot run on `node` (worded as in a FailedScheduling event), or None."""
    spec, labels = node.get("spec") or {}, node["metadata"].get("labels") or {}
    taints = [taint for taint in spec.get("taints") or () if taint["effect"] in ("NoSchedule", "NoExecute")]
    cordoned = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    if spec.get("unschedulable") and not tolerates(pod.spec.tolerations, cordoned):
        return "node(s) were unschedulable"
    conditions = {one["type"]: one["status"] for one in node.get("status", {}).get("conditions") or ()}
    if conditions.get("Ready") != "True":
        return "node(s) were not ready"
    for taint in taints:
        if not tolerates(pod.spec.tolerations, taint):
            return f"node(s) had untolerated taint(s) {{{taint['key']}: {taint.get('value', '')}}}"
    if any(labels.get(key) != value for key, value in pod.spec.node_selector.items()):
        return "node(s) didn't match Pod's node affinity/selector"
    allocatable = node.get("status", {}).get("allocatable") or {}
    for resource, amount in demand.amounts.items():
        room = Quantity.parse(allocatable.get(resource, "0")).milli() - used.get(resource, 0)
        if amount and amount > room:
            return "Too many pods" if resource == "pods" else f"Insufficient {resource}"
    return None


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
        self._pending: dict[str, None] = {}
        """Keys of the pods that wait for a node, in the order of their coming."""
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
                self._used[key] = spec["nodeName"], Demand.of(from_object(obj))
        elif not self._is_ours(obj):
            self._pending.pop(key, None)
        elif key not in self._pending:
            self._pending[key] = None
            self._queue.add(key)

    def _pod_changed(self, old: Object, new: Object) -> None:
        """As `_pod_seen`; one that waits is looked at again where its spec is another (a toleration more)."""
        self._pod_seen(new)
        key = key_of(new)
        if old["spec"] == new["spec"]:
            return
        if key in self._pending:
            self._queue.add(key)
        elif key in self._used and old["spec"].get("nodeName"):
            # A resize: what it gives back, others may have.
            self._used[key] = self._used[key][0], Demand.of(from_object(new))
            self._retry_pending()

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
        for node in self._nodes.store.values():
            used = self._usage(node["metadata"]["name"])
            why = misfit(pod, demand, node, used)
            if why is None and conflict(demand.ports, self._ports_of(node["metadata"]["name"])):
                why = "node(s) didn't have free ports for the requested pod ports"
            if why is None:
                fitting.append((used.get("pods", 0), node["metadata"]["name"]))
            else:
                reasons[why] += 1
        if not fitting:
            await self._tell_unschedulable(obj, reasons)
            return
        await self._bind(obj, key, min(fitting)[1], demand)

    def _usage(self, node: str) -> Counter[str]:
        total = Counter[str]()
        for bound, demand in self._used.values():
            if bound == node:
                total.update(demand.amounts)
        return total

    def _ports_of(self, node: str) -> Iterator[HostPort]:
        return (port for bound, demand in self._used.values() if bound == node for port in demand.ports)

    async def _bind(self, obj: Object, key: str, node: str, demand: Demand) -> None:
        meta = obj["metadata"]
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
        message = f"Successfully assigned {meta['namespace']}/{meta['name']} to {node}"
        self._recorder.event(reference(obj), NORMAL, "Scheduled", message)

    def _unassume(self, key: str) -> None:
        """Give the room back, unless the pod was bound by another. Wakes nobody: that would try the same at once."""
        now = self._pods.store.get(key)
        if now is None or not now["spec"].get("nodeName"):
            self._used.pop(key, None)

    async def _tell_unschedulable(self, obj: Object, reasons: Counter[str]) -> None:
        total = sum(reasons.values())
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
