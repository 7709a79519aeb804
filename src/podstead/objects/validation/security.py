"""Validation of security contexts, and of what a pod of one operating system cannot ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import choice, descending_path, ids, one_id
from podstead.objects.validation.windows import validate_windows_options

Object = Mapping[str, Any]

PROFILE_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")
_PROC_MOUNTS = ("Default", "Unmasked")
_PROFILE_LENGTH = 4095
_SYSCTL_LENGTH = 253
_SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = rf"({_SYSCTL_SEGMENT}[\./])*{_SYSCTL_SEGMENT}"
_sysctl_re = re.compile(rf"(?:{_SYSCTL})\Z")
_NET_SYSCTLS = ("net.",)
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "fs.mqueue.")


def validate_pod_security_context(context: Object, spec: Object, path: str) -> Iterator[FieldError]:
    if context:
        yield from ids(context, ("fsGroup", "runAsUser", "runAsGroup"), path)
        for index, group in enumerate(context.get("supplementalGroups") or ()):
            yield from one_id(group, f"{path}.supplementalGroups[{index}]")
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield meta.invalid(f"{path}.shareProcessNamespace", True, detail)
    if context:
        yield from _sysctls(context.get("sysctls") or (), spec, f"{path}.sysctls")
        yield from choice(context, "fsGroupChangePolicy", ("Always", "OnRootMismatch"), path)
        yield from _seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
        yield from validate_windows_options(context.get("windowsOptions"), f"{path}.windowsOptions")
        yield from _app_armor(context.get("appArmorProfile"), f"{path}.appArmorProfile")
        yield from choice(context, "supplementalGroupsPolicy", ("Merge", "Strict"), path)
        yield from choice(context, "seLinuxChangePolicy", ("MountOption", "Recursive"), path)


def validate_security_context(context: Object, host_users: bool, path: str) -> Iterator[FieldError]:
    """A container's security context. `host_users`: the pod has no user namespace of its own."""
    yield from ids(context, ("runAsUser", "runAsGroup"), path)
    yield from choice(context, "procMount", _PROC_MOUNTS, path)
    if host_users and context.get("procMount") == "Unmasked":
        detail = "`hostUsers` must be false to use `Unmasked`"
        yield meta.invalid(f"{path}.procMount", "Unmasked", detail)
    yield from _seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            yield meta.invalid(path, dict(context), detail)
        added = (context.get("capabilities") or {}).get("add") or ()
        detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
        yield from (meta.invalid(path, dict(context), detail) for name in added if name == "CAP_SYS_ADMIN")
    yield from validate_windows_options(context.get("windowsOptions"), f"{path}.windowsOptions")
    yield from _app_armor(context.get("appArmorProfile"), f"{path}.appArmorProfile")


def _seccomp(profile: Object | None, path: str) -> Iterator[FieldError]:
    if profile is None:
        return
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        yield meta.required(f"{path}.type", "type is required when seccompProfile is set")
    elif kind not in PROFILE_TYPES:
        yield meta.unsupported(f"{path}.type", kind, PROFILE_TYPES)
    if kind != "Localhost":
        if local is not None:
            detail = "can only be set when seccomp type is Localhost"
            yield meta.invalid(f"{path}.localhostProfile", dict(profile), detail)
    elif local is None:
        yield meta.required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")
    else:
        yield from descending_path(local, f"{path}.localhostProfile")


def _app_armor(profile: Object | None, path: str) -> Iterator[FieldError]:
    if profile is None:
        return
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    at = f"{path}.localhostProfile"
    if not kind:
        yield meta.required(f"{path}.type", "type is required when appArmorProfile is set")
    elif kind not in PROFILE_TYPES:
        yield meta.unsupported(f"{path}.type", kind, PROFILE_TYPES)
    elif kind != "Localhost":
        if local is not None:
            yield meta.invalid(at, local, "can only be set when AppArmor type is Localhost")
    elif not local:
        yield meta.required(at, "must be set when AppArmor type is Localhost")
    else:
        if local != local.strip():
            yield meta.invalid(at, local, "must not be padded with whitespace")
        if len(local.encode()) > _PROFILE_LENGTH:
            yield meta.longer_than(at, _PROFILE_LENGTH)


def _sysctls(sysctls: Sequence[Object], spec: Object, path: str) -> Iterator[FieldError]:
    names: set[str] = set()
    for index, sysctl in enumerate(sysctls):
        at, name = f"{path}[{index}].name", sysctl.get("name") or ""
        if not name:
            yield meta.required(at)
        elif len(name) > _SYSCTL_LENGTH or not _sysctl_re.match(name):
            detail = f"must have at most {_SYSCTL_LENGTH} characters and match regex ^{_SYSCTL}$"
            yield meta.invalid(at, name, detail)
        elif name in names:
            yield meta.duplicate(at, name)
        names.add(name)
        dotted = _dotted(name)
        if spec.get("hostNetwork") and dotted.startswith(_NET_SYSCTLS):
            yield meta.invalid(at, name, "may not be specified when 'hostNetwork' is true")
        elif spec.get("hostIPC") and (dotted.startswith(_IPC_SYSCTLS) or dotted == "kernel.sem"):
            yield meta.invalid(at, name, "may not be specified when 'hostIPC' is true")


def _dotted(name: str) -> str:
    """A name of sysctl(8) may have slashes for its dots; the first separator says which it is."""
    first = next((character for character in name if character in "./"), ".")
    return name.translate(str.maketrans("/.", "./")) if first == "/" else name
