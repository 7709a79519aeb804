"""Validation of the security contexts of pods and containers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError

# The largest user or group id that OCI runtimes and the API take.
MAX_ID = 2**31 - 1
SECCOMP_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")


def validate_pod_security_context(context: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    yield from _ids(context, ("fsGroup", "runAsUser", "runAsGroup"), path)
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        yield from _id(f"{path}.supplementalGroups[{index}]", group)
    yield from _seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")


def validate_security_context(context: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    """A container's security context."""
    yield from _ids(context, ("runAsUser", "runAsGroup"), path)
    yield from _seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            yield meta.invalid(path, dict(context), detail)
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            yield meta.invalid(path, dict(context), detail)


def _ids(context: Mapping[str, Any], names: tuple[str, ...], path: str) -> Iterator[FieldError]:
    for name in names:
        if context.get(name) is not None:
            yield from _id(f"{path}.{name}", context[name])


def _id(path: str, value: int) -> Iterator[FieldError]:
    if not 0 <= value <= MAX_ID:
        yield meta.invalid(path, value, meta.in_range(0, MAX_ID))


def _seccomp(profile: Mapping[str, Any] | None, path: str) -> Iterator[FieldError]:
    if profile is None:
        return
    kind = profile.get("type") or ""
    if not kind:
        yield meta.required(f"{path}.type", "type is required when seccompProfile is set")
    elif kind not in SECCOMP_TYPES:
        yield meta.unsupported(f"{path}.type", kind, SECCOMP_TYPES)
    local = profile.get("localhostProfile")
    if kind == "Localhost":
        if not local:
            yield meta.required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")
    elif local is not None:
        yield meta.invalid(f"{path}.localhostProfile", local, "can only be set when seccomp type is Localhost")
