"""Validation of a persistent volume claim's spec, and of the template of one in a generic ephemeral volume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import POSITIVE, choice, each, needs
from podstead.objects.validation.resources import quantity_errors
from podstead.objects.validation.selectors import label_selector

Object = Mapping[str, Any]

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")


def validate_claim_template(template: Object, path: str) -> Iterator[FieldError]:
    metadata = template.get("metadata") or {}
    yield from meta.validate_annotations(metadata.get("annotations") or {}, f"{path}.metadata.annotations")
    yield from meta.validate_labels(metadata.get("labels") or {}, f"{path}.metadata.labels")
    for field, value in metadata.items():
        if field not in ("annotations", "labels") and value:
            yield meta.forbidden(f"{path}.metadata.{field}", "cannot be set")
    yield from validate_claim_spec(template.get("spec") or {}, f"{path}.spec")


def validate_claim_spec(spec: Object, path: str) -> Iterator[FieldError]:
    """A PersistentVolumeClaimSpec, defaults filled in."""
    modes = spec.get("accessModes") or ()
    if not modes:
        yield meta.required(f"{path}.accessModes", "at least 1 access mode is required")
    yield from label_selector(spec.get("selector"), f"{path}.selector")
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield meta.unsupported(f"{path}.accessModes", mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and any(mode in ACCESS_MODES[:3] for mode in modes):
        yield meta.forbidden(f"{path}.accessModes", "may not use ReadWriteOncePod with other access modes")
    yield from _storage(spec, f"{path}.resources[storage]")
    yield from _class_name(spec, "storageClassName", path)
    yield from choice(spec, "volumeMode", VOLUME_MODES, path)
    yield from _data_sources(spec, path)
    yield from _class_name(spec, "volumeAttributesClassName", path)


def _storage(spec: Object, path: str) -> Iterator[FieldError]:
    amount = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if amount is None:
        yield meta.required(path)
        return
    quantity, errors = quantity_errors(path, amount)
    if quantity is None:
        yield from errors
    elif quantity.nanos <= 0:
        yield meta.invalid(path, quantity.canonical(), POSITIVE)


def _class_name(spec: Object, field: str, path: str) -> Iterator[FieldError]:
    name = spec.get(field) or ""
    if name:
        yield from each(f"{path}.{field}", name, meta.dns_subdomain_problems(name))


def _data_sources(spec: Object, path: str) -> Iterator[FieldError]:
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    for field, value in (("dataSource", source), ("dataSourceRef", reference)):
        if value is not None:
            yield from _data_source(value, f"{path}.{field}")
    if source is None or reference is None:
        return
    if reference.get("namespace"):
        detail = "may not be specified when dataSourceRef.namespace is specified"
        yield meta.invalid(path, f"{path}.dataSource", detail)
    elif any(source.get(field) != reference.get(field) for field in ("apiGroup", "kind", "name")):
        yield meta.invalid(path, f"{path}.dataSource", "must match dataSourceRef")


def _data_source(source: Object, path: str) -> Iterator[FieldError]:
    yield from needs(source, path, "name", "kind")
    group, kind = source.get("apiGroup") or "", source.get("kind") or ""
    if not group and kind != "PersistentVolumeClaim":
        yield meta.invalid(path, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup")
    if group:
        yield from each(f"{path}.apiGroup", group, meta.dns_subdomain_problems(group))
    namespace = source.get("namespace") or ""
    if namespace:
        yield from each(f"{path}.namespace", namespace, meta.dns_label_problems(namespace))
