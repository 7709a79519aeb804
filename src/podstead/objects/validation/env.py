"""Validation of a container's environment, and of what the downward API can give."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.quantity import Quantity
from podstead.objects.validation.common import each, local_path

Object = Mapping[str, Any]

ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
# Labels that the downward API knows in any place; where one may be used is a second question.
_KNOWN_FIELDS = {
    *ENV_FIELDS,
    *VOLUME_FIELDS,
    "spec.host",
    "spec.restartPolicy",
    "spec.schedulerName",
    "status.phase",
}
RESOURCES = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_CPU_DIVISORS = ("1m", "1")
_DIVISORS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_DIVISOR_NAMES = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}

_ENV_NAME = re.compile(r"[ -<>-~]*\Z")
_ENV_TEXT = "a valid environment variable name must consist only of printable ASCII characters other than '='"
_SUBSCRIPT = re.compile(r"(?P<path>[^\[]*)\['(?P<key>.*)'\]\Z", re.DOTALL)
_FILE_KEY_LENGTH = 128

_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_SOURCE_TEXT = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
_TOO_MANY = "may not have more than one field specified at a time"


def validate_env(variables: Sequence[Object], path: str) -> Iterator[FieldError]:
    for index, variable in enumerate(variables):
        at, name = f"{path}[{index}]", variable.get("name") or ""
        if not name:
            yield meta.required(f"{at}.name")
        elif not _ENV_NAME.match(name):
            yield meta.invalid(f"{at}.name", name, _ENV_TEXT)
        if variable.get("valueFrom") is not None:
            yield from _value_from(variable, f"{at}.valueFrom")


def validate_env_from(sources: Sequence[Object], path: str) -> Iterator[FieldError]:
    for index, source in enumerate(sources):
        at, prefix = f"{path}[{index}]", source.get("prefix") or ""
        if not _ENV_NAME.match(prefix):
            yield meta.invalid(f"{at}.prefix", prefix, _ENV_TEXT)
        given = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
        for name in given:
            target = source[name].get("name") or ""
            where = f"{at}.{name}.name"
            # A name here is held to the rule for prefixes: one trailing hyphen passes.
            yield from each(where, target, meta.subdomain_name(target, True)) if target else (meta.required(where),)
        # The list is named, not the entry.
        if not given:
            yield meta.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(given) > 1:
            yield meta.invalid(path, "", _TOO_MANY)


def _value_from(variable: Object, path: str) -> Iterator[FieldError]:
    source = variable["valueFrom"]
    given = [name for name in _SOURCES if source.get(name) is not None]
    for name in given:
        part, at = source[name], f"{path}.{name}"
        if name == "fieldRef":
            yield from field_ref(part, ENV_FIELDS, at)
        elif name == "resourceFieldRef":
            yield from resource_field_ref(part, at, in_volume=False)
        elif name == "fileKeyRef":
            yield from _file_key(part, at)
        else:
            yield from _key_ref(part, at)
    if not given:
        yield meta.invalid(path, "", _SOURCE_TEXT)
    elif variable.get("value"):
        yield meta.invalid(path, "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        yield meta.invalid(path, "", _TOO_MANY)


def _key_ref(reference: Object, path: str) -> Iterator[FieldError]:
    name, key = reference.get("name") or "", reference.get("key") or ""
    yield from each(f"{path}.name", name, meta.dns_subdomain_problems(name))
    yield from each(f"{path}.key", key, meta.data_key_problems(key)) if key else (meta.required(f"{path}.key"),)


def _file_key(reference: Object, path: str) -> Iterator[FieldError]:
    """A variable of a file in a volume (KEP-3721)."""
    key, target = reference.get("key") or "", reference.get("path") or ""
    if not key:
        yield meta.required(f"{path}.key")
    elif not _ENV_NAME.match(key):
        yield meta.invalid(f"{path}.key", key, _ENV_TEXT)
    if len(key.encode()) > _FILE_KEY_LENGTH:
        yield meta.longer_than(f"{path}.key", _FILE_KEY_LENGTH)
    if not reference.get("volumeName"):
        yield meta.required(f"{path}.volumeName")
    yield from local_path(target, f"{path}.path") if target else (meta.required(f"{path}.path"),)


def field_ref(reference: Object, supported: Sequence[str], path: str) -> Iterator[FieldError]:
    """A field of the pod; `supported` are those that have no subscript."""
    version, label = reference.get("apiVersion") or "", reference.get("fieldPath") or ""
    if not version or not label:
        yield meta.required(f"{path}.fieldPath" if version else f"{path}.apiVersion")
        return
    subscripted = _SUBSCRIPT.match(label)
    problem = _unknown_field(version, label, subscripted)
    if problem:
        yield meta.invalid(f"{path}.fieldPath", label, f"error converting fieldPath: {problem}")
    elif subscripted:
        key = subscripted["key"]
        key = key.lower() if subscripted["path"] == "metadata.annotations" else key
        yield from each(path, key, meta.label_key_problems(key))
    else:
        label = "spec.nodeName" if label == "spec.host" else label
        if label not in supported:
            yield meta.unsupported(f"{path}.fieldPath", label, supported)


def _unknown_field(version: str, label: str, subscripted: re.Match[str] | None) -> str:
    if version != "v1":
        return f"unsupported pod version: {version}"
    if subscripted:
        known = subscripted["path"] in ("metadata.annotations", "metadata.labels")
        return "" if known else f"field label does not support subscript: {label}"
    return "" if label in _KNOWN_FIELDS else f"field label not supported: {label}"


def resource_field_ref(reference: Object, path: str, in_volume: bool) -> Iterator[FieldError]:
    """A container's request or limit; a volume has to say whose."""
    name = reference.get("resource") or ""
    if in_volume and not reference.get("containerName"):
        yield meta.required(f"{path}.containerName")
    elif not name:
        yield meta.required(f"{path}.resource")
    elif name not in RESOURCES and not name.startswith(_HUGE_PAGES):
        yield meta.unsupported(f"{path}.resource", name, RESOURCES)
    yield from _divisor(reference, name, f"{path}.divisor")


def _divisor(reference: Object, name: str, path: str) -> Iterator[FieldError]:
    divisor = Quantity.parse(reference.get("divisor") or "0")
    if not divisor:
        return
    text, kind = divisor.canonical(), name.partition(".")[2]
    if name in ("limits.cpu", "requests.cpu"):
        if text not in _CPU_DIVISORS:
            yield meta.invalid(path, name, "only divisor's values 1m and 1 are supported with the cpu resource")
        return
    called = "hugepages" if name.startswith(_HUGE_PAGES) else _DIVISOR_NAMES.get(kind) if name in RESOURCES else None
    if called and text not in _DIVISORS:
        listed = ", ".join(_DIVISORS)
        yield meta.invalid(path, name, f"only divisor's values {listed} are supported with the {called} resource")
