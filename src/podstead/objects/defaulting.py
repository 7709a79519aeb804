"""Fill in what an object leaves out: plain values from the reviewed data, computed ones by the functions here.

Order is Kubernetes': a struct's own defaults first, then those of what it holds, top down.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from podstead.objects.defaulting_kinds import COMPUTED
from podstead.objects.definitions import DefaultValue, default_values, definition, reachable, reference
from podstead.objects.podresources import HUGE_PAGES, Amounts, aggregate, all_limited, is_pod_level, overcommits
from podstead.objects.quantity import Quantity

Object = dict[str, Any]
Default = Callable[[Object], None]

_CORE = "io.k8s.api.core.v1."


def _own(name: str) -> list[Default]:
    """The defaults of a definition itself: computed ones, then plain ones."""
    own: list[Default] = [_COMPUTED[name]] if name in _COMPUTED else []
    if values := default_values().get(name):
        own.append(_setter(values))
    return own


def _setter(values: Sequence[DefaultValue]) -> Default:
    def apply(obj: Object) -> None:
        for each in values:
            given = obj.get(each.field)
            if given is None or (each.zero and not given):
                value = each.value
                obj[each.field] = value.copy() if isinstance(value, dict | list) else value

    return apply


@cache
def _touched() -> frozenset[str]:
    """The definitions that have a default."""
    return frozenset(default_values()) | frozenset(_COMPUTED)


class _Plan:
    """How to default one definition: its own defaults, then the fields below which there are more."""

    __slots__ = ("below", "own")

    def __init__(self, name: str) -> None:
        self.own = _own(name)
        self.below: list[tuple[str, str, str]] = []
        for field in definition(name).fields.values():
            target = reference(field.type)
            if target is not None and not _touched().isdisjoint(reachable(target)):
                self.below.append((field.name, field.type, target))


@cache
def _plan(name: str) -> _Plan:
    return _Plan(name)


def apply_defaults(name: str, obj: Object) -> None:
    """Fill in an object of a definition in place. The object must have passed the check."""
    plan = _plan(name)
    for default in plan.own:
        default(obj)
    for field, type_, target in plan.below:
        value = obj.get(field)
        if value:
            for each in _structs(value, type_):
                apply_defaults(target, each)
        elif value is not None and type_[0] == "#":
            apply_defaults(target, value)


def _structs(value: Any, type_: str) -> Iterator[Object]:
    """The structs that a value of a type holds: itself, or within its lists and maps."""
    if type_[0] == "#":
        yield value
    else:
        inner = type_[2:] if type_[0] == "[" else type_[11:]
        for each in value if type_[0] == "[" else value.values():
            yield from _structs(each, inner)


# An image's name: [domain[:port]/]path[:tag][@digest], as the OCI distribution specification and Docker write it.
_IMAGE = re.compile(
    r"(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])"
    r"(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?P<digest>@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)


def pull_policy(image: str) -> str:
    """Always for `:latest` or neither tag nor digest, else IfNotPresent.

    An image's name that is no name gets IfNotPresent too; validation has its own say.
    https://kubernetes.io/docs/concepts/containers/images/#imagepullpolicy-defaulting
    """
    match = _IMAGE.fullmatch(image)
    if match is None:
        return "IfNotPresent"
    tag = match["tag"] or ("" if match["digest"] else "latest")
    return "Always" if tag == "latest" else "IfNotPresent"


def _container(container: Object) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image", ""))


def _volume(volume: Object) -> None:
    """A volume without a source is an emptyDir; an image volume's pull policy follows its tag."""
    if volume.keys() <= {"name"}:
        volume["emptyDir"] = {}
    image = volume.get("image")
    if image is not None and not image.get("pullPolicy"):
        image["pullPolicy"] = pull_policy(image.get("reference", ""))


def _pod(pod: Object) -> None:
    """Requests follow limits, environment links are on, on the host's network a container's port is the host's: of a
    pod only, not of a pod template.

    https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
    """
    spec = pod.setdefault("spec", {})
    containers = [*spec.get("containers", ()), *spec.get("initContainers", ())]
    for container in containers:
        resources = container.get("resources") or {}
        if limits := resources.get("limits"):
            resources["requests"] = {**limits, **resources.get("requests", {})}
    if spec.get("resources"):
        _pod_resources(spec, spec["resources"])
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True
    if spec.get("hostNetwork"):
        for port in (port for container in containers for port in container.get("ports", ())):
            if not port.get("hostPort") and "containerPort" in port:
                port["hostPort"] = port["containerPort"]


def _pod_resources(spec: Object, resources: Object) -> None:
    """What a pod asks for as a whole, of which a part is given: the rest follows its containers (KEP-2837)."""
    limited = aggregate(spec, "limits")
    asked, limits = resources.get("requests", {}), resources.get("limits", {})
    limits = {**_texts(limited, lambda name: name.startswith(HUGE_PAGES) and name not in asked), **limits}
    if limits:
        together = _texts(aggregate(spec, "requests"), lambda name: is_pod_level(name) and overcommits(name))
        asked = {**{name: limits[name] for name in limits if is_pod_level(name)}, **together, **asked}
    elif asked:
        whole = _texts(limited, lambda name: name in ("cpu", "memory") and all_limited(spec, name))
        limits = {**whole, **limits}
    for field, amounts in (("requests", asked), ("limits", limits)):
        if amounts:
            resources[field] = amounts


def _texts(amounts: Amounts, wanted: Callable[[str], bool]) -> dict[str, str]:
    return {name: amount.canonical() for name, amount in amounts.items() if wanted(name)}


def _pod_spec(spec: Object) -> None:
    """serviceAccount is an old name of serviceAccountName; amounts are kept to the thousandth."""
    _round_up(spec, "overhead")
    if account := spec.get("serviceAccountName") or spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"] = account


def _namespace(namespace: Object) -> None:
    """Every namespace carries its name as a label (KEP-2161)."""
    if name := namespace.get("metadata", {}).get("name"):
        namespace["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name


def _node_status(status: Object) -> None:
    if capacity := status.get("capacity"):
        status.setdefault("allocatable", dict(capacity))
    _round_up(status, "capacity", "allocatable")


def _requirements(requirements: Object) -> None:
    _round_up(requirements, "limits", "requests")


def _round_up(holder: Object, *fields: str) -> None:
    """Amounts of resources are kept to the thousandth, rounded up: 100u of a cpu is 1m."""
    for field in fields:
        for resource, amount in holder.get(field, {}).items():
            if amount[-1:] in ("n", "u"):
                holder[field][resource] = Quantity.parse(f"{Quantity.parse(amount).milli()}m").canonical()


_COMPUTED: dict[str, Default] = {
    **COMPUTED,
    _CORE + "Container": _container,
    _CORE + "EphemeralContainer": _container,
    _CORE + "Volume": _volume,
    _CORE + "Pod": _pod,
    _CORE + "PodSpec": _pod_spec,
    _CORE + "Namespace": _namespace,
    _CORE + "NodeStatus": _node_status,
    _CORE + "ResourceRequirements": _requirements,
    _CORE + "VolumeResourceRequirements": _requirements,
}
