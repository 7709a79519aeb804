"""Validation of API services: who answers for a version of a group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import each, needs

Object = Mapping[str, Any]
_MAX_GROUP_PRIORITY, _MAX_VERSION_PRIORITY = 20_000, 1_000


def validate(service: Object) -> Iterator[FieldError]:
    spec, name = service.get("spec") or {}, (service.get("metadata") or {}).get("name") or ""
    group, version = spec.get("group") or "", spec.get("version") or ""
    if name and name != f"{version}.{group}":
        detail = f'must be `spec.version+"."+spec.group`: {meta.quoted(f"{version}.{group}")}'
        yield meta.invalid("metadata.name", name, detail)
    if group:
        yield from each("spec.group", group, meta.dns_subdomain_problems(group))
    elif version != "v1":
        yield meta.required("spec.group", "only v1 may have an empty group and it better be legacy kube")
    yield from each("spec.version", version, meta.dns_1035_label_problems(version))
    for field, limit in (("groupPriorityMinimum", _MAX_GROUP_PRIORITY), ("versionPriority", _MAX_VERSION_PRIORITY)):
        value = spec.get(field) or 0
        if not 0 < value <= limit:
            yield meta.invalid(f"spec.{field}", value, f"must be positive and less than {limit}")
    yield from _transport(spec)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)


def _transport(spec: Object) -> Iterator[FieldError]:
    service, bundle, insecure = spec.get("service"), spec.get("caBundle") or "", spec.get("insecureSkipTLSVerify")
    if service is None:
        if bundle:
            size = len(bundle) * 3 // 4 - bundle[-2:].count("=")
            yield meta.invalid("spec.caBundle", f"{size} bytes", "local APIServices may not have a caBundle")
        if insecure:
            detail = "local APIServices may not have insecureSkipTLSVerify"
            yield meta.invalid("spec.insecureSkipTLSVerify", insecure, detail)
        return
    yield from needs(service, "spec.service", "namespace", "name")
    port = service.get("port")
    if port is not None and not 1 <= port <= 65535:
        yield meta.invalid("spec.service.port", port, f"port is not valid: {meta.in_range(1, 65535)}")
    if insecure and bundle:
        yield meta.invalid("spec.insecureSkipTLSVerify", insecure, "may not be true if caBundle is present")
