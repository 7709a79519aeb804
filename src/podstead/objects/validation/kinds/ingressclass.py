"""Validation of ingress classes: the controller stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import each

Object = Mapping[str, Any]
_SCOPES = ("Cluster", "Namespace")
_LENGTH = 250


def validate(ingress: Object) -> Iterator[FieldError]:
    spec = ingress.get("spec") or {}
    controller = spec.get("controller") or ""
    if not controller:
        yield meta.required("spec.controller")
    else:
        if len(controller) > _LENGTH:
            yield meta.longer_than("spec.controller", _LENGTH)
        if "/" not in controller:
            yield meta.invalid("spec.controller", controller, 'must be a domain-prefixed path (such as "acme.io/foo")')
        else:
            domain = controller.partition("/")[0]
            yield from each("spec.controller", controller, meta.dns_subdomain_problems(domain))
    parameters = spec.get("parameters")
    if parameters is not None:
        for field in ("kind", "name"):
            if not parameters.get(field):
                yield meta.required(f"spec.parameters.{field}")
        scope = parameters.get("scope")
        if scope not in _SCOPES:
            yield meta.unsupported("spec.parameters.scope", scope or "", _SCOPES)
        elif scope == "Namespace" and not parameters.get("namespace"):
            detail = "`parameters.scope` is set to 'Namespace'"
            yield meta.required("spec.parameters.namespace", detail)
        elif scope == "Cluster" and parameters.get("namespace") is not None:
            detail = "`parameters.scope` is set to 'Cluster'"
            yield meta.forbidden("spec.parameters.namespace", detail)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    yield from validate(new)
    controller = (new.get("spec") or {}).get("controller")
    if controller != (old.get("spec") or {}).get("controller"):
        yield meta.invalid("spec.controller", controller, meta.IMMUTABLE)
