"""Validation of services (https://kubernetes.io/docs/concepts/services-networking/service/)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import each, ip_errors, one_of, port, port_number

Object = Mapping[str, Any]
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_AFFINITIES = ("ClientIP", "None")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_TRAFFIC = ("Cluster", "Local")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_MAX_AFFINITY = 86_400
"""Seconds that a client may stay with a pod: a day."""


def validate(service: Object) -> Iterator[FieldError]:
    spec = service.get("spec") or {}
    kind, ports = spec.get("type") or "", spec.get("ports") or ()
    headless = spec.get("clusterIP") == "None"
    if not ports and not headless and kind != "ExternalName":
        yield meta.required("spec.ports")
    if kind in ("LoadBalancer", "NodePort") and headless:
        yield meta.invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    if kind == "ExternalName":
        yield from _external_name(spec)
    yield from _ports(ports, kind)
    yield from meta.validate_labels(spec.get("selector") or {}, "spec.selector")
    yield from _affinity(spec)
    yield from one_of(kind, _TYPES, "spec.type")
    for index, address in enumerate(spec.get("externalIPs") or ()):
        yield from ip_errors(f"spec.externalIPs[{index}]", address)
    addresses = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else ())
    for index, address in enumerate(addresses):
        if address != "None":
            yield from ip_errors(f"spec.clusterIPs[{index}]", address)
    yield from _traffic(spec, kind)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    given = before.get("clusterIP")
    kept = "ExternalName" not in (spec.get("type"), before.get("type"))
    if given and kept and spec.get("clusterIP") != given:
        yield meta.invalid("spec.clusterIPs[0]", [spec.get("clusterIP") or ""], "may not change once set")
    yield from validate(new)


def _external_name(spec: Object) -> Iterator[FieldError]:
    name = (spec.get("externalName") or "").removesuffix(".")
    if name:
        yield from each("spec.externalName", spec["externalName"], meta.dns_subdomain_problems(name))
    else:
        yield meta.required("spec.externalName")
    for field in ("clusterIPs", "clusterIP"):
        if spec.get(field):
            yield meta.forbidden("spec.clusterIPs", "may not be set for ExternalName services")
            return


def _ports(ports: Any, kind: str) -> Iterator[FieldError]:
    names: set[str] = set()
    taken: set[tuple[str, int]] = set()
    for index, one in enumerate(ports):
        path, name, protocol = f"spec.ports[{index}]", one.get("name") or "", one.get("protocol") or ""
        if name:
            yield from each(f"{path}.name", name, meta.dns_label_problems(name))
            if name in names:
                yield meta.duplicate(f"{path}.name", name)
            names.add(name)
        elif len(ports) > 1:
            yield meta.required(f"{path}.name")
        yield from port_number(one.get("port") or 0, f"{path}.port")
        yield from one_of(protocol, _PROTOCOLS, f"{path}.protocol")
        yield from port(one.get("targetPort", 0), f"{path}.targetPort")
        if one.get("nodePort") and kind in ("ClusterIP", "ExternalName"):
            yield meta.forbidden(f"{path}.nodePort", f"may not be used when `type` is '{kind}'")
        key = (protocol, one.get("port") or 0)
        if key in taken:
            yield meta.duplicate(path, {"port": key[1], "protocol": protocol})
        taken.add(key)


def _affinity(spec: Object) -> Iterator[FieldError]:
    affinity = spec.get("sessionAffinity") or ""
    yield from one_of(affinity, _AFFINITIES, "spec.sessionAffinity")
    if affinity == "ClientIP":
        seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds") or 0
        if not 1 <= seconds <= _MAX_AFFINITY:
            path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
            yield meta.invalid(path, seconds, f"must be greater than 0 and less than {_MAX_AFFINITY}")


def _traffic(spec: Object, kind: str) -> Iterator[FieldError]:
    outside = kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and spec.get("externalIPs"))
    external, internal = spec.get("externalTrafficPolicy"), spec.get("internalTrafficPolicy")
    if external and not outside:
        detail = "may only be set for externally-accessible services"
        yield meta.invalid("spec.externalTrafficPolicy", external, detail)
    elif external and external not in _TRAFFIC:
        yield meta.unsupported("spec.externalTrafficPolicy", external, _TRAFFIC)
    if internal is not None and internal not in _TRAFFIC:
        yield meta.unsupported("spec.internalTrafficPolicy", internal, _TRAFFIC)
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _FAMILY_POLICIES:
        yield meta.unsupported("spec.ipFamilyPolicy", policy, _FAMILY_POLICIES)
