"""Validation of CSI drivers: how one that is deployed wants to be called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import choice
from podstead.objects.validation.kinds.workload import immutable

Object = Mapping[str, Any]
_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_MODES = ("Persistent", "Ephemeral")
_MIN_TOKEN_SECONDS, _MAX_TOKEN_SECONDS = 600, 2**32
_MIN_PERIOD = 10


def validate(driver: Object) -> Iterator[FieldError]:
    spec = driver.get("spec") or {}
    yield from choice(spec, "fsGroupPolicy", _GROUP_POLICIES, "spec")
    yield from _tokens(spec.get("tokenRequests") or ())
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in _MODES:
            yield meta.unsupported("spec.volumeLifecycleModes", mode, _MODES)
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < _MIN_PERIOD:
        detail = f"must be greater than or equal to {_MIN_PERIOD} seconds"
        yield meta.invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, detail)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    yield from validate(new)
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    if spec.get("attachRequired") != before.get("attachRequired"):
        # The API's own word for the path.
        yield meta.invalid("spec.attachedRequired", spec.get("attachRequired"), meta.IMMUTABLE)
    yield from immutable(spec, before, "volumeLifecycleModes")


def _tokens(requests: Sequence[Object]) -> Iterator[FieldError]:
    """One token at most for each audience; the empty one is the API server's own."""
    known: set[str] = set()
    for index, request in enumerate(requests):
        path, audience = f"spec.tokenRequests[{index}]", request.get("audience") or ""
        if audience in known:
            yield meta.duplicate(f"{path}.audience", audience)
            continue
        known.add(audience)
        seconds = request.get("expirationSeconds")
        if seconds is not None and seconds < _MIN_TOKEN_SECONDS:
            detail = "may not specify a duration less than 10 minutes"
            yield meta.invalid(f"{path}.expirationSeconds", seconds, detail)
        if seconds is not None and seconds > _MAX_TOKEN_SECONDS:
            detail = "may not specify a duration larger than 2^32 seconds"
            yield meta.invalid(f"{path}.expirationSeconds", seconds, detail)
