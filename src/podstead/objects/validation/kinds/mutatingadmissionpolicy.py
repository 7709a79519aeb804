"""Validation of mutating admission policies. Their CEL expressions are not compiled, only looked for.

https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import one_of
from podstead.objects.validation.kinds import validatingadmissionpolicy
from podstead.objects.validation.kinds.webhookconfiguration import expression

Object = Mapping[str, Any]
_PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
"""Types of patches, and the field that has the expression."""


def validate(policy: Object) -> Iterator[FieldError]:
    spec = policy.get("spec") or {}
    yield from validatingadmissionpolicy.common(spec)
    if not spec.get("mutations"):
        yield meta.required("spec.mutations", "mutations must contain at least one item")
    for index, mutation in enumerate(spec.get("mutations") or ()):
        yield from _mutation(mutation, f"spec.mutations[{index}]")
    yield from one_of(spec.get("reinvocationPolicy"), ("IfNeeded", "Never"), "spec.reinvocationPolicy")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)


def _mutation(mutation: Object, path: str) -> Iterator[FieldError]:
    kind = mutation.get("patchType") or ""
    yield from one_of(kind, tuple(_PATCHES), f"{path}.patchType")
    if kind not in _PATCHES:
        return
    for other, field in _PATCHES.items():
        patch = mutation.get(field)
        if other != kind:
            if patch is not None:
                yield meta.forbidden(f"{path}.{field}", f"must not be specified when patchType is {kind}")
        elif patch is None:
            yield meta.required(f"{path}.{field}", f"must be specified when patchType is {kind}")
        else:
            yield from expression(patch, "expression", f"{path}.{field}", "expression is not specified")
