"""Validation of namespaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.status import validate_keys

Object = Mapping[str, Any]
_STANDARD_FINALIZERS = ("kubernetes",)


def validate(namespace: Object) -> list[FieldError]:
    metadata = namespace.get("metadata") or {}
    return [*meta.validate_object_meta(metadata, namespaced=False, name_rule=meta.label_name), *_finalizers(namespace)]


def validate_update(new: Object, old: Object) -> list[FieldError]:
    return meta.validate_object_meta_update(new.get("metadata") or {}, old.get("metadata") or {})


def validate_status_update(new: Object, old: Object) -> list[FieldError]:
    """A namespace is Terminating exactly while it is being deleted."""
    metadata = new.get("metadata") or {}
    errors = meta.validate_object_meta_update(metadata, old.get("metadata") or {})
    phase = (new.get("status") or {}).get("phase") or ""
    if not metadata.get("deletionTimestamp"):
        if phase != "Active":
            detail = "may only be 'Active' if `deletionTimestamp` is empty"
            errors.append(meta.invalid("status.Phase", phase, detail))
    elif phase != "Terminating":
        detail = "may only be 'Terminating' if `deletionTimestamp` is not empty"
        errors.append(meta.invalid("status.Phase", phase, detail))
    return [*errors, *validate_keys(new.get("status"))]


def validate_finalize(new: Object, old: Object) -> list[FieldError]:
    """An update of spec.finalizers through the subresource `finalize`."""
    errors = meta.validate_object_meta_update(new.get("metadata") or {}, old.get("metadata") or {})
    return [*errors, *_finalizers(new)]


def _finalizers(namespace: Object) -> Iterator[FieldError]:
    for index, finalizer in enumerate((namespace.get("spec") or {}).get("finalizers") or ()):
        path = f"spec.finalizers[{index}]"
        yield from (meta.invalid(path, finalizer, problem) for problem in meta.label_key_problems(finalizer))
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            yield meta.invalid(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified")
