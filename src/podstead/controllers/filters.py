"""What speaks against a node for a pod, worded as in a FailedScheduling event: the scheduler's filters.

Source: Kubernetes documentation, "Assigning Pods to Nodes", "Pod Topology Spread Constraints", "Taints and
Tolerations", "Resource Management for Pods and Containers".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podstead.client.base import Object
from podstead.objects.hostports import HostPort, taken
from podstead.objects.placement import matches_node, tolerates
from podstead.objects.pod import Pod, from_object, pod_requests
from podstead.objects.quantity import Quantity
from podstead.objects.selectors import label_selector_from_object

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_DONE = ("Succeeded", "Failed")
_SPREAD = "node(s) didn't match pod topology spread constraints"


@dataclass(frozen=True, slots=True)
class Demand:
    """What a pod asks of a node, in thousandths (cpu: millicores; bytes times 1,000), and its ports there."""

    amounts: Mapping[str, int]
    ports: frozenset[HostPort] = frozenset()

    @classmethod
    def of(cls, pod: Pod) -> Demand:
        amounts = Counter[str]({"pods": 1000})
        amounts.update({resource: amount.milli() for resource, amount in pod_requests(pod).items()})
        return cls(amounts, taken(pod))

    @classmethod
    def held(cls, obj: Object) -> Demand:
        """Of a pod on a node: while a resize is under way, the larger of what it asks for and what it was granted."""
        demand = cls.of(from_object(obj))
        status = obj.get("status") or {}
        granted = [one.get("allocatedResources") for one in status.get("containerStatuses") or ()]
        if not all(granted):
            return demand
        amounts = Counter(demand.amounts)
        for name in ("cpu", "memory"):
            together = sum(Quantity.parse(one[name]).milli() for one in granted if one and name in one)
            amounts[name] = max(amounts[name], together)
        return cls(amounts, demand.ports)


def misfits(pod: Pod, demand: Demand, node: Object, used: Mapping[str, int]) -> list[str]:
    """Return why `pod` cannot run on `node` by itself: the first of its rules that is broken, or all resources that
    are missing. Empty: it can."""
    rule = _rule(pod, node)
    return [rule] if rule else list(_missing(demand, node, used))


def _rule(pod: Pod, node: Object) -> str:
    spec = node.get("spec") or {}
    cordoned = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    if spec.get("unschedulable") and not tolerates(pod.spec.tolerations, cordoned):
        return "node(s) were unschedulable"
    conditions = {one["type"]: one["status"] for one in node.get("status", {}).get("conditions") or ()}
    if conditions.get("Ready") != "True":
        return "node(s) were not ready"
    for taint in spec.get("taints") or ():
        if taint["effect"] != "PreferNoSchedule" and not tolerates(pod.spec.tolerations, taint):
            return f"node(s) had untolerated taint(s) {{{taint['key']}: {taint.get('value', '')}}}"
    return "" if matches_node(pod, node) else "node(s) didn't match Pod's node affinity/selector"


def _missing(demand: Demand, node: Object, used: Mapping[str, int]) -> Iterator[str]:
    allocatable = node.get("status", {}).get("allocatable") or {}
    for resource, amount in demand.amounts.items():
        room = Quantity.parse(allocatable.get(resource, "0")).milli() - used.get(resource, 0)
        if amount and amount > room:
            yield "Too many pods" if resource == "pods" else f"Insufficient {resource}"


def has_peers(obj: Object) -> bool:
    """Whether the pod says anything of other pods, so that they must be looked at to place it."""
    spec = obj["spec"]
    affinity = spec.get("affinity") or {}
    return bool(affinity.get("podAffinity") or affinity.get("podAntiAffinity") or spec.get("topologySpreadConstraints"))


class Peers:
    """The pods on nodes beside which one is to be placed: affinity, anti-affinity and spread over domains.

    `pods` are decoded objects with a node, `namespaces` gives the labels of each.
    """

    def __init__(
        self, nodes: Sequence[Object], pods: Iterable[Object], namespaces: Mapping[str, Mapping[str, str]]
    ) -> None:
        self._labels = {node["metadata"]["name"]: node["metadata"].get("labels") or {} for node in nodes}
        self._nodes = nodes
        self._pods = [
            pod
            for pod in pods
            if pod["spec"].get("nodeName") in self._labels and (pod.get("status") or {}).get("phase") not in _DONE
        ]
        self._namespaces = namespaces

    def misfit(self, obj: Object, node: Object) -> str:
        """Return what speaks against `node` for the pod `obj`; empty: nothing."""
        affinity = obj["spec"].get("affinity") or {}
        wanted = (affinity.get("podAffinity") or {}).get(_REQUIRED) or ()
        if not all(self._attracted(obj, term, node) for term in wanted):
            return "node(s) didn't match pod affinity rules"
        unwanted = (affinity.get("podAntiAffinity") or {}).get(_REQUIRED) or ()
        if any(self._matching(obj, term, node) for term in unwanted):
            return "node(s) didn't match pod anti-affinity rules"
        if any(self._repels(other, obj, node) for other in self._pods):
            return "node(s) didn't satisfy existing pods anti-affinity rules"
        return self._spread(obj, node)

    def _attracted(self, obj: Object, term: Object, node: Object) -> bool:
        """The first of a group that wants to be together may be anywhere, if it is one of its own kind."""
        if term["topologyKey"] not in self._labels[node["metadata"]["name"]]:
            return False
        if self._matching(obj, term, node):
            return True
        nobody = not any(self._selects(obj, term, other) for other in self._pods)
        return nobody and self._selects(obj, term, obj)

    def _matching(self, obj: Object, term: Object, node: Object) -> bool:
        """Whether a pod that the term of `obj` selects is in the topology domain of `node`."""
        return any(self._selects(obj, term, other) for other in self._in_domain(term["topologyKey"], node))

    def _repels(self, other: Object, obj: Object, node: Object) -> bool:
        terms = ((other["spec"].get("affinity") or {}).get("podAntiAffinity") or {}).get(_REQUIRED) or ()
        own = self._labels[other["spec"]["nodeName"]]
        labels = self._labels[node["metadata"]["name"]]
        return any(
            term["topologyKey"] in own
            and own[term["topologyKey"]] == labels.get(term["topologyKey"])
            and self._selects(other, term, obj)
            for term in terms
        )

    def _in_domain(self, key: str, node: Object) -> Iterator[Object]:
        domain = self._labels[node["metadata"]["name"]].get(key)
        if domain is not None:
            yield from (pod for pod in self._pods if self._labels[pod["spec"]["nodeName"]].get(key) == domain)

    def _selects(self, owner: Object, term: Object, pod: Object) -> bool:
        """Whether a term of the pod `owner` selects `pod`: no labelSelector selects nothing."""
        namespace, names = pod["metadata"]["namespace"], term.get("namespaces") or ()
        selector = term.get("namespaceSelector")
        if selector is None:
            within = namespace in (names or (owner["metadata"]["namespace"],))
        else:
            labels = self._namespaces.get(namespace, {})
            within = namespace in names or label_selector_from_object(selector).matches(labels)
        if not within or term.get("labelSelector") is None:
            return False
        return label_selector_from_object(_with_keys(term, owner)).matches(pod["metadata"].get("labels") or {})

    def _spread(self, obj: Object, node: Object) -> str:
        for constraint in obj["spec"].get("topologySpreadConstraints") or ():
            if constraint["whenUnsatisfiable"] != "DoNotSchedule":
                continue
            domain = self._labels[node["metadata"]["name"]].get(constraint["topologyKey"])
            if domain is None:
                return f"{_SPREAD} (missing required label)"
            counts = self._counts(obj, constraint)
            least = min(counts.values(), default=0) if len(counts) >= (constraint.get("minDomains") or 1) else 0
            itself = self._counted(obj, constraint, obj)
            if counts.get(domain, 0) + itself - least > constraint["maxSkew"]:
                return _SPREAD
        return ""

    def _counts(self, obj: Object, constraint: Object) -> dict[str, int]:
        """By domain that the pod could be in: how many pods the constraint counts there."""
        key, pod = constraint["topologyKey"], from_object(obj)
        counts: dict[str, int] = {}
        for node in self._nodes:
            domain = self._labels[node["metadata"]["name"]].get(key)
            by_affinity = constraint.get("nodeAffinityPolicy", "Honor") == "Ignore" or matches_node(pod, node)
            by_taints = constraint.get("nodeTaintsPolicy", "Ignore") == "Ignore" or all(
                taint["effect"] == "PreferNoSchedule" or tolerates(pod.spec.tolerations, taint)
                for taint in (node.get("spec") or {}).get("taints") or ()
            )
            if domain is not None and by_affinity and by_taints:
                name = node["metadata"]["name"]
                here = [other for other in self._pods if other["spec"]["nodeName"] == name]
                counts[domain] = counts.get(domain, 0) + sum(self._counted(obj, constraint, other) for other in here)
        return counts

    def _counted(self, owner: Object, constraint: Object, pod: Object) -> bool:
        meta = pod["metadata"]
        if meta["namespace"] != owner["metadata"]["namespace"] or meta.get("deletionTimestamp"):
            return False
        if constraint.get("labelSelector") is None:
            return False
        return label_selector_from_object(_with_keys(constraint, owner)).matches(meta.get("labels") or {})


def _with_keys(term: Object, owner: Object) -> dict[str, Any]:
    """Return a term's labelSelector with what its matchLabelKeys and mismatchLabelKeys add of the owner's labels."""
    labels, selector = owner["metadata"].get("labels") or {}, term.get("labelSelector") or {}
    added = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
        for key in term.get(field) or ()
        if key in labels
    ]
    return {**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *added]} if added else selector
