"""What the containers of a pod ask for together (KEP-753 for sidecars, KEP-2837 for a pod's own resources)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podstead.objects.quantity import Quantity

Object = Mapping[str, Any]
Amounts = dict[str, Quantity]

HUGE_PAGES = "hugepages-"
POD_LEVEL = ("cpu", HUGE_PAGES, "memory")
"""What a pod may ask for as a whole; the middle one is a prefix."""


def is_pod_level(name: str) -> bool:
    return name in ("cpu", "memory") or name.startswith(HUGE_PAGES)


def overcommits(name: str) -> bool:
    """A resource of Kubernetes' own of which more can be promised than there is."""
    return ("/" not in name or "kubernetes.io/" in name) and not name.startswith(HUGE_PAGES)


def aggregate(spec: Object, field: str) -> Amounts:
    """The sum over all that run at once of `requests` or `limits`, by resource.

    Init containers run one by one beside the restartable ones before them: the largest such moment counts if it is
    more than what the containers and the restartable ones need afterwards. Raises ValueError for what is no quantity.
    """
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _amounts(container, field))
    beside: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        moment = _amounts(container, field)
        if container.get("restartPolicy") == "Always":
            _add(total, moment)
            _add(beside, moment)
            moment = dict(beside)
        else:
            _add(moment, beside)
        _raise_to(peak, moment)
    _raise_to(total, peak)
    return total


def all_limited(spec: Object, name: str) -> bool:
    """Whether every container, init containers included, limits a resource."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return all(name in ((container.get("resources") or {}).get("limits") or {}) for container in containers)


def _amounts(container: Object, field: str) -> Amounts:
    amounts = (container.get("resources") or {}).get(field) or {}
    return {name: Quantity.parse(amount) for name, amount in amounts.items()}


def _add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total[name] + amount if name in total else amount


def _raise_to(total: Amounts, other: Amounts) -> None:
    for name, amount in other.items():
        if name not in total or amount > total[name]:
            total[name] = amount
