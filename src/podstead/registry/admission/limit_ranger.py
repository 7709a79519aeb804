"""LimitRanger: what the limit ranges of a namespace give to containers that ask for nothing, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import errors
from podstead.objects.pod import from_object, pod_requests, summed_limits
from podstead.objects.quantity import Quantity
from podstead.registry.admission.base import Attributes, Base, Lookup, Object, Operation

RANGES = "limitranges"
ANNOTATION = "kubernetes.io/limit-ranger"
"""On a pod that was given something; it says what."""

_CLAIMS = "persistentvolumeclaims"
_LISTS = {"containers": "container", "initContainers": "init container"}

Amounts = Mapping[str, Quantity]


class LimitRanger(Base):
    """Requests and limits for the containers of a new pod; 403 for pods, containers and claims outside of a range.

    Pods are looked at when they are created and resized, claims when they are created and changed.
    https://kubernetes.io/docs/concepts/policy/limit-range/
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def admit(self, attributes: Attributes) -> None:
        pod = attributes.object
        if pod is None or not _is_pod_create(attributes):
            return
        items = self._items(attributes.namespace)
        if items:
            _give(pod, _merged(items, "defaultRequest"), _merged(items, "default"))

    async def validate(self, attributes: Attributes) -> None:
        obj = attributes.object
        if obj is None or attributes.operation is Operation.DELETE:
            return
        if _is_pod_create(attributes) or (attributes.info.resource == "pods" and attributes.subresource == "resize"):
            found = sorted(_of_pod(self._items(attributes.namespace), obj))
        elif attributes.info.resource == _CLAIMS and not attributes.subresource:
            found = sorted(_of_claim(self._items(attributes.namespace), obj))
        else:
            return
        if found:
            why = found[0] if len(found) == 1 else f"[{', '.join(dict.fromkeys(found))}]"
            raise errors.forbidden(attributes.info.plural, attributes.name, why)

    def _items(self, namespace: str) -> list[Object]:
        ranges = self._lookup.scan(RANGES, namespace)
        return [item for found in ranges for item in (found.get("spec") or {}).get("limits") or ()]


def _is_pod_create(attributes: Attributes) -> bool:
    plain = attributes.operation is Operation.CREATE and not attributes.subresource
    return plain and attributes.info.resource == "pods"


# -- what containers are given


def _merged(items: list[Object], field: str) -> dict[str, str]:
    """Return the amounts that the ranges for containers give; where two do, the later one's."""
    merged: dict[str, str] = {}
    for item in items:
        if item.get("type") == "Container":
            merged |= item.get(field) or {}
    return merged


def _give(pod: Object, requests: Mapping[str, str], limits: Mapping[str, str]) -> None:
    said: list[str] = []
    for field, called in _LISTS.items():
        for container in pod["spec"].get(field) or ():
            resources = container.setdefault("resources", {})
            for kind, amounts in (("request", requests), ("limit", limits)):
                given = _fill(resources, f"{kind}s", amounts)
                if given:
                    said.append(f"{', '.join(given)} {kind} for {called} {container.get('name', '')}")
    if said:
        metadata = pod["metadata"]
        text = f"LimitRanger plugin set: {'; '.join(said)}"
        metadata["annotations"] = {**(metadata.get("annotations") or {}), ANNOTATION: text}


def _fill(resources: Object, field: str, amounts: Mapping[str, str]) -> list[str]:
    """Add what is missing and return the names of it."""
    own = resources.get(field) or {}
    missing = sorted(amounts.keys() - own.keys())
    if missing:
        resources[field] = {**own, **{name: amounts[name] for name in missing}}
    return missing


# -- what is refused; the words are the plugin's


def _of_pod(items: list[Object], obj: Object) -> Iterator[str]:
    if not items:
        return
    pod = from_object(obj)
    for item in items:
        if item.get("type") == "Container":
            for container in (*pod.spec.containers, *pod.spec.init_containers):
                asked = {name: Quantity.parse(text) for name, text in container.resources.requests.items()}
                limits = {name: Quantity.parse(text) for name, text in container.resources.limits.items()}
                yield from _outside(item, "Container", asked, limits)
        elif item.get("type") == "Pod":
            yield from _outside(item, "Pod", pod_requests(pod), summed_limits(pod))


def _outside(item: Object, kind: str, requests: Amounts, limits: Amounts) -> Iterator[str]:
    for name, least in _amounts(item, "min"):
        words = f"minimum {name} usage per {kind} is {least}"
        if name not in requests:
            yield f"{words}.  No request is specified"
        elif requests[name] < least:
            yield f"{words}, but request is {requests[name]}"
        elif name in limits and limits[name] < least:
            yield f"{words}, but limit is {limits[name]}"
    for name, most in _amounts(item, "max"):
        words = f"maximum {name} usage per {kind} is {most}"
        if name not in limits:
            yield f"{words}.  No limit is specified"
        elif limits[name] > most:
            yield f"{words}, but limit is {limits[name]}"
        elif name in requests and requests[name] > most:
            yield f"{words}, but request is {requests[name]}"
    for name, ratio in _amounts(item, "maxLimitRequestRatio"):
        words = f"{name} max limit to request ratio per {kind} is {ratio}"
        if not requests.get(name):
            yield f"{words}, but no request is specified or request is 0"
        elif not limits.get(name):
            yield f"{words}, but no limit is specified or limit is 0"
        elif limits[name].nanos * 10**9 > ratio.nanos * requests[name].nanos:
            yield f"{words}, but provided ratio is {limits[name].nanos / requests[name].nanos:f}"


def _of_claim(items: list[Object], claim: Object) -> Iterator[str]:
    resources: Mapping[str, Any] = (claim.get("spec") or {}).get("resources") or {}
    asked = {name: Quantity.parse(text) for name, text in (resources.get("requests") or {}).items()}
    for item in items:
        if item.get("type") != "PersistentVolumeClaim":
            continue
        for field, called in (("min", "minimum"), ("max", "maximum")):
            for name, bound in _amounts(item, field):
                words = f"{called} {name} usage per PersistentVolumeClaim is {bound}"
                if name not in asked:
                    yield f"{words}.  No request is specified"
                elif asked[name] < bound if field == "min" else asked[name] > bound:
                    yield f"{words}, but request is {asked[name]}"


def _amounts(item: Object, field: str) -> Iterator[tuple[str, Quantity]]:
    for name, text in (item.get(field) or {}).items():
        yield name, Quantity.parse(text)
