"""Validation of pods/resize: new requests and limits for a pod that runs (KEP-1287)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.pod import from_object, qos_class
from podstead.objects.validation import objectmeta
from podstead.objects.validation.annotations import MIRROR
from podstead.objects.validation.differences import difference
from podstead.objects.validation.pod import validate_whole

Object = Mapping[str, Any]

_RESIZABLE = ("cpu", "memory")
_ONLY = "only cpu and memory resources are mutable"
_ONLY_SIDECARS = "only cpu and memory resources for sidecar containers are mutable"
_NOT_INIT = "resources for non-sidecar init containers are immutable"


def validate_update(new: Object, old: Object) -> list[FieldError]:
    """An update of pods/resize; of the spec, it may change its containers' cpu, memory and resizePolicy."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    errors = [*objectmeta.validate_update(new, old), *validate_whole(new)]
    if MIRROR in ((old.get("metadata") or {}).get("annotations") or {}):
        return [meta.forbidden("[]", "static pods cannot be resized")]
    if (before.get("os") or {}).get("name") == "windows":
        return [meta.forbidden("[]", "windows pods cannot be resized")]
    if not _same_containers(spec, before):
        return [*errors, meta.forbidden("spec", _ONLY)]
    if qos_class(from_object(dict(new))) != qos_class(from_object(dict(old))):
        quality = (new.get("status") or {}).get("qosClass") or ""
        errors.append(meta.invalid("spec", quality, "Pod QOS Class may not change as a result of resizing"))
    if not _is_supported(old.get("status") or {}):
        errors.append(meta.forbidden("spec", "Pod running on node without support for resize"))
    for kind in ("initContainers", "containers"):
        for index, (now, was) in enumerate(zip(spec.get(kind) or (), before.get(kind) or (), strict=True)):
            if kind == "containers" or was.get("restartPolicy") == "Always":
                errors += _resources(now, was, f"spec.{kind}[{index}].resources")
    errors += _rest(spec, before, "containers")
    errors += _rest(spec, before, "initContainers")
    if not errors and difference(_without_containers(before), _without_containers(spec), "core.PodSpec"):
        errors.append(meta.forbidden("spec", _ONLY))
    return errors


def _same_containers(spec: Object, before: Object) -> bool:
    return all(len(spec.get(kind) or ()) == len(before.get(kind) or ()) for kind in ("containers", "initContainers"))


def _is_supported(status: Object) -> bool:
    """A node that can resize says what a running container has."""
    for container in status.get("containerStatuses") or ():
        if (container.get("state") or {}).get("running") is not None:
            return container.get("resources") is not None
    return True


def _resources(new: Object, old: Object, path: str) -> Iterator[FieldError]:
    now, was = new.get("resources") or {}, old.get("resources") or {}
    for field in ("requests", "limits"):
        if set(was.get(field) or {}) - set(now.get(field) or {}):
            yield meta.forbidden(f"{path}.{field}", f"resource {field} cannot be removed")


def _rest(spec: Object, before: Object, kind: str) -> Iterator[FieldError]:
    for now, was in zip(spec.get(kind) or (), before.get(kind) or (), strict=True):
        if kind == "initContainers" and was.get("restartPolicy") != "Always":
            if now != was:
                yield meta.forbidden("spec", _NOT_INIT)
        elif _fixed(now) != _fixed(was):
            yield meta.forbidden("spec", _ONLY if kind == "containers" else _ONLY_SIDECARS)


def _fixed(container: Object) -> dict[str, Any]:
    """A container without what a resize may change."""
    resources = {
        field: {name: amount for name, amount in amounts.items() if name not in _RESIZABLE}
        for field, amounts in (container.get("resources") or {}).items()
        if isinstance(amounts, Mapping)
    }
    rest = {key: value for key, value in container.items() if key not in ("resources", "resizePolicy")}
    return {**rest, "resources": {field: amounts for field, amounts in resources.items() if amounts}}


def _without_containers(spec: Object) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key not in ("containers", "initContainers")}
