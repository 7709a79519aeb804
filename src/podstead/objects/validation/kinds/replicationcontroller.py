"""Validation of replication controllers, whose selector is a map of labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.kinds.deployment import status_numbers
from podstead.objects.validation.kinds.workload import matching, numbers, replicated_template, spec_of

Object = Mapping[str, Any]


def validate(controller: Object) -> Iterator[FieldError]:
    spec = spec_of(controller)
    yield from numbers(spec, "replicas", "minReadySeconds")
    selector, template = spec.get("selector") or {}, spec.get("template")
    if not selector:
        yield meta.required("spec.selector")
    if template is None:
        yield meta.required("spec.template")
        return
    if selector:
        yield from matching({"matchLabels": selector}, template)
    yield from replicated_template(template, "ReplicationController", ("Always",))


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)


def validate_status_update(new: Object, old: Object) -> Iterator[FieldError]:
    return status_numbers(new, "replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")
