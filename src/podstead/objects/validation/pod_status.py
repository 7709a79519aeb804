"""Validation of a pod's status: addresses, conditions, and that what has ended for good stays so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation import objectmeta
from podstead.objects.validation.common import each, ids, ip_errors, is_ip, label_key, one_id
from podstead.objects.validation.pod_update import annotation_errors
from podstead.objects.validation.status import validate_keys

Object = Mapping[str, Any]

_LISTS = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized")
_HEALTH = ("Healthy", "Unhealthy", "Unknown")


def validate_status_update(new: Object, old: Object) -> list[FieldError]:
    """An update of pods/status."""
    status, before = new.get("status") or {}, old.get("status") or {}
    spec, spec_before = new.get("spec") or {}, old.get("spec") or {}
    errors = [*objectmeta.validate_update(new, old), *annotation_errors(new, old)]
    # Conditions are named as if they were the metadata's.
    for index, condition in enumerate(status.get("conditions") or ()):
        if condition.get("type") not in _SYSTEM_CONDITIONS:
            errors += label_key(condition.get("type") or "", f"metadata.conditions[{index}].Type")
    if (spec.get("nodeName") or "") != (spec_before.get("nodeName") or ""):
        errors.append(meta.forbidden("status.nodeName", "may not be changed directly"))
    nominated = status.get("nominatedNodeName") or ""
    if nominated and nominated != before.get("nominatedNodeName"):
        errors += each("status.nominatedNodeName", nominated, meta.dns_subdomain_problems(nominated))
    if (status.get("qosClass") or "") != (before.get("qosClass") or ""):
        errors.append(meta.invalid("status.qosClass", status.get("qosClass") or "", meta.IMMUTABLE))
    errors += _transitions(status, before, spec_before)
    errors += _claim_statuses(status.get("resourceClaimStatuses") or (), spec)
    errors += _addresses(status, "podIPs")
    errors += _addresses(status, "hostIPs")
    for name in _LISTS:
        errors += _users(status.get(name) or (), spec.get("os"), f"status.{name}")
    errors += _allocated(status, spec)
    return [*errors, *validate_keys(status)]


def _transitions(status: Object, before: Object, spec: Object) -> Iterator[FieldError]:
    """A container that its restart policy does not start again stays terminated."""
    policy = spec.get("restartPolicy") or "Always"
    restartable = {one.get("name") for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"}
    for name in _LISTS:
        # Nobody starts an ephemeral container again.
        applies = "Never" if name == "ephemeralContainerStatuses" else policy
        if applies == "Always":
            continue
        now = {container.get("name"): container for container in status.get(name) or ()}
        for index, container in enumerate(before.get(name) or ()):
            ended = (container.get("state") or {}).get("terminated")
            if ended is None or (ended.get("exitCode") and applies == "OnFailure"):
                continue
            if _restarts_itself(container, ended, spec) or (
                name == "initContainerStatuses" and container.get("name") in restartable
            ):
                continue
            current = now.get(container.get("name"))
            if current is not None and (current.get("state") or {}).get("terminated") is None:
                path = f"status.{name}[{index}].state"
                yield meta.forbidden(path, "may not be transitioned to non-terminated state")


def _restarts_itself(status: Object, ended: Object, spec: Object) -> bool:
    """Whether a policy or a rule of the container's own allows another start (KEP-5307)."""
    for kind in ("containers", "initContainers"):
        for container in spec.get(kind) or ():
            if container.get("name") != status.get("name") or container.get("restartPolicy") is None:
                continue
            policy = container["restartPolicy"]
            return bool(
                policy == "Always"
                or (policy == "OnFailure" and ended.get("exitCode"))
                or container.get("restartPolicyRules")
            )
    return False


def _addresses(status: Object, field: str) -> Iterator[FieldError]:
    """podIPs or hostIPs: one of each family at most."""
    path = f"status.{field}"
    values = [address.get("ip") or "" for address in status.get(field) or ()]
    first = status.get("hostIP") or ""
    if field == "hostIPs" and values and first != values[0]:
        yield meta.invalid(f"{path}[0].ip", values[0], "must be equal to `hostIP`")
    for index, value in enumerate(values):
        yield from ip_errors(f"{path}[{index}]", value)
    if len(values) < 2:
        return
    families = {":" in value for value in values if is_ip(value)}
    shown = [dict(address) for address in status[field]]
    crowded = len(families) != 2 or len(values) > 2
    too_many = [meta.invalid(path, shown, "may specify no more than one IP for each IP family")] if crowded else []
    twice = [meta.duplicate(f"{path}[{i}]", shown[i]) for i, value in enumerate(values) if value in values[:i]]
    yield from [*twice, *too_many] if field == "hostIPs" else [*too_many, *twice]


def _claim_statuses(statuses: Sequence[Object], spec: Object) -> Iterator[FieldError]:
    known = {claim.get("name") for claim in spec.get("resourceClaims") or ()}
    names: set[str] = set()
    for index, status in enumerate(statuses):
        at, name = f"status.resourceClaimStatuses[{index}].name", status.get("name") or ""
        if name not in known:
            yield meta.invalid(at, name, "must match the name of an entry in `spec.resourceClaims`")
        if name in names:
            yield meta.duplicate(at, name)
        names.add(name)
        claim = status.get("resourceClaimName")
        if claim is not None:
            yield from each(at, claim, meta.dns_subdomain_problems(claim))


def _users(statuses: Sequence[Object], os: Object | None, path: str) -> Iterator[FieldError]:
    for index, status in enumerate(statuses):
        user = (status.get("user") or {}).get("linux")
        at = f"{path}[{index}].linux"
        if user is not None and (os or {}).get("name") == "windows":
            yield meta.forbidden(at, "cannot be set for a windows pod")
        elif user is not None:
            yield from ids(user, ("uid", "gid"), at)
            for position, group in enumerate(user.get("supplementalGroups") or ()):
                yield from one_id(group, f"{at}.supplementalGroups[{position}]")


def _allocated(status: Object, spec: Object) -> Iterator[FieldError]:
    """The health of devices, each of a resource that the container asks for (KEP-4680)."""
    for name, kind in (("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")):
        containers = {one.get("name"): one for one in spec.get(kind) or ()}
        for index, container in enumerate(status.get(name) or ()):
            for position, entry in enumerate(container.get("allocatedResourcesStatus") or ()):
                at = f"status.{name}[{index}].allocatedResourcesStatus[{position}]"
                asks = containers.get(container.get("name"))
                if asks is not None:
                    yield from _asked_for(entry.get("name") or "", asks.get("resources") or {}, f"{at}.name")
                yield from _health(entry.get("resources") or (), f"{at}.resources")
    for index, container in enumerate(status.get("ephemeralContainerStatuses") or ()):
        if container.get("allocatedResourcesStatus"):
            path = f"status.ephemeralContainerStatuses[{index}].allocatedResourcesStatus"
            yield meta.forbidden(path, "must not be specified in container status")


def _asked_for(name: str, resources: Object, path: str) -> Iterator[FieldError]:
    claims = {
        f"claim:{claim.get('name') or ''}" + (f"/{claim['request']}" if claim.get("request") else "")
        for claim in resources.get("claims") or ()
    }
    if name.startswith("claim:"):
        if name not in claims:
            detail = (
                "must match one of the container's resource claims in a format "
                "'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty"
            )
            yield meta.invalid(path, name, detail)
    elif name not in (resources.get("requests") or {}):
        yield meta.invalid(path, name, "must match one of the container's resource requests")


def _health(resources: Sequence[Object], path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, resource in enumerate(resources):
        health, identifier = resource.get("health") or "", resource.get("resourceID") or ""
        if health not in _HEALTH:
            yield meta.unsupported(f"{path}[{index}].health", health, _HEALTH)
        if identifier in seen:
            yield meta.duplicate(f"{path}[{index}].resourceID", identifier)
        seen.add(identifier)
