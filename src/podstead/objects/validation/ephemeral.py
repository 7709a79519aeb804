"""Validation of ephemeral containers: added to a pod that runs, never changed or removed (KEP-277)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation import unsupported
from podstead.objects.validation.container import validate_container, validate_image, validate_name

Object = Mapping[str, Any]

PATH = "spec.ephemeralContainers"
_NOT_FOR_EPHEMERAL = (
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "startupProbe",
)


def validate_update(new: Object, old: Object) -> list[FieldError]:
    """An update of pods/ephemeralcontainers; `new` differs from `old` in these containers alone."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    containers: Sequence[Object] = spec.get("ephemeralContainers") or ()
    errors = list(_kept(containers, before.get("ephemeralContainers") or ()))
    errors += _containers(containers, spec)
    return errors


def _kept(new: Sequence[Object], old: Sequence[Object]) -> Iterator[FieldError]:
    present = {container.get("name"): container for container in new}
    for container in old:
        name = container["name"]
        if name not in present:
            yield meta.forbidden(PATH, f'existing ephemeral containers "{name}" may not be removed\n')
        elif present[name] != container:
            yield meta.forbidden(PATH, f'existing ephemeral containers "{name}" may not be changed\n')


def _containers(containers: Sequence[Object], spec: Object) -> Iterator[FieldError]:
    others = {container["name"] for field in ("containers", "initContainers") for container in spec.get(field) or ()}
    volumes = {volume["name"] for volume in spec.get("volumes") or ()}
    names = set(others)
    for index, container in enumerate(containers):
        at = f"{PATH}[{index}]"
        yield from validate_name(container, names, at)
        yield from validate_image(container.get("image") or "", f"{at}.image")
        target = container.get("targetContainerName")
        if target and target not in others:
            yield meta.not_found(f"{at}.targetContainerName", target)
        for field in _NOT_FOR_EPHEMERAL:
            if container.get(field):
                yield meta.forbidden(f"{at}.{field}", "cannot be set for an Ephemeral Container")
        yield from validate_container(container, volumes, at)
        yield from unsupported.refusals("EphemeralContainer", container, f"{at}.")
