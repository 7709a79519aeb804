"""Priority: what a pod that names no priority class gets."""

from __future__ import annotations

from podstead.objects import errors
from podstead.registry.admission.base import Attributes, Base, Operation

PRIORITY = 0
PREEMPTION_POLICY = "PreemptLowerPriority"
_FIELDS = ("priority", "preemptionPolicy")


class Priority(Base):
    """spec.priority 0 and spec.preemptionPolicy PreemptLowerPriority, the values without any PriorityClass.

    An update that leaves them out leaves them as they are.
    """

    async def admit(self, attributes: Attributes) -> None:
        pod = attributes.object
        if attributes.subresource or attributes.info.resource != "pods" or pod is None:
            return
        spec = pod["spec"]
        if attributes.operation is Operation.UPDATE and attributes.old is not None:
            before = attributes.old["spec"]
            spec |= {field: before[field] for field in _FIELDS if field in before and spec.get(field) is None}
        if attributes.operation is not Operation.CREATE or spec.get("priorityClassName"):
            return
        if spec.setdefault("priority", PRIORITY) != PRIORITY:
            self._refuse(attributes, f"integer value of priority ({spec['priority']})", str(PRIORITY))
        if spec.setdefault("preemptionPolicy", PREEMPTION_POLICY) != PREEMPTION_POLICY:
            found = f"string value of PreemptionPolicy ({spec['preemptionPolicy']})"
            self._refuse(attributes, found, PREEMPTION_POLICY)

    def _refuse(self, attributes: Attributes, found: str, computed: str) -> None:
        why = (
            f"the {found} must not be provided in pod spec; priority admission controller computed {computed} "
            "from the given PriorityClass name"
        )
        raise errors.forbidden("pods", attributes.name, why)
