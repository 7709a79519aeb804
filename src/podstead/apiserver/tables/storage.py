"""The tables of volumes and claims, storage.k8s.io, and storage version migrations."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of
from podstead.apiserver.tables.cells import NONE, UNSET, is_deleted, joined, quantity, spec_of, status_of, text

_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_DEFAULT_ATTRIBUTES_CLASS = ("volumeattributesclass.alpha.kubernetes.io/is-default-class",)


def _access_modes(modes: list[str] | None) -> str:
    return ",".join(short for mode, short in _MODES.items() if mode in (modes or ()))


def _annotations(obj: Object) -> dict[str, str]:
    return (obj.get("metadata") or {}).get("annotations") or {}


def _class_of(obj: Object) -> str:
    return str(_annotations(obj).get(_CLASS_ANNOTATION, spec_of(obj).get("storageClassName") or ""))


def _phase(obj: Object) -> str:
    return "Terminating" if is_deleted(obj) else text(status_of(obj), "phase")


def _volume(obj: Object, now: datetime) -> list[Cell]:
    spec = spec_of(obj)
    claim = spec.get("claimRef")
    return [
        name_of(obj),
        quantity((spec.get("capacity") or {}).get("storage")),
        _access_modes(spec.get("accessModes")),
        text(spec, "persistentVolumeReclaimPolicy"),
        _phase(obj),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim is not None else "",
        _class_of(obj),
        text(spec, "volumeAttributesClassName", UNSET),
        text(status_of(obj), "reason"),
        age(obj, now),
        text(spec, "volumeMode", UNSET),
    ]


def _claim(obj: Object, now: datetime) -> list[Cell]:
    spec, status = spec_of(obj), status_of(obj)
    volume = text(spec, "volumeName")
    return [
        name_of(obj),
        _phase(obj),
        volume,
        quantity((status.get("capacity") or {}).get("storage")) if volume else "",
        _access_modes(status.get("accessModes")) if volume else "",
        _class_of(obj),
        text(spec, "volumeAttributesClassName", UNSET),
        age(obj, now),
        text(spec, "volumeMode", UNSET),
    ]


def _marked_name(obj: Object, marks: tuple[str, ...]) -> str:
    annotations = _annotations(obj)
    default = any(annotations.get(mark) == "true" for mark in marks)
    return f"{name_of(obj)} (default)" if default else name_of(obj)


def _storage_class(obj: Object, now: datetime) -> list[Cell]:
    return [
        _marked_name(obj, _DEFAULT_CLASS),
        text(obj, "provisioner"),
        text(obj, "reclaimPolicy", "Delete"),
        text(obj, "volumeBindingMode", "Immediate"),
        bool(obj.get("allowVolumeExpansion")),
        age(obj, now),
    ]


def _attributes_class(obj: Object, now: datetime) -> list[Cell]:
    return [_marked_name(obj, _DEFAULT_ATTRIBUTES_CLASS), text(obj, "driverName"), age(obj, now)]


def _attachment(obj: Object, now: datetime) -> list[Cell]:
    spec = spec_of(obj)
    return [
        name_of(obj),
        text(spec, "attacher"),
        text((spec.get("source") or {}), "persistentVolumeName"),
        text(spec, "nodeName"),
        bool(status_of(obj).get("attached")),
        age(obj, now),
    ]


def _csi_node(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), len(spec_of(obj).get("drivers") or ()), age(obj, now)]


def _csi_driver(obj: Object, now: datetime) -> list[Cell]:
    spec = spec_of(obj)
    tokens: list[dict[str, Any]] | None = spec.get("tokenRequests")
    return [
        name_of(obj),
        bool(spec.get("attachRequired", True)),
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        UNSET if tokens is None else joined(token.get("audience", "") for token in tokens),
        bool(spec.get("requiresRepublish")),
        joined(spec.get("volumeLifecycleModes")) or NONE,
        age(obj, now),
    ]


def _csi_capacity(obj: Object, now: datetime) -> list[Cell]:
    capacity = obj.get("capacity")
    shown = UNSET if capacity is None else quantity(capacity)
    return [name_of(obj), text(obj, "storageClassName"), shown]


def _migration(obj: Object, now: datetime) -> list[Cell]:
    resource = spec_of(obj).get("resource") or {}
    return [name_of(obj), f"{resource.get('resource', '')}.{resource.get('group', '')}"]


TABLES = {
    "csidrivers": TableFormat(
        (
            NAME,
            Column("AttachRequired", "Whether volumes are attached before they are mounted.", type="boolean"),
            Column("PodInfoOnMount", "Whether a mount is told of its pod.", type="boolean"),
            Column("StorageCapacity", "Whether the scheduler looks at its free capacity.", type="boolean"),
            Column("TokenRequests", "The audiences of the tokens that a mount is given."),
            Column("RequiresRepublish", "Whether mounts are repeated from time to time.", type="boolean"),
            Column("Modes", "The kinds of volume: Persistent, Ephemeral."),
            AGE,
        ),
        _csi_driver,
    ),
    "csinodes": TableFormat(
        (NAME, Column("Drivers", "How many CSI drivers the node has.", type="integer"), AGE), _csi_node
    ),
    "csistoragecapacities": TableFormat(
        (
            NAME,
            Column("StorageClassName", "The storage class that it is for."),
            Column("Capacity", "How much is free."),
        ),
        _csi_capacity,
    ),
    "persistentvolumeclaims": TableFormat(
        (
            NAME,
            Column("Status", "Whether the claim has its volume."),
            Column("Volume", "The volume that it is bound to."),
            Column("Capacity", "How large the volume is."),
            Column("Access Modes", "How the volume may be mounted."),
            Column("StorageClass", "The storage class that the claim asks for."),
            Column("VolumeAttributesClass", "The volume attributes class that the claim asks for."),
            AGE,
            Column("VolumeMode", "Whether it is a file system or a block device.", priority=1),
        ),
        _claim,
    ),
    "persistentvolumes": TableFormat(
        (
            NAME,
            Column("Capacity", "How large the volume is."),
            Column("Access Modes", "How the volume may be mounted."),
            Column("Reclaim Policy", "What happens to the volume when its claim is gone."),
            Column("Status", "Whether the volume is free, bound, released or failed."),
            Column("Claim", "The claim that has the volume."),
            Column("StorageClass", "The volume's storage class."),
            Column("VolumeAttributesClass", "The volume's attributes class."),
            Column("Reason", "Why the volume failed."),
            AGE,
            Column("VolumeMode", "Whether it is a file system or a block device.", priority=1),
        ),
        _volume,
    ),
    "storageclasses": TableFormat(
        (
            NAME,
            Column("Provisioner", "Who makes its volumes."),
            Column("ReclaimPolicy", "What happens to a volume when its claim is gone."),
            Column("VolumeBindingMode", "Whether a volume is made at once, or for its first pod."),
            Column("AllowVolumeExpansion", "Whether claims may grow."),
            AGE,
        ),
        _storage_class,
    ),
    "storageversionmigrations": TableFormat(
        (Column(NAME.name, NAME.description), Column("Resource", "The resource whose objects are written anew.")),
        _migration,
    ),
    "volumeattachments": TableFormat(
        (
            NAME,
            Column("Attacher", "The driver that attaches the volume.", format="name"),
            Column("PV", "The volume."),
            Column("Node", "The node that it is attached to."),
            Column("Attached", "Whether it is attached.", type="boolean"),
            AGE,
        ),
        _attachment,
    ),
    "volumeattributesclasses": TableFormat(
        (NAME, Column("DriverName", "The driver that knows the attributes."), AGE), _attributes_class
    ),
}
