"""Priority: what a pod gets from its PriorityClass, the default one, or none; and what classes may not do."""

from __future__ import annotations

from podstead.objects import errors
from podstead.registry.admission.base import Attributes, Base, Lookup, Object, Operation

PRIORITY = 0
PREEMPTION_POLICY = "PreemptLowerPriority"
CLASSES = "priorityclasses.scheduling.k8s.io"
SYSTEM_CLASSES = {
    "system-cluster-critical": (
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    "system-node-critical": (
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
}
"""The classes that are there from the start and stay: value and description by name."""
_FIELDS = ("priority", "preemptionPolicy")


class Priority(Base):
    """spec.priority and spec.preemptionPolicy of the pod's class: 403 for one that is not there, or other values.

    An update that leaves them out leaves them as they are. One class at most may be the default.
    https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def admit(self, attributes: Attributes) -> None:
        if attributes.subresource:
            return
        pod, resource = attributes.object, attributes.info.resource
        if resource == CLASSES and attributes.operation is Operation.DELETE and attributes.name in SYSTEM_CLASSES:
            raise _forbidden(attributes, "this is a system priority class and cannot be deleted")
        if resource != "pods" or pod is None:
            return
        spec = pod["spec"]
        if attributes.operation is Operation.UPDATE and attributes.old is not None:
            before = attributes.old["spec"]
            spec |= {field: before[field] for field in _FIELDS if field in before and spec.get(field) is None}
        if attributes.operation is Operation.CREATE:
            self._compute(attributes, spec)

    async def validate(self, attributes: Attributes) -> None:
        obj = attributes.object
        if attributes.info.resource != CLASSES or attributes.subresource or obj is None or not obj.get("globalDefault"):
            return
        default = self._default()
        name = default["metadata"]["name"] if default is not None else ""
        if name and (attributes.operation is Operation.CREATE or name != attributes.name):
            why = f"PriorityClass {name} is already marked as default. Only one default can exist"
            raise _forbidden(attributes, why)

    def _compute(self, attributes: Attributes, spec: Object) -> None:
        name = spec.get("priorityClassName")
        chosen = self._lookup.find(CLASSES, name) if name else self._default()
        if name and chosen is None:
            raise _forbidden(attributes, f"no PriorityClass with name {name} was found")
        if chosen is None:
            priority, policy = PRIORITY, PREEMPTION_POLICY
        else:
            spec["priorityClassName"] = chosen["metadata"]["name"]
            priority, policy = chosen.get("value", 0), chosen.get("preemptionPolicy", PREEMPTION_POLICY)
        computed = "priority admission controller computed {} from the given PriorityClass name"
        if spec.get("priority", priority) != priority:
            found = f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; "
            raise _forbidden(attributes, found + computed.format(priority))
        if spec.get("preemptionPolicy", policy) != policy:
            found = (
                f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec; "
            )
            raise _forbidden(attributes, found + computed.format(policy))
        spec["priority"], spec["preemptionPolicy"] = priority, policy

    def _default(self) -> Object | None:
        """Return the class for pods that name none: of several (two creates raced) the one with the lowest value."""
        marked = [one for one in self._lookup.scan(CLASSES) if one.get("globalDefault")]
        return min(marked, key=lambda one: int(one.get("value", 0)), default=None)


def _forbidden(attributes: Attributes, why: str) -> errors.StatusError:
    info = attributes.info
    return errors.forbidden(info.plural, attributes.name, why, info.group)
