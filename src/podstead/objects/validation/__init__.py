"""Validation of whole objects, after defaulting: one module a kind, and what podstead does not implement yet.

Paths, reasons and words are those of the real API server where these are known, so that a user can look them up.
An object that comes here has been checked against the schema: types are right, unknown fields are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from podstead.objects.errors import FieldError
from podstead.objects.validation import (
    configmap,
    event,
    kinds,
    lease,
    namespace,
    node,
    pod,
    pod_resize,
    pod_status,
    pod_update,
    secret,
    serviceaccount,
    unsupported,
)

Object = Mapping[str, Any]


class Kind(Protocol):
    """What is asked of a ResourceInfo here."""

    @property
    def group(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def namespaced(self) -> bool: ...


_CREATE: dict[tuple[str, str], Callable[[Object], list[FieldError]]] = {
    ("", "ConfigMap"): configmap.validate,
    ("", "Event"): event.validate,
    ("", "Namespace"): namespace.validate,
    ("", "Node"): node.validate,
    ("", "Pod"): pod.validate,
    ("", "PodTemplate"): pod.validate_pod_template,
    ("", "Secret"): secret.validate,
    ("", "ServiceAccount"): serviceaccount.validate,
    ("coordination.k8s.io", "Lease"): lease.validate,
}
_UPDATE: dict[tuple[str, str, str], Callable[[Object, Object], list[FieldError]]] = {
    ("", "ConfigMap", ""): configmap.validate_update,
    ("", "Event", ""): event.validate_update,
    ("", "Namespace", ""): namespace.validate_update,
    ("", "Namespace", "finalize"): namespace.validate_finalize,
    ("", "Namespace", "status"): namespace.validate_status_update,
    ("", "Node", ""): node.validate_update,
    ("", "Node", "status"): node.validate_update,
    ("", "Pod", ""): pod_update.validate_update,
    ("", "Pod", "ephemeralcontainers"): pod_update.validate_ephemeral_update,
    ("", "Pod", "resize"): pod_resize.validate_update,
    ("", "Pod", "status"): pod_status.validate_status_update,
    ("", "PodTemplate", ""): pod.validate_pod_template_update,
    ("", "Secret", ""): secret.validate_update,
    ("", "ServiceAccount", ""): serviceaccount.validate_update,
    ("coordination.k8s.io", "Lease", ""): lease.validate_update,
}


def validate_create(info: Kind, obj: Object) -> list[FieldError]:
    """What is wrong with an object to create: its name has been generated, defaults are filled in."""
    validate = _CREATE.get((info.group, info.kind))
    errors = validate(obj) if validate is not None else kinds.validate(info, obj)
    return _with_unsupported(info, obj, errors)


def validate_update(info: Kind, new: Object, old: Object, subresource: str = "") -> list[FieldError]:
    """What is wrong with `new` in place of `old`.

    `new` is what would be stored: of what the subresource does not own, the strategy has put back the old parts. Its
    resourceVersion is set (where an update may leave it out, the caller fills in the current one).
    """
    validate = _UPDATE.get((info.group, info.kind, subresource))
    errors = validate(new, old) if validate is not None else kinds.validate_update(info, new, old, subresource)
    return errors if subresource else _with_unsupported(info, new, errors)


def _with_unsupported(info: Kind, obj: Object, errors: list[FieldError]) -> list[FieldError]:
    """Add what is not implemented, unless the field has been found wrong already."""
    named = {error.path for error in errors}
    refused = [error for error in unsupported.refusals(info.kind, obj) if error.path not in named]
    return [*errors, *refused]
