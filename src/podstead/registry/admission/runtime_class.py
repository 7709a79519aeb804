"""RuntimeClass: what a pod's runtime class asks for joins the pod's spec: its overhead, and where it can run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podstead.objects import errors
from podstead.objects.quantity import Quantity
from podstead.registry.admission.base import Attributes, Base, Lookup, Object, Operation

CLASSES = "runtimeclasses.node.k8s.io"
_OTHER_OVERHEAD = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
_NO_OVERHEAD = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"


class RuntimeClass(Base):
    """spec.overhead, spec.nodeSelector and spec.tolerations of a new pod; 403 for a class that is not there, an
    overhead other than the class's, and a node selector that contradicts it.

    https://kubernetes.io/docs/concepts/containers/runtime-class/; KEP-585, KEP-688.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def admit(self, attributes: Attributes) -> None:
        pod = attributes.object
        if pod is None or not _is_pod_create(attributes):
            return
        spec, found = pod["spec"], self._class(attributes)
        overhead = _overhead(found)
        if overhead:
            if spec.get("overhead") and not _same(spec["overhead"], overhead):
                raise errors.forbidden("pods", attributes.name, _OTHER_OVERHEAD)
            spec["overhead"] = dict(overhead)
        scheduling = (found or {}).get("scheduling") or {}
        if scheduling.get("nodeSelector"):
            spec["nodeSelector"] = _selector(attributes, spec.get("nodeSelector") or {}, scheduling["nodeSelector"])
        if scheduling.get("tolerations"):
            spec["tolerations"] = merged_tolerations(spec.get("tolerations") or [], scheduling["tolerations"])

    async def validate(self, attributes: Attributes) -> None:
        pod = attributes.object
        if pod is None or not _is_pod_create(attributes):
            return
        overhead, given = _overhead(self._class(attributes)), pod["spec"].get("overhead") or {}
        if overhead and not _same(overhead, given):
            raise errors.forbidden("pods", attributes.name, _OTHER_OVERHEAD)
        if given and not overhead:
            raise errors.forbidden("pods", attributes.name, _NO_OVERHEAD)

    def _class(self, attributes: Attributes) -> Object | None:
        assert attributes.object is not None
        name = attributes.object["spec"].get("runtimeClassName")
        if name is None:
            return None
        found = self._lookup.find(CLASSES, name)
        if found is None:
            raise errors.forbidden("pods", attributes.name, f'pod rejected: RuntimeClass "{name}" not found')
        return found


def _is_pod_create(attributes: Attributes) -> bool:
    plain = attributes.operation is Operation.CREATE and not attributes.subresource
    return plain and attributes.info.resource == "pods"


def _overhead(found: Object | None) -> dict[str, str]:
    fixed: dict[str, str] = ((found or {}).get("overhead") or {}).get("podFixed") or {}
    return fixed


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(Quantity.parse(one[key]) == Quantity.parse(other[key]) for key in one)


def _selector(attributes: Attributes, own: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    for key, value in sorted(wanted.items()):
        if own.get(key, value) != value:
            why = (
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {own[key]}"
            )
            raise errors.forbidden("pods", attributes.name, why)
    return {**own, **wanted}


def merged_tolerations(first: list[Object], second: list[Object]) -> list[Object]:
    """Return both lists without what another entry tolerates as well; of equal ones the first stays."""
    every = [*first, *second]
    kept: list[Object] = []
    for index, one in enumerate(every):
        later = (other for other in every[index + 1 :] if other != one)
        if not any(_covers(other, one) for other in (*kept, *later)):
            kept.append(one)
    return kept


def _covers(wide: Object, narrow: Object) -> bool:
    """Tell whether `wide` tolerates all that `narrow` does."""
    if wide == narrow:
        return True
    exists = wide.get("operator") == "Exists"
    if wide.get("key") != narrow.get("key") and not (exists and not wide.get("key")):
        return False
    if wide.get("effect") and wide["effect"] != narrow.get("effect"):
        return False
    seconds = wide.get("tolerationSeconds")
    if narrow.get("effect") == "NoExecute" and seconds is not None:
        own = narrow.get("tolerationSeconds")
        if own is None or own > seconds:
            return False
    equal = wide.get("operator") in (None, "", "Equal") and narrow.get("operator") in (None, "", "Equal")
    return exists or (equal and wide.get("value", "") == narrow.get("value", ""))
