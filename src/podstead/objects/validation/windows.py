"""Validation of what concerns Windows: its own options, and what its pods and Linux's cannot have of each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError

Object = Mapping[str, Any]

SYSTEMS = ("linux", "windows")
_CREDENTIAL_KIB = 64
_DOMAIN_LENGTH = 256
_USER_LENGTH = 104
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NET_BIOS = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}\Z')
_DNS = re.compile(
    r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\Z"
)
_USER_CHARACTERS = re.compile(r'["/\\:;|=,+*?<>@\[\]]')
_DOTS = re.compile(r"[. ]+\Z")

_NOT_WINDOWS = "cannot be set for a windows pod"
# In the order in which they are named; those without a dot are the pod's own fields.
_POD_FIELDS = (
    "securityContext.appArmorProfile",
    "securityContext.seLinuxOptions",
    "hostUsers",
    "hostPID",
    "hostIPC",
    "securityContext.seccompProfile",
    "securityContext.fsGroup",
    "securityContext.fsGroupChangePolicy",
    "securityContext.sysctls",
    "shareProcessNamespace",
    "securityContext.runAsUser",
    "securityContext.runAsGroup",
    "securityContext.supplementalGroups",
    "securityContext.supplementalGroupsPolicy",
    "securityContext.seLinuxChangePolicy",
)
_FALSE_IS_UNSET = ("hostPID", "hostIPC")
_CONTAINER_FIELDS = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)


def containers(spec: Object, path: str) -> Iterator[tuple[str, Object]]:
    """Every container of a pod with its path: init containers first."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            yield f"{path}.{kind}[{index}]", container


def validate_os(spec: Object, path: str) -> Iterator[FieldError]:
    """spec.os, and what the system that it names does not have (KEP-2802)."""
    os = spec.get("os")
    if os is None:
        return
    name = os.get("name") or ""
    if not name:
        yield meta.required(f"{path}.os.name", "cannot be empty")
    elif name not in SYSTEMS:
        yield meta.unsupported(f"{path}.os", name, SYSTEMS)
    elif name == "linux":
        yield from _linux(spec, path)
    else:
        yield from _windows(spec, path)


def _linux(spec: Object, path: str) -> Iterator[FieldError]:
    detail = "windows options cannot be set for a linux pod"
    for at, holder in ((path, spec), *containers(spec, path)):
        if (holder.get("securityContext") or {}).get("windowsOptions") is not None:
            yield meta.forbidden(f"{at}.securityContext.windowsOptions", detail)


def _windows(spec: Object, path: str) -> Iterator[FieldError]:
    context = spec.get("securityContext") or {}
    for field in _POD_FIELDS:
        value = context.get(field.partition(".")[2]) if "." in field else spec.get(field)
        if value is not None and (value or field not in _FALSE_IS_UNSET):
            yield meta.forbidden(f"{path}.{field}", _NOT_WINDOWS)
    for at, container in containers(spec, path):
        context = container.get("securityContext") or {}
        for field in _CONTAINER_FIELDS:
            if context.get(field) is not None:
                yield meta.forbidden(f"{at}.securityContext.{field}", _NOT_WINDOWS)


def validate_host_process(spec: Object, path: str) -> Iterator[FieldError]:
    """HostProcess containers: all of a pod or none, and on the host's network."""
    of_pod = _host_process(spec)
    total = with_it = 0
    for at, container in containers(spec, path):
        own = _host_process(container)
        if of_pod is not None and own is not None and of_pod != own:
            shown = "true" if of_pod else "false"
            detail = f"pod hostProcess value must be identical if both are specified, was {shown}"
            yield meta.invalid(f"{at}.securityContext.windowsOptions.hostProcess", own, detail)
        total += 1
        with_it += bool(of_pod if own is None else own)
    if with_it and with_it != total:
        detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        yield meta.invalid(path, "", detail)
    if with_it and not spec.get("hostNetwork"):
        detail = "hostNetwork must be true if pod contains any hostProcess containers"
        yield meta.invalid(f"{path}.hostNetwork", False, detail)


def _host_process(holder: Object) -> bool | None:
    value: bool | None = ((holder.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
    return value


def validate_windows_options(options: Object | None, path: str) -> Iterator[FieldError]:
    if options is None:
        return
    name, credential = options.get("gmsaCredentialSpecName"), options.get("gmsaCredentialSpec")
    if name is not None:
        at = f"{path}.gmsaCredentialSpecName"
        yield from (meta.invalid(at, name, problem) for problem in meta.dns_subdomain_problems(name))
    if credential == "":
        yield meta.invalid(f"{path}.gmsaCredentialSpec", "", "gmsaCredentialSpec cannot be an empty string")
    elif credential is not None and len(credential.encode()) > _CREDENTIAL_KIB * 1024:
        detail = f"gmsaCredentialSpec size must be under {_CREDENTIAL_KIB} KiB"
        yield meta.invalid(f"{path}.gmsaCredentialSpec", credential, detail)
    user = options.get("runAsUserName")
    if user is not None:
        at = f"{path}.runAsUserName"
        yield from (meta.invalid(at, user, f"runAsUserName{problem}") for problem in _user_problems(user))


def _user_problems(name: str) -> Iterator[str]:
    """`[DOMAIN\\]USER`: what is wrong, to follow the field's name."""
    domain, slash, user = name.rpartition("\\")
    if not name:
        yield " cannot be an empty string"
    elif _CONTROL.search(name):
        yield " cannot contain control characters"
    elif "\\" in domain:
        yield " cannot contain more than one backslash"
    else:
        if len(domain.encode()) >= _DOMAIN_LENGTH:
            yield f"'s Domain length must be under {_DOMAIN_LENGTH} characters"
        if slash and not _NET_BIOS.match(domain) and not _DNS.match(domain):
            yield "'s Domain doesn't match the NetBios nor the DNS format"
        if not user:
            yield "'s User cannot be empty"
        elif len(user.encode()) > _USER_LENGTH:
            yield f"'s User length must not be longer than {_USER_LENGTH} characters"
        if _DOTS.match(user):
            yield "'s User cannot contain only periods or spaces"
        if _USER_CHARACTERS.search(user):
            yield "'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"
