"""Validation of ephemeral containers: added to a pod that runs, never changed or removed (KEP-277)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.container import Within, padded_images, validate_container

Object = Mapping[str, Any]

PATH = "spec.ephemeralContainers"
_NOT_HERE = "cannot be set for an Ephemeral Container"
# In the order of the type's fields.
_NOT_FOR_EPHEMERAL = (
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
)


def validate_ephemeral_containers(spec: Object, pod: Within, path: str) -> Iterator[FieldError]:
    containers: Sequence[Object] = spec.get("ephemeralContainers") or ()
    others = {one.get("name") or "" for kind in ("containers", "initContainers") for one in spec.get(kind) or ()}
    names = set(others)
    for index, container in enumerate(containers):
        at, name = f"{path}[{index}]", container.get("name") or ""
        yield from validate_container(container, pod, at)
        yield from (error for error in padded_images(containers, path) if error.path == f"{at}.image")
        if name in names:
            yield meta.duplicate(f"{at}.name", name)
        names.add(name)
        target = container.get("targetContainerName") or ""
        if target and target not in others:
            yield meta.not_found(f"{at}.targetContainerName", target)
        for field in _NOT_FOR_EPHEMERAL:
            if container.get(field) or (container.get(field) is not None and field != "resources"):
                yield meta.forbidden(f"{at}.{field}", _NOT_HERE)
        # Sub-paths leave mounts behind until the pod ends.
        for position, mount in enumerate(container.get("volumeMounts") or ()):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    yield meta.forbidden(f"{at}.volumeMounts[{position}].{field}", _NOT_HERE)
