"""Validation of persistent volumes (https://kubernetes.io/docs/concepts/storage/persistent-volumes/)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.claims import ACCESS_MODES, VOLUME_MODES
from podstead.objects.validation.common import choice, each, no_backsteps
from podstead.objects.validation.resources import quantity_errors
from podstead.objects.validation.selectors import node_selector

Object = Mapping[str, Any]
_POLICIES = ("Delete", "Recycle", "Retain")
_SOURCES = (
    "hostPath",
    "local",
    "csi",
    "nfs",
    "iscsi",
    "fc",
    "rbd",
    "cephfs",
    "glusterfs",
    "cinder",
    "flexVolume",
    "flocker",
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "gcePersistentDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "scaleIO",
    "storageos",
    "vsphereVolume",
)


def validate(volume: Object) -> Iterator[FieldError]:
    spec = volume.get("spec") or {}
    modes = spec.get("accessModes") or ()
    if not modes:
        yield meta.required("spec.accessModes")
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield meta.unsupported("spec.accessModes", mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(set(modes)) > 1:
        yield meta.forbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes")
    yield from _capacity(spec.get("capacity") or {})
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and policy not in _POLICIES:
        yield meta.unsupported("spec.persistentVolumeReclaimPolicy", policy, _POLICIES)
    if (affinity := (spec.get("nodeAffinity") or {}).get("required")) is not None:
        yield from node_selector(affinity, "spec.nodeAffinity.required")
    elif spec.get("nodeAffinity") is not None:
        yield meta.required("spec.nodeAffinity.required", "must specify required node constraints")
    yield from _source(spec)
    name = spec.get("storageClassName") or ""
    yield from each("spec.storageClassName", name, name and meta.dns_subdomain_problems(name))
    yield from choice(spec, "volumeMode", VOLUME_MODES, "spec")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    """Where the data is never changes; a CSI driver's credentials and node affinity may."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    yield from validate(new)
    if {name: spec.get(name) for name in _SOURCES if name != "csi"} != {
        name: before.get(name) for name in _SOURCES if name != "csi"
    } or _handle(spec) != _handle(before):
        detail = "spec.persistentvolumesource is immutable after creation"
        yield meta.forbidden("spec.persistentvolumesource", detail)
    if spec.get("volumeMode") != before.get("volumeMode"):
        yield meta.invalid("spec.volumeMode", spec.get("volumeMode"), meta.IMMUTABLE)


def _handle(spec: Object) -> dict[str, Any]:
    csi = spec.get("csi") or {}
    return {name: value for name, value in csi.items() if not name.endswith("SecretRef")}


def _capacity(capacity: Object) -> Iterator[FieldError]:
    if not capacity:
        yield meta.required("spec.capacity")
    elif set(capacity) != {"storage"}:
        yield meta.unsupported("spec.capacity", capacity, ("storage",))
    for name, text in capacity.items():
        path = f"spec.capacity[{name}]"
        quantity, errors = quantity_errors(path, text)
        yield from errors
        if quantity is not None and quantity.nanos == 0:
            yield meta.invalid(path, text, "must be greater than zero")


def _source(spec: Object) -> Iterator[FieldError]:
    given = [name for name in _SOURCES if spec.get(name) is not None]
    if not given:
        yield meta.required("spec", "must specify a volume type")
    for name in given[1:]:
        yield meta.forbidden(f"spec.{name}", "may not specify more than 1 volume type")
    for name in ("hostPath", "local"):
        if name in given:
            path = spec[name].get("path") or ""
            if not path:
                yield meta.required(f"spec.{name}.path")
            else:
                yield from no_backsteps(path, f"spec.{name}.path")
    if "local" in given and spec.get("nodeAffinity") is None:
        yield meta.required("spec.nodeAffinity", "Local volume requires node affinity")
    if "csi" in given:
        for name in ("driver", "volumeHandle"):
            if not spec["csi"].get(name):
                yield meta.required(f"spec.csi.{name}")
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle" and (spec.get("hostPath") or {}).get("path") == "/":
        detail = "may not be 'recycle' for a hostPath mount of '/'"
        yield meta.forbidden("spec.persistentVolumeReclaimPolicy", detail)
