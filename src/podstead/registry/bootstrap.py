"""What a cluster has from its first moment, made where it is missing: the system namespaces and priority classes."""

from __future__ import annotations

from podstead.objects.errors import StatusError
from podstead.registry.admission.priority import CLASSES, SYSTEM_CLASSES
from podstead.registry.client import RegistryClient

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


async def make_system_objects(client: RegistryClient) -> None:
    """Create what is missing; what is there stays as it is."""
    for name in SYSTEM_NAMESPACES:
        await _create(client, "namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    for name, (value, description) in SYSTEM_CLASSES.items():
        priority = {"metadata": {"name": name}, "value": value, "description": description}
        await _create(client, CLASSES, {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", **priority})


async def _create(client: RegistryClient, resource: str, obj: dict[str, object]) -> None:
    try:
        await client.create(resource, obj)
    except StatusError as error:
        if error.reason != "AlreadyExists":
            raise
