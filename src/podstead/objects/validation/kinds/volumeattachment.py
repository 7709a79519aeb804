"""Validation of volume attachments: a volume that is to be, or is, attached to a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import MAX_INT32, each
from podstead.objects.validation.kinds.csinode import driver_name

Object = Mapping[str, Any]
_METADATA_SIZE = 256 * 1024
_MESSAGE_SIZE = 1024
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def validate(attachment: Object) -> Iterator[FieldError]:
    spec = attachment.get("spec") or {}
    yield from driver_name(spec.get("attacher") or "", "spec.attacher")
    source = spec.get("source") or {}
    name, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    if name is None and inline is None:
        yield meta.required("spec.source", _ONE_SOURCE)
    elif name is not None and inline is not None:
        yield meta.forbidden("spec.source", _ONE_SOURCE)
    elif name == "":
        yield meta.required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName")
    if name:
        yield from each("spec.source.persistentVolumeName", name, meta.dns_subdomain_problems(name))
    node = spec.get("nodeName") or ""
    yield from each("spec.nodeName", node, meta.dns_subdomain_problems(node))


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    yield from validate(new)
    if new.get("spec") != old.get("spec"):
        yield meta.invalid("spec", new.get("spec"), meta.IMMUTABLE)


def validate_status_update(new: Object, old: Object) -> Iterator[FieldError]:
    status = new.get("status") or {}
    known = (status.get("attachmentMetadata") or {}).items()
    if sum(len(key.encode()) + len(value.encode()) for key, value in known) > _METADATA_SIZE:
        yield meta.longer_than("status.attachmentMetadata", _METADATA_SIZE)
    for field in ("attachError", "detachError"):
        error, path = status.get(field) or {}, f"status.{field}"
        if len((error.get("message") or "").encode()) > _MESSAGE_SIZE:
            yield meta.longer_than(f"{path}.message", _MESSAGE_SIZE)
        if (error.get("errorCode") or 0) < 0:
            yield meta.invalid(f"{path}.errorCode", error["errorCode"], meta.in_range(0, MAX_INT32))
