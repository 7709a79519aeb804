"""Validation of priority levels: how many requests of one may be served at once, and which wait.

https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.kinds.flowschema import conditions

Object = Mapping[str, Any]
_TYPES = ("Exempt", "Limited")
_RESPONSES = ("Queue", "Reject")
_MAX_QUEUES = 10_000_000
_HASH_BITS = 60
"""As many bits of a hash choose a request's queues (shuffle sharding)."""
_NOT_NEGATIVE = "must be a non-negative integer"


def validate(level: Object) -> Iterator[FieldError]:
    spec, name = level.get("spec") or {}, (level.get("metadata") or {}).get("name")
    kind = spec.get("type") or ""
    if (name == "exempt") is not (kind == "Exempt"):
        yield meta.invalid("spec.type", kind, "type must be 'Exempt' if and only if name is 'exempt'")
    limited, exempt = spec.get("limited"), spec.get("exempt")
    if kind not in _TYPES:
        yield meta.unsupported("spec.type", kind, _TYPES)
    elif kind == "Exempt":
        if limited is not None:
            yield meta.forbidden("spec.limited", "must be nil if the type is not Limited")
        yield from _shares(exempt or {}, "spec.exempt")
    else:
        if exempt is not None:
            yield meta.forbidden("spec.exempt", "must be nil if the type is Limited")
        if limited is None:
            yield meta.required("spec.limited", "must not be empty when type is Limited")
        else:
            yield from _limited(limited, "spec.limited")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)


def validate_status_update(new: Object, old: Object) -> Iterator[FieldError]:
    return conditions(new)


def _shares(holder: Object, path: str) -> Iterator[FieldError]:
    shares, lendable = holder.get("nominalConcurrencyShares"), holder.get("lendablePercent")
    if shares is not None and shares < 0:
        yield meta.invalid(f"{path}.nominalConcurrencyShares", shares, _NOT_NEGATIVE)
    if lendable is not None and not 0 <= lendable <= 100:
        yield meta.invalid(f"{path}.lendablePercent", lendable, "must be between 0 and 100, inclusive")


def _limited(limited: Object, path: str) -> Iterator[FieldError]:
    yield from _shares(limited, path)
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        yield meta.invalid(f"{path}.borrowingLimitPercent", borrowing, f"if specified, {_NOT_NEGATIVE}")
    response, path = limited.get("limitResponse") or {}, f"{path}.limitResponse"
    kind, queuing = response.get("type") or "", response.get("queuing")
    if kind not in _RESPONSES:
        yield meta.unsupported(f"{path}.type", kind, _RESPONSES)
    elif kind == "Reject":
        if queuing is not None:
            yield meta.forbidden(f"{path}.queuing", "must be nil if limited.limitResponse.type is not Limited")
    elif queuing is None:
        yield meta.required(f"{path}.queuing", "must not be empty if limited.limitResponse.type is Limited")
    else:
        yield from _queuing(queuing, f"{path}.queuing")


def _queuing(queuing: Object, path: str) -> Iterator[FieldError]:
    length, queues, hand = (queuing.get(field) or 0 for field in ("queueLengthLimit", "queues", "handSize"))
    if length <= 0:
        yield meta.invalid(f"{path}.queueLengthLimit", length, "must be positive")
    if queues <= 0:
        yield meta.invalid(f"{path}.queues", queues, "must be positive")
    elif queues > _MAX_QUEUES:
        yield meta.invalid(f"{path}.queues", queues, f"must not be greater than {_MAX_QUEUES}")
    if hand <= 0:
        yield meta.invalid(f"{path}.handSize", hand, "must be positive")
    elif hand > queues:
        yield meta.invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})")
    elif math.ceil(math.log2(queues) * hand) > _HASH_BITS:
        detail = (
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {_HASH_BITS}"
        )
        yield meta.invalid(f"{path}.handSize", hand, detail)
