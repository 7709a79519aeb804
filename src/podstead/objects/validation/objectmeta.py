"""Metadata of core/v1's kinds: as everywhere, and finalizers without a domain are only those that Kubernetes knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError

Object = Mapping[str, Any]

STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")


def validate(obj: Object, namespaced: bool, name_rule: meta.NameRule = meta.subdomain_name) -> list[FieldError]:
    """The metadata of an object to create."""
    metadata = obj.get("metadata") or {}
    return [*meta.validate_object_meta(metadata, namespaced=namespaced, name_rule=name_rule), *_finalizers(metadata)]


def validate_update(new: Object, old: Object) -> list[FieldError]:
    metadata = new.get("metadata") or {}
    return [*meta.validate_object_meta_update(metadata, old.get("metadata") or {}), *_finalizers(metadata)]


def standard_finalizer(name: str, path: str) -> Iterator[FieldError]:
    if "/" not in name and name not in STANDARD_FINALIZERS:
        yield meta.invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified")


def _finalizers(metadata: Object) -> Iterator[FieldError]:
    for index, name in enumerate(metadata.get("finalizers") or ()):
        yield from standard_finalizer(name, f"metadata.finalizers[{index}]")
