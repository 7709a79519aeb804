"""Validation of where containers mount volumes and see them as devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import descending_path

Object = Mapping[str, Any]
Volumes = Mapping[str, Object]
"""The pod's volumes by name, without those that are wrong in themselves."""

PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
BIND_OPTIONS = ("nodev", "noexec", "nosuid")
RECURSIVE_READ_ONLY = ("Disabled", "Enabled", "IfPossible")


def validate_mounts(container: Object, volumes: Volumes, path: str) -> Iterator[FieldError]:
    """A container's volumeMounts. Some errors name the list, not the entry: so does the API server."""
    mounts: Sequence[Object] = container.get("volumeMounts") or ()
    devices = _by_name(container.get("volumeDevices") or (), "devicePath")
    points: set[str] = set()
    for index, mount in enumerate(mounts):
        at, name, point = f"{path}[{index}]", mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield meta.required(f"{at}.name")
        if name not in volumes:
            yield meta.not_found(f"{at}.name", name)
        yield from _mount_path(point, points, f"{at}.mountPath")
        points.add(point)
        if name in devices:
            yield meta.invalid(f"{at}.name", name, "must not already exist in volumeDevices")
        if point in devices.values():
            yield meta.invalid(f"{at}.mountPath", point, "must not already exist as a path in volumeDevices")
        yield from _sub_path(mount, at, path)
        yield from _propagation(mount, container, f"{path}.mountPropagation")
        yield from _recursive_read_only(mount, f"{path}.recursiveReadOnly")
        yield from _bind_options(mount, f"{at}.bindMountOptions")


def validate_devices(container: Object, volumes: Volumes, path: str) -> Iterator[FieldError]:
    """A container's volumeDevices: claims whose volumeMode is Block."""
    mounts = _by_name(container.get("volumeMounts") or (), "mountPath")
    names: set[str] = set()
    points: set[str] = set()
    for index, device in enumerate(container.get("volumeDevices") or ()):
        at, name, point = f"{path}[{index}]", device.get("name") or "", device.get("devicePath") or ""
        yield from _device_name(name, names, volumes, f"{at}.name")
        if not point:
            yield meta.required(f"{at}.devicePath")
        if point in points:
            yield meta.invalid(f"{at}.devicePath", point, "must be unique")
        if ".." in point.split("/"):
            yield meta.invalid(f"{at}.devicePath", point, "can not contain backsteps ('..')")
        else:
            points.add(point)
        if name in mounts:
            yield meta.invalid(f"{at}.name", name, "must not already exist in volumeMounts")
        if point in mounts.values():
            yield meta.invalid(f"{at}.devicePath", point, "must not already exist as a path in volumeMounts")
        if name:
            names.add(name)


def _by_name(entries: Sequence[Object], field: str) -> dict[str, str]:
    return {entry.get("name") or "": entry.get(field) or "" for entry in entries}


def _mount_path(point: str, points: set[str], path: str) -> Iterator[FieldError]:
    if not point:
        yield meta.required(path)
    if point in points:
        yield meta.invalid(path, point, "must be unique")
    # The API server leaves these two to the container runtime, where they would be mount options or the end of a name.
    if ":" in point:
        yield meta.invalid(path, point, "must not contain ':'")
    elif "\0" in point:
        yield meta.invalid(path, point, "must not contain a null character")


def _sub_path(mount: Object, path: str, list_path: str) -> Iterator[FieldError]:
    plain, expression = mount.get("subPath") or "", mount.get("subPathExpr") or ""
    if plain:
        yield from descending_path(plain, f"{list_path}.subPath")
    if expression:
        if plain:
            detail = "subPathExpr and subPath are mutually exclusive"
            yield meta.invalid(f"{path}.subPathExpr", expression, detail)
        yield from descending_path(expression, f"{list_path}.subPathExpr")


def _propagation(mount: Object, container: Object, path: str) -> Iterator[FieldError]:
    mode = mount.get("mountPropagation")
    if mode is None:
        return
    if mode not in PROPAGATIONS:
        yield meta.unsupported(path, mode, PROPAGATIONS)
    if mode == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        detail = "Bidirectional mount propagation is available only to privileged containers"
        yield meta.forbidden(path, detail)


def _recursive_read_only(mount: Object, path: str) -> Iterator[FieldError]:
    mode = mount.get("recursiveReadOnly")
    if mode is None or mode == "Disabled":
        return
    if mode not in RECURSIVE_READ_ONLY:
        yield meta.unsupported(path, mode, RECURSIVE_READ_ONLY)
        return
    if not mount.get("readOnly"):
        yield meta.forbidden(path, "may only be specified when readOnly is true")
    if mount.get("mountPropagation") not in (None, "None"):
        yield meta.forbidden(path, "may only be specified when mountPropagation is None or not specified")


def _bind_options(mount: Object, path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, option in enumerate(mount.get("bindMountOptions") or ()):
        if option not in BIND_OPTIONS:
            yield meta.unsupported(f"{path}[{index}]", option, BIND_OPTIONS)
        elif option in seen:
            yield meta.duplicate(f"{path}[{index}]", option)
        seen.add(option)


def _device_name(name: str, names: set[str], volumes: Volumes, path: str) -> Iterator[FieldError]:
    if not name:
        yield meta.required(path)
    if name in names:
        yield meta.invalid(path, name, "must be unique")
    source = volumes.get(name)
    if source is None:
        yield meta.not_found(path, name)
    elif source.get("persistentVolumeClaim") is None and source.get("ephemeral") is None:
        detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
        yield meta.invalid(path, name, detail)
