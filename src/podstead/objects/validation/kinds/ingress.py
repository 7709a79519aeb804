"""Validation of ingresses (https://kubernetes.io/docs/concepts/services-networking/ingress/)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import each, is_ip, port_name_problems, port_number

Object = Mapping[str, Any]
_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_PARTS = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDS = ("/..", "/.")


def validate(ingress: Object) -> Iterator[FieldError]:
    spec = ingress.get("spec") or {}
    if not spec.get("rules") and spec.get("defaultBackend") is None:
        yield meta.invalid("spec", dict(spec), "either `defaultBackend` or `rules` must be specified")
    if spec.get("defaultBackend") is not None:
        yield from _backend(spec["defaultBackend"], "spec.defaultBackend")
    for index, rule in enumerate(spec.get("rules") or ()):
        yield from _rule(rule, f"spec.rules[{index}]")
    for index, entry in enumerate(spec.get("tls") or ()):
        for position, host in enumerate(entry.get("hosts") or ()):
            yield from _host(host, f"spec.tls[{index}].hosts[{position}]")
    name = spec.get("ingressClassName")
    if name is not None:
        yield from each("spec.ingressClassName", name, meta.dns_subdomain_problems(name))


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)


def _host(host: str, path: str) -> Iterator[FieldError]:
    if is_ip(host):
        yield meta.invalid(path, host, "must be a DNS name, not an IP address")
    else:
        name = host.removeprefix("*.")
        yield from each(path, host, meta.dns_subdomain_problems(name))


def _rule(rule: Object, path: str) -> Iterator[FieldError]:
    if rule.get("host"):
        yield from _host(rule["host"], f"{path}.host")
    http = rule.get("http")
    if http is None:
        return
    if not http.get("paths"):
        yield meta.required(f"{path}.http.paths")
    for index, one in enumerate(http.get("paths") or ()):
        yield from _path(one, f"{path}.http.paths[{index}]")


def _path(one: Object, path: str) -> Iterator[FieldError]:
    kind, where = one.get("pathType"), one.get("path") or ""
    if kind is None:
        yield meta.required(f"{path}.pathType", "pathType must be specified")
    elif kind not in _TYPES:
        yield meta.unsupported(f"{path}.pathType", kind, _TYPES)
    elif kind == "ImplementationSpecific":
        if where and not where.startswith("/"):
            yield meta.invalid(f"{path}.path", where, "must be an absolute path")
    elif not where.startswith("/"):
        yield meta.invalid(f"{path}.path", where, "must be an absolute path")
    else:
        for part in _BAD_PARTS:
            if part in where:
                yield meta.invalid(f"{path}.path", where, f"must not contain '{part}'")
        for end in _BAD_ENDS:
            if where.endswith(end):
                yield meta.invalid(f"{path}.path", where, f"cannot end with '{end}'")
    yield from _backend(one.get("backend") or {}, f"{path}.backend")


def _backend(backend: Object, path: str) -> Iterator[FieldError]:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        yield meta.invalid(path, "", "cannot set both resource and service backends")
    elif resource is not None:
        for field in ("kind", "name"):
            if not resource.get(field):
                yield meta.required(f"{path}.resource.{field}")
    elif service is None:
        yield meta.required(path, "must specify a backend: service or resource")
    else:
        yield from _service(service, f"{path}.service")


def _service(service: Object, path: str) -> Iterator[FieldError]:
    name, port = service.get("name") or "", service.get("port") or {}
    if name:
        yield from each(f"{path}.name", name, meta.dns_1035_label_problems(name))
    else:
        yield meta.required(f"{path}.name")
    named, number = port.get("name") or "", port.get("number") or 0
    if named and number:
        yield meta.invalid(path, "", "cannot set both port name & port number")
    elif named:
        yield from each(f"{path}.port.name", named, port_name_problems(named))
    elif number:
        yield from port_number(number, f"{path}.port.number")
    else:
        yield meta.required(path, "port name or number is required")
