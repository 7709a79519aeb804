"""Validation of cluster role bindings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects.errors import FieldError
from podstead.objects.validation.kinds.rolebinding import unchanged, validate_cluster

Object = Mapping[str, Any]


def validate(binding: Object) -> Iterator[FieldError]:
    return validate_cluster(binding)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    yield from validate_cluster(new)
    yield from unchanged(new, old)
