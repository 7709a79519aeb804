"""Validation of replica sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects.errors import FieldError
from podstead.objects.validation.kinds.deployment import status_numbers
from podstead.objects.validation.kinds.workload import immutable, numbers, selector_and_template, spec_of

Object = Mapping[str, Any]


def validate(replicas: Object) -> Iterator[FieldError]:
    spec = spec_of(replicas)
    yield from numbers(spec, "replicas", "minReadySeconds")
    yield from selector_and_template(spec, "ReplicaSet")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    yield from validate(new)
    yield from immutable(spec_of(new), spec_of(old), "selector")


def validate_status_update(new: Object, old: Object) -> Iterator[FieldError]:
    return status_numbers(new, "replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")
