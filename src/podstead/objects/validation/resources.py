"""Validation of quantities by resource name: requests and limits of containers and pods, a node's capacity."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.podresources import HUGE_PAGES, POD_LEVEL, aggregate, is_pod_level, overcommits
from podstead.objects.quantity import Quantity
from podstead.objects.validation.common import NON_NEGATIVE, each

Object = Mapping[str, Any]
NameRule = Callable[[str, str], list[FieldError]]

NOT_INTEGER = "must be an integer"
_CONTAINER_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_NATIVE_DOMAIN = "kubernetes.io/"
_COUNTED = (
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
)
_STANDARD = {
    *_CONTAINER_RESOURCES,
    *(f"{kind}.{name}" for kind in ("requests", "limits") for name in _CONTAINER_RESOURCES),
    *_COUNTED,
    "storage",
    "requests.storage",
}


def quantity_errors(path: str, text: Any) -> tuple[Quantity | None, list[FieldError]]:
    """Parse a quantity that must not be negative; what is wrong with it otherwise."""
    try:
        quantity = Quantity.parse(text)
    except ValueError as error:
        return None, [meta.invalid(path, text, str(error))]
    if quantity.nanos < 0:
        return quantity, [meta.invalid(path, quantity.canonical(), NON_NEGATIVE)]
    return quantity, []


def validate_requirements(requirements: Object, claims: Collection[str], path: str) -> Iterator[FieldError]:
    """A container's `resources`: names, amounts, and no request above its limit.

    `claims` are the names of the pod's resourceClaims.
    """
    if requirements:
        yield from _requirements(requirements, container_resource_name, path)
        yield from _claims(requirements.get("claims") or (), claims, f"{path}.claims")


def validate_overhead(overhead: Object, path: str) -> Iterator[FieldError]:
    """What the sandbox itself needs; its amounts are looked at as limits are."""
    return _requirements({"limits": overhead}, container_resource_name, path)


def validate_pod_resources(spec: Object, path: str) -> Iterator[FieldError]:
    """The resources of the pod as a whole, against those of its containers (KEP-2837)."""
    resources = spec.get("resources")
    if resources is None:
        return
    if resources.get("claims"):
        yield meta.forbidden(f"{path}.claims", "claims cannot be set for Resources at pod-level")
    wrong = list(_requirements(resources, _pod_resource_name, path))
    yield from wrong
    try:
        yield from _consistency(spec, resources, path)
    except ValueError:
        # A container's amount that is no quantity has been named where it stands.
        return


def _consistency(spec: Object, resources: Object, path: str) -> Iterator[FieldError]:
    requests = resources.get("requests") or {}
    for name, together in aggregate(spec, "requests").items():
        asked = Quantity.parse(requests.get(name) or "0")
        if together > asked:
            detail = f"must be greater than or equal to aggregate container requests of {together.canonical()}"
            yield meta.invalid(f"{path}.requests[{name}]", asked.canonical(), detail)
    limits = resources.get("limits") or {}
    for index, container in enumerate(spec.get("containers") or ()):
        for name, text in ((container.get("resources") or {}).get("limits") or {}).items():
            if name in limits and Quantity.parse(text) > Quantity.parse(limits[name]):
                where = f"{path}.containers[{index}][{name}].limits"
                detail = f"must be less than or equal to pod limits of {Quantity.parse(limits[name]).canonical()}"
                yield meta.invalid(where, Quantity.parse(text).canonical(), detail)


def _requirements(requirements: Object, name_rule: NameRule, path: str) -> Iterator[FieldError]:
    limits: dict[str, Quantity] = {}
    requested: Mapping[str, Any] = requirements.get("requests") or {}
    for name, text in (requirements.get("limits") or {}).items():
        quantity, errors = _amount(name, text, name_rule, f"{path}.limits[{name}]")
        yield from errors
        if quantity is not None:
            limits[name] = quantity
    for name, text in requested.items():
        quantity, errors = _amount(name, text, name_rule, f"{path}.requests[{name}]")
        # Errors of size come after what compares a request with its limit.
        size = [error for error in errors if error.text.endswith(f"multiple of {name}")]
        yield from (error for error in errors if error not in size)
        if quantity is not None:
            yield from _against_limit(name, quantity, limits.get(name), path)
        yield from size
    together = {*limits, *requested}
    if any(name.startswith(HUGE_PAGES) for name in together) and together.isdisjoint(("cpu", "memory")):
        yield meta.forbidden(path, "HugePages require cpu or memory")


def _against_limit(name: str, quantity: Quantity, limit: Quantity | None, path: str) -> Iterator[FieldError]:
    if limit is None:
        if not overcommits(name):
            yield meta.required(f"{path}.limits", "Limit must be set for non overcommitable resources")
    elif quantity != limit and not overcommits(name):
        detail = f"must be equal to {name} limit of {limit.canonical()}"
        yield meta.invalid(f"{path}.requests", quantity.canonical(), detail)
    elif quantity > limit:
        detail = f"must be less than or equal to {name} limit of {limit.canonical()}"
        yield meta.invalid(f"{path}.requests", quantity.canonical(), detail)


def _claims(entries: Sequence[Object], claims: Collection[str], path: str) -> Iterator[FieldError]:
    """Which of the pod's resourceClaims, or which request in one, a container uses; each once."""
    used: set[str] = set()
    for index, entry in enumerate(entries):
        at, name, request = f"{path}[{index}]", entry.get("name") or "", entry.get("request") or ""
        if not name:
            yield meta.required(at)
            continue
        if name in used:
            yield meta.duplicate(at, name)
        else:
            key = f"{name}/{request}" if request else name
            if request:
                yield from each(f"{at}.request", request, meta.dns_label_problems(request))
            if key in used:
                yield meta.duplicate(at, key)
            elif not request:
                yield from (meta.duplicate(at, name) for other in used if other.partition("/")[0] == name)
            used.add(key)
        if name not in claims:
            known = f": {', '.join(sorted(claims))}" if claims else " which is empty"
            found = meta.not_found(at, name)
            detail = f"{found.text}: must be one of the names in pod.spec.resourceClaims{known}"
            yield FieldError(at, found.kind, detail)


def validate_node_resources(amounts: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    """A node's capacity or allocatable."""
    for name, text in amounts.items():
        quantity, errors = quantity_errors(f"{path}.{name}", text)
        yield from errors
        if quantity is not None:
            yield from _integral(name, quantity, f"{path}.{name}")


def is_extended(name: str) -> bool:
    """A resource outside of Kubernetes' own domain, like `nvidia.com/gpu`."""
    return (
        "/" in name
        and _NATIVE_DOMAIN not in name
        and not name.startswith("requests.")
        and not meta.label_key_problems(f"requests.{name}")
    )


def resource_name(name: str, path: str) -> list[FieldError]:
    """A resource's name in any place: one that Kubernetes knows, or one with a domain."""
    errors = list(each(path, name, meta.label_key_problems(name)))
    if not errors and "/" not in name and name not in _STANDARD and not name.startswith(HUGE_PAGES):
        errors.append(meta.invalid(path, name, "must be a standard resource type or fully qualified"))
    return errors


def container_resource_name(name: str, path: str) -> list[FieldError]:
    if name in _CONTAINER_RESOURCES:
        return []
    errors = resource_name(name, path)
    if "/" not in name:
        if not name.startswith(HUGE_PAGES):
            errors.append(meta.invalid(path, name, "must be a standard resource for containers"))
    elif _NATIVE_DOMAIN not in name and not is_extended(name):
        errors.append(meta.invalid(path, name, "doesn't follow extended resource name standard"))
    return errors


def _pod_resource_name(name: str, path: str) -> list[FieldError]:
    errors = resource_name(name, path)
    if not errors and not is_pod_level(name):
        errors.append(meta.unsupported(path, name, POD_LEVEL))
    return errors


def _amount(name: str, text: Any, name_rule: NameRule, path: str) -> tuple[Quantity | None, list[FieldError]]:
    errors = name_rule(name, path)
    quantity, wrong = quantity_errors(path, text)
    if quantity is not None:
        wrong += _integral(name, quantity, path)
        if name.startswith(HUGE_PAGES) and not _divisible(name, quantity):
            canonical = quantity.canonical()
            detail = f"{canonical} is not positive integer multiple of {name}"
            wrong.append(meta.invalid(path, canonical, detail))
    return quantity, [*errors, *wrong]


def _divisible(name: str, quantity: Quantity) -> bool:
    try:
        size = Quantity.parse(name.removeprefix(HUGE_PAGES))
    except ValueError:
        return False
    return size.nanos > 0 and not size.milli() % 1000 and not quantity.value() % size.value()


def _integral(name: str, quantity: Quantity, path: str) -> list[FieldError]:
    if quantity.milli() % 1000 and (name in _COUNTED or is_extended(name)):
        # A quantity is printed bare, as whatever prints itself.
        text = f"Invalid value: {quantity.canonical()}: {NOT_INTEGER}"
        return [FieldError(path, "FieldValueInvalid", text)]
    return []
