"""Validation of the annotations that mean something on a pod: mirror pods, deletion cost, older security profiles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import descending_path
from podstead.objects.validation.windows import containers

Object = Mapping[str, Any]
Annotations = Mapping[str, str]

MIRROR = "kubernetes.io/config.mirror"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_LOCALHOST = "localhost/"
_SECCOMP = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default", "docker/default")}
_APP_ARMOR = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default",)}
_cost_re = re.compile(r"(0|-?[1-9][0-9]*)\Z")


def validate_annotations(annotations: Annotations, spec: Object, path: str) -> Iterator[FieldError]:
    if not annotations:
        return
    if MIRROR in annotations and not spec.get("nodeName"):
        detail = "must set spec.nodeName if mirror pod annotation is set"
        yield meta.invalid(f"{path}[{MIRROR}]", annotations[MIRROR], detail)
    cost = annotations.get(DELETION_COST)
    if cost is not None and not _is_int32(cost):
        yield meta.invalid(f"{path}[{DELETION_COST}]", cost, "must be a 32bit integer")
    for key, value in annotations.items():
        if key == SECCOMP_POD or key.startswith(SECCOMP_CONTAINER):
            yield from _seccomp(value, f"{path}.{key}")
    for key, value in annotations.items():
        if key.startswith(APP_ARMOR):
            yield from _app_armor(key.removeprefix(APP_ARMOR), value, spec, f"{path}[{key}]")


def validate_annotation_changes(new: Annotations, old: Annotations, path: str) -> Iterator[FieldError]:
    """What says how a pod was made or is confined stays as it was."""
    for key, value in old.items():
        if new.get(key) != value and (key == MIRROR or key.startswith(APP_ARMOR)):
            called = "mirror pod annotation" if key == MIRROR else "AppArmor annotations"
            yield meta.forbidden(f"{path}[{key}]", f"may not remove or update {called}")
    for key in new:
        if key not in old and (key == MIRROR or key.startswith(APP_ARMOR)):
            called = "mirror pod annotation" if key == MIRROR else "AppArmor annotations"
            yield meta.forbidden(f"{path}[{key}]", f"may not add {called}")


def profiles_match(annotations: Annotations, spec: Object, path: str) -> Iterator[FieldError]:
    """A profile that is both in an annotation and in its field must be the same."""
    if not annotations:
        return
    profile = (spec.get("securityContext") or {}).get("seccompProfile")
    if profile is not None and SECCOMP_POD in annotations:
        where = f"{path}.securityContext.seccompProfile"
        yield from _match(annotations[SECCOMP_POD], profile, _SECCOMP, "seccomp", where)
    for at, container in containers(spec, path):
        profile = (container.get("securityContext") or {}).get("seccompProfile")
        annotation = annotations.get(SECCOMP_CONTAINER + (container.get("name") or ""))
        if profile is not None and annotation is not None:
            yield from _match(annotation, profile, _SECCOMP, "seccomp", f"{at}.securityContext.seccompProfile")
    if (spec.get("os") or {}).get("name") == "windows":
        return
    of_pod = (spec.get("securityContext") or {}).get("appArmorProfile")
    for at, container in containers(spec, path):
        profile = (container.get("securityContext") or {}).get("appArmorProfile") or of_pod
        annotation = annotations.get(APP_ARMOR + (container.get("name") or ""))
        if profile is not None and annotation is not None:
            yield from _match(annotation, profile, _APP_ARMOR, "apparmor", f"{at}.securityContext.appArmorProfile")


def _match(
    annotation: str, profile: Object, words: Mapping[str, tuple[str, ...]], called: str, path: str
) -> Iterator[FieldError]:
    kind = profile.get("type") or ""
    if kind == "Localhost" and annotation.startswith(_LOCALHOST):
        if annotation.removeprefix(_LOCALHOST) != profile.get("localhostProfile"):
            yield meta.forbidden(f"{path}.localhostProfile", f"{called} profile in annotation and field must match")
    elif kind == "Localhost" or (kind in words and annotation not in words[kind]):
        yield meta.forbidden(f"{path}.type", f"{called} type in annotation and field must match")


def _is_int32(text: str) -> bool:
    return bool(_cost_re.match(text)) and len(text) <= 11 and -(2**31) <= int(text) < 2**31


def _seccomp(profile: str, path: str) -> Iterator[FieldError]:
    if profile.startswith(_LOCALHOST):
        yield from descending_path(profile.removeprefix(_LOCALHOST), path)
    elif profile not in ("unconfined", "runtime/default", "docker/default"):
        yield meta.invalid(path, profile, "must be a valid seccomp profile")


def _app_armor(container: str, profile: str, spec: Object, path: str) -> Iterator[FieldError]:
    if all(one.get("name") != container for _, one in containers(spec, "")):
        yield meta.invalid(path, container, "container not found")
    if profile not in ("", "runtime/default", "unconfined") and not profile.startswith(_LOCALHOST):
        yield meta.invalid(path, profile, f"invalid AppArmor profile name: {meta.quoted(profile)}")
