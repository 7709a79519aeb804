"""Validation of persistent volume claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.quantity import Quantity
from podstead.objects.validation.claims import validate_claim_spec

Object = Mapping[str, Any]
_FIXED = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
_SHRUNK = "field can not be less than status.capacity"


def validate(claim: Object) -> Iterator[FieldError]:
    return validate_claim_spec(claim.get("spec") or {}, "spec")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    """A controller may bind it; a bound claim may grow; nothing else of its spec changes."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    yield from validate_claim_spec(spec, "spec")
    bound = (old.get("status") or {}).get("phase") == "Bound"
    if _fixed(spec, before, bound) != _fixed(before, before, bound):
        yield meta.forbidden("spec", _FIXED)
    wanted, had = _storage(spec), _storage(before)
    held = ((old.get("status") or {}).get("capacity") or {}).get("storage")
    if wanted is not None and had is not None and wanted < had and (held is None or wanted < Quantity.parse(held)):
        yield meta.forbidden("spec.resources.requests.storage", _SHRUNK)


def _storage(spec: Object) -> Quantity | None:
    text = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    try:
        return Quantity.parse(text) if text is not None else None
    except ValueError:
        return None


def _fixed(spec: Object, before: Object, bound: bool) -> dict[str, Any]:
    fixed = dict(spec)
    if not before.get("volumeName"):
        fixed.pop("volumeName", None)
    if before.get("storageClassName") is None:
        # A default class may be given to a claim that had none (KEP-3333).
        fixed.pop("storageClassName", None)
    if bound:
        resources = {**(fixed.get("resources") or {})}
        requests = {k: v for k, v in (resources.get("requests") or {}).items() if k != "storage"}
        fixed["resources"] = {**resources, "requests": requests}
    fixed.pop("volumeAttributesClassName", None)
    return fixed
