"""What a cluster has from its first moment, made where it is missing.

The system namespaces and priority classes, and an APIService for each version of a group that this server answers for.
"""

from __future__ import annotations

import asyncio
from typing import Any

from podstead.objects.errors import StatusError
from podstead.objects.kinds import DISCOVERED
from podstead.registry.admission.priority import CLASSES, SYSTEM_CLASSES
from podstead.registry.client import RegistryClient

_API_SERVICES = "apiservices.apiregistration.k8s.io"
_MANAGED = {"kube-aggregator.kubernetes.io/automanaged": "onstart"}
_GROUP_PRIORITIES = {
    "": 18000,
    "apps": 17800,
    "events.k8s.io": 17750,
    "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600,
    "autoscaling": 17500,
    "batch": 17400,
    "certificates.k8s.io": 17300,
    "networking.k8s.io": 17200,
    "policy": 17100,
    "rbac.authorization.k8s.io": 17000,
    "storage.k8s.io": 16800,
    "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700,
    "scheduling.k8s.io": 16600,
    "coordination.k8s.io": 16500,
    "node.k8s.io": 16300,
    "discovery.k8s.io": 16200,
    "flowcontrol.apiserver.k8s.io": 16100,
    "resource.k8s.io": 15900,
    "storagemigration.k8s.io": 15800,
}
"""kube-apiserver's own (its aggregator's table); apiregistration.k8s.io answers for itself."""
_VERSION_PRIORITY = 15
_VERSION_PRIORITIES = {("", "v1"): 1, ("autoscaling", "v2"): 30, ("flowcontrol.apiserver.k8s.io", "v1"): 21}

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


async def make_system_objects(client: RegistryClient) -> None:
    """Create what is missing; what is there stays as it is."""
    for name in SYSTEM_NAMESPACES:
        await _create(client, "namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    for name, (value, description) in SYSTEM_CLASSES.items():
        priority = {"metadata": {"name": name}, "value": value, "description": description}
        await _create(client, CLASSES, {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", **priority})
    await _register_groups(client)


async def _register_groups(client: RegistryClient) -> None:
    """Have an APIService for what is served, and none for what an earlier version served. All in one commit."""
    served = {(info.group, info.version) for info in DISCOVERED if info.group in _GROUP_PRIORITIES}
    wanted = {f"{version}.{group}": _spec(group, version) for group, version in served}
    present = {one["metadata"]["name"]: one for one in (await client.list(_API_SERVICES)).items}
    writes = []
    for name, spec in wanted.items():
        known = present.get(name)
        if known is None:
            metadata = {"name": name, "labels": _MANAGED}
            writes.append(_create(client, _API_SERVICES, {"metadata": metadata, "spec": spec}))
        elif known["spec"] != spec and _is_managed(known):
            writes.append(_update(client, _API_SERVICES, {**known, "spec": spec}))
    gone = [name for name, known in present.items() if _is_managed(known) and name not in wanted]
    await asyncio.gather(*writes, *(client.delete(_API_SERVICES, name) for name in gone))


def _spec(group: str, version: str) -> dict[str, object]:
    spec = {
        "version": version,
        "groupPriorityMinimum": _GROUP_PRIORITIES[group],
        "versionPriority": _VERSION_PRIORITIES.get((group, version), _VERSION_PRIORITY),
    }
    return {"group": group, **spec} if group else spec


def _is_managed(service: dict[str, Any]) -> bool:
    return _MANAGED.items() <= (service["metadata"].get("labels") or {}).items()


async def _update(client: RegistryClient, resource: str, obj: dict[str, Any]) -> None:
    await client.update(resource, obj)


async def _create(client: RegistryClient, resource: str, obj: dict[str, object]) -> None:
    try:
        await client.create(resource, obj)
    except StatusError as error:
        if error.reason != "AlreadyExists":
            raise
