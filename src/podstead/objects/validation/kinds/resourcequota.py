"""Validation of resource quotas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import each
from podstead.objects.validation.resources import quantity_errors

Object = Mapping[str, Any]
_SCOPES = (
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
)


def validate(quota: Object) -> Iterator[FieldError]:
    spec = quota.get("spec") or {}
    for name, text in (spec.get("hard") or {}).items():
        path = f"spec.hard[{name}]"
        yield from each(path, name, meta.label_key_problems(name))
        yield from quantity_errors(path, text)[1]
    scopes = spec.get("scopes") or ()
    for scope in scopes:
        if scope not in _SCOPES:
            yield meta.invalid("spec.scopes", list(scopes), "unsupported scope")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    yield from validate(new)
    scopes, before = ((obj.get("spec") or {}).get("scopes") or [] for obj in (new, old))
    if sorted(scopes) != sorted(before):
        yield meta.invalid("spec.scopes", scopes, meta.IMMUTABLE)
