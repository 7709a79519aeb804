"""What this node can give: whether a pod that was bound to it, by whomever, has its place, and a resized one still.

Source: Kubernetes documentation, "Assigning Pods to Nodes" (nodeName), "Taints and Tolerations"; the kubelet's words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from podstead.objects.placement import matches_node, tolerates
from podstead.objects.pod import Pod, pod_requests
from podstead.objects.quantity import ZERO, Quantity

Object = Mapping[str, Any]
Failure = tuple[str, str]
"""Reason and message."""

REJECTED = "Pod was rejected: "
_FIRST = ("cpu", "memory", "ephemeral-storage")


class NodeRoom:
    """The pods that this node has admitted, with what they were given. `node` gives its object, or None."""

    def __init__(self, allocatable: Callable[[], Mapping[str, str]], node: Callable[[], Object | None]) -> None:
        self._allocatable = allocatable
        self._node = node
        self._given: dict[str, dict[str, Quantity]] = {}
        self._waiting: dict[str, Callable[[], None]] = {}

    def hold(self, pod: Pod) -> None:
        """Count a pod that was admitted, with what it has now."""
        before = self._given.get(pod.metadata.uid)
        self._given[pod.metadata.uid] = now = pod_requests(pod)
        if before is not None and any(now.get(name, ZERO) < amount for name, amount in before.items()):
            self._wake()

    def release(self, uid: str) -> None:
        """The pod has ended."""
        self._waiting.pop(uid, None)
        if self._given.pop(uid, None) is not None:
            self._wake()

    def admitted(self, uid: str) -> bool:
        return uid in self._given

    def admit(self, pod: Pod) -> Failure | None:
        """Count the pod, or return why it cannot run here."""
        failure = self._unfit(pod) or self._insufficient(pod)
        if failure is None:
            self.hold(pod)
        return failure

    def resize(self, pod: Pod, wake: Callable[[], None]) -> Failure | None:
        """Return why a pod that runs cannot have what it asks for now: Infeasible, or Deferred; `wake` is called when
        there is more room then."""
        uid = pod.metadata.uid
        self._waiting.pop(uid, None)
        asked, allocatable = pod_requests(pod), self._allocatable()
        for name in ("memory", "cpu"):
            capacity, wanted = _amount(name, allocatable.get(name, "0")), _count(name, asked.get(name, ZERO))
            if wanted > capacity:
                what = f"{name}, requested: {wanted}, capacity: {capacity}"
                return "Infeasible", f"Node didn't have enough capacity: {what}"
        failure = self._insufficient(pod)
        if failure is None:
            self.hold(pod)
            return None
        self._waiting[uid] = wake
        return "Deferred", failure[1]

    def _wake(self) -> None:
        for wake in list(self._waiting.values()):
            wake()

    def _unfit(self, pod: Pod) -> Failure | None:
        node = self._node()
        if node is None:
            return None
        if not matches_node(pod, node):
            text = "node(s) didn't match Pod's node affinity/selector"
            return "NodeAffinity", f"Predicate NodeAffinity failed: {text}"
        taints = (node.get("spec") or {}).get("taints") or ()
        # Only what would end it at once: to others the scheduler holds.
        if any(one["effect"] == "NoExecute" and not tolerates(pod.spec.tolerations, one) for one in taints):
            text = "node(s) had taints that the pod didn't tolerate"
            return "TaintToleration", f"Predicate TaintToleration failed: {text}"
        return None

    def _insufficient(self, pod: Pod) -> Failure | None:
        others = [given for uid, given in self._given.items() if uid != pod.metadata.uid]
        allocatable, asked = self._allocatable(), pod_requests(pod)
        slots = int(allocatable.get("pods", "0"))
        if len(others) + 1 > slots:
            return _out_of("pods", 1, len(others), slots)
        for name in (*_FIRST, *sorted(asked.keys() - {*_FIRST})):
            wanted = _count(name, asked.get(name, ZERO))
            if not wanted or name not in allocatable:
                continue  # Extended resources that no plugin has told of are the scheduler's matter.
            used = _count(name, _sum(given.get(name, ZERO) for given in others))
            capacity = _amount(name, allocatable[name])
            if wanted + used > capacity:
                return _out_of(name, wanted, used, capacity)
        return None


def _out_of(name: str, wanted: int, used: int, capacity: int) -> Failure:
    what = f"{name}, requested: {wanted}, used: {used}, capacity: {capacity}"
    return f"OutOf{name}", f"Node didn't have enough resource: {what}"


def _count(name: str, amount: Quantity) -> int:
    """Cpu in thousandths, everything else in whole units."""
    return amount.milli() if name == "cpu" else amount.value()


def _amount(name: str, text: str) -> int:
    return _count(name, Quantity.parse(text))


def _sum(amounts: Iterable[Quantity]) -> Quantity:
    return sum(amounts, ZERO)
