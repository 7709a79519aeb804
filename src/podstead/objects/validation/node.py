"""Validation of nodes."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation import objectmeta
from podstead.objects.validation.resources import validate_node_resources
from podstead.objects.validation.status import validate_keys

Object = Mapping[str, Any]

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
# What an update of a node may change, besides its status.
_MUTABLE = {"taints", "unschedulable", "podCIDR", "podCIDRs", "providerID"}


def validate(node: Object) -> list[FieldError]:
    spec = node.get("spec") or {}
    return [
        *objectmeta.validate(node, namespaced=False),
        *validate_taints(spec.get("taints") or (), "metadata.taints"),
        *_status(node.get("status") or {}),
        *_pod_cidrs(spec),
    ]


def validate_update(new: Object, old: Object) -> list[FieldError]:
    """Also of the status: the API server has one rule for both."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    errors = [
        *objectmeta.validate_update(new, old),
        *_status(new.get("status") or {}),
        *validate_taints(spec.get("taints") or (), "metadata.taints"),
    ]
    # Written once, by whoever gives out the ranges and by the cloud: from nothing to something.
    for name, called in (("podCIDRs", "podCIDR"), ("providerID", "providerID")):
        if before.get(name) and before[name] != spec.get(name):
            detail = f'node updates may not change {called} except from "" to valid'
            errors.append(meta.forbidden(f"spec.{name}", detail))
    if not before.get("podCIDRs"):
        errors += _pod_cidrs(spec)
    if {k: v for k, v in spec.items() if k not in _MUTABLE} != {k: v for k, v in before.items() if k not in _MUTABLE}:
        detail = (
            "node updates may only change labels, taints, or capacity "
            "(or configSource, if the DynamicKubeletConfig feature gate is enabled)"
        )
        errors.append(meta.forbidden("[]", detail))
    return errors


def _status(status: Object) -> Iterator[FieldError]:
    yield from validate_keys(status)
    yield from validate_node_resources(status.get("capacity") or {}, "status.capacity")
    yield from validate_node_resources(status.get("allocatable") or {}, "status.allocatable")
    seen: list[Object] = []
    for index, address in enumerate(status.get("addresses") or ()):
        if address in seen:
            yield meta.duplicate(f"status.addresses[{index}]", address)
        seen.append(address)


def _pod_cidrs(spec: Object) -> Iterator[FieldError]:
    ranges = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    for index, text in enumerate(ranges):
        try:
            ipaddress.ip_network(text)
        except ValueError:
            detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            yield meta.invalid(f"spec.podCIDRs[{index}]", text, detail)


def validate_taints(taints: Sequence[Object], path: str) -> Iterator[FieldError]:
    unique: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        at = f"{path}[{index}]"
        key, value, effect = (taint.get(name) or "" for name in ("key", "value", "effect"))
        yield from (meta.invalid(f"{at}.key", key, problem) for problem in meta.label_key_problems(key))
        problems = meta.label_value_problems(value)
        if problems:
            yield meta.invalid(f"{at}.value", value, ";".join(problems))
        if not effect:
            yield meta.required(f"{at}.effect")
        elif effect not in TAINT_EFFECTS:
            yield meta.unsupported(f"{at}.effect", effect, TAINT_EFFECTS)
        if (key, effect) in unique:
            found = meta.duplicate(at, dict(taint))
            yield FieldError(at, found.kind, f"{found.text}: taints must be unique by key and effect pair")
        unique.add((key, effect))
