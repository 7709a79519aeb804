"""Validation of a pod's volumes and of where containers mount them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.resources import quantity_errors

Object = Mapping[str, Any]
EMPTY_DIR_MODE_MAX = 0o1777


def validate_volumes(volumes: Sequence[Object], path: str) -> tuple[set[str], list[FieldError]]:
    """Return the names that containers may mount, and what is wrong."""
    names: set[str] = set()
    errors: list[FieldError] = []
    for index, volume in enumerate(volumes):
        at, name = f"{path}[{index}]", volume.get("name") or ""
        wrong = list(_source(volume, at))
        if not name:
            wrong.append(meta.required(f"{at}.name"))
        wrong += [meta.invalid(f"{at}.name", name, problem) for problem in name and meta.dns_label_problems(name)]
        if name in names:
            wrong.append(meta.duplicate(f"{at}.name", name))
        if name:
            # A volume that is wrong in itself still counts as there: one mistake is one message.
            names.add(name)
        errors += wrong
    return names, errors


def _source(volume: Object, path: str) -> Iterator[FieldError]:
    # The order in which the sources of one volume count: emptyDir first, as in the API server.
    sources = sorted((key for key, value in volume.items() if key != "name" and value is not None), key=_source_order)
    if not sources:
        yield meta.required(path, "must specify a volume type")
    for extra in sources[1:]:
        yield meta.forbidden(f"{path}.{extra}", "may not specify more than 1 volume type")
    if sources and sources[0] == "emptyDir":
        yield from _empty_dir(volume["emptyDir"], f"{path}.emptyDir")


def _source_order(source: str) -> int:
    return 0 if source == "emptyDir" else 1


def _empty_dir(source: Object, path: str) -> Iterator[FieldError]:
    medium = source.get("medium") or ""
    if medium not in ("", "Memory", "HugePages") and not medium.startswith("HugePages-"):
        yield meta.unsupported(f"{path}.medium", medium, ("", "Memory"))
    if source.get("sizeLimit") is not None:
        quantity, errors = quantity_errors(f"{path}.sizeLimit", source["sizeLimit"])
        if quantity is not None and errors:
            yield meta.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")
        else:
            yield from errors
    mode = source.get("mode")
    if mode is not None and not 0 <= mode <= EMPTY_DIR_MODE_MAX:
        yield meta.invalid(f"{path}.mode", mode, "must be a number between 0 and 01777 (octal), both inclusive")


def validate_mounts(mounts: Sequence[Object], volumes: set[str], path: str) -> Iterator[FieldError]:
    """A container's volumeMounts, against the names of the pod's volumes."""
    points: set[str] = set()
    for index, mount in enumerate(mounts):
        at, name, point = f"{path}[{index}]", mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield meta.required(f"{at}.name")
        elif name not in volumes:
            yield meta.not_found(f"{at}.name", name)
        if not point:
            yield meta.required(f"{at}.mountPath")
        elif point in points:
            yield meta.invalid(f"{at}.mountPath", point, "must be unique")
        elif ":" in point:
            yield meta.invalid(f"{at}.mountPath", point, "must not contain ':'")
        elif "\0" in point:
            yield meta.invalid(f"{at}.mountPath", point, "must not contain a null character")
        points.add(point)
