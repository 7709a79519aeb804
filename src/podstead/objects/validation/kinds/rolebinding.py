"""Validation of role bindings and cluster role bindings: whom, and to which role, for ever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import each

Object = Mapping[str, Any]
_GROUP = "rbac.authorization.k8s.io"
_ROLES = ("Role", "ClusterRole")
_KINDS = ("ServiceAccount", "User", "Group")


def validate(binding: Object) -> Iterator[FieldError]:
    return _binding(binding, _ROLES)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    yield from _binding(new, _ROLES)
    yield from unchanged(new, old)


def validate_cluster(binding: Object) -> Iterator[FieldError]:
    return _binding(binding, ("ClusterRole",))


def unchanged(new: Object, old: Object) -> Iterator[FieldError]:
    if new.get("roleRef") != old.get("roleRef"):
        yield meta.invalid("roleRef", new.get("roleRef"), "cannot change roleRef")


def _binding(binding: Object, roles: tuple[str, ...]) -> Iterator[FieldError]:
    role = binding.get("roleRef") or {}
    if role.get("apiGroup") != _GROUP:
        yield meta.unsupported("roleRef.apiGroup", role.get("apiGroup") or "", (_GROUP,))
    if role.get("kind") not in roles:
        yield meta.unsupported("roleRef.kind", role.get("kind") or "", roles)
    if not role.get("name"):
        yield meta.required("roleRef.name")
    else:
        yield from each("roleRef.name", role["name"], meta.path_segment_name(role["name"], False))
    for index, subject in enumerate(binding.get("subjects") or ()):
        yield from _subject(subject, f"subjects[{index}]", cluster="Role" not in roles)


def _subject(subject: Object, path: str, cluster: bool) -> Iterator[FieldError]:
    kind, name, group = (subject.get(field) or "" for field in ("kind", "name", "apiGroup"))
    if not name:
        yield meta.required(f"{path}.name")
    if kind not in _KINDS:
        yield meta.unsupported(f"{path}.kind", kind, _KINDS)
    elif kind == "ServiceAccount":
        yield from each(f"{path}.name", name, name and meta.dns_subdomain_problems(name))
        if group:
            yield meta.unsupported(f"{path}.apiGroup", group, ("",))
        # In a role binding a subject without a namespace is one that no account ever is; Kubernetes lets it pass.
        if cluster and not subject.get("namespace"):
            yield meta.required(f"{path}.namespace")
    elif group != _GROUP:
        yield meta.unsupported(f"{path}.apiGroup", group, (_GROUP,))
