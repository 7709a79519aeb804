"""Validation of namespaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation import objectmeta
from podstead.objects.validation.common import label_key
from podstead.objects.validation.status import validate_keys

Object = Mapping[str, Any]
PATH = "spec.finalizers"


def validate(namespace: Object) -> list[FieldError]:
    # At a create the list of finalizers is named, not the entry.
    errors = objectmeta.validate(namespace, namespaced=False, name_rule=meta.label_name)
    return [*errors, *(error for name in _given(namespace) for error in _finalizer(name, PATH))]


def validate_update(new: Object, old: Object) -> list[FieldError]:
    return objectmeta.validate_update(new, old)


def validate_status_update(new: Object, old: Object) -> list[FieldError]:
    """A namespace is Terminating exactly while it is being deleted."""
    metadata = new.get("metadata") or {}
    errors = objectmeta.validate_update(new, old)
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
    errors = objectmeta.validate_update(new, old)
    for index, name in enumerate(_given(new)):
        errors += _finalizer(name, f"{PATH}[{index}]")
    return errors


def _given(namespace: Object) -> Sequence[str]:
    finalizers: Sequence[str] = (namespace.get("spec") or {}).get("finalizers") or ()
    return finalizers


def _finalizer(name: str, path: str) -> Iterator[FieldError]:
    yield from label_key(name, path)
    yield from objectmeta.standard_finalizer(name, path)
