"""The Service `kubernetes` in the namespace `default`: where clients within the cluster find the API server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from podstead.client.base import Client, Object
from podstead.client.informer import Informer
from podstead.controllers.base import WorkQueue
from podstead.objects.errors import StatusError

NAMESPACE, NAME = "default", "kubernetes"
_RESOURCES = ("services", "endpoints", "endpointslices.discovery.k8s.io")
_RACES = ("AlreadyExists", "Conflict", "NotFound", "Forbidden")
"""Somebody else was first, or the namespace is not there yet: the watch brings the key again."""


class MasterService:
    """Keeps the Service, its Endpoints and its EndpointSlice as they should be, and makes them again.

    `host` (an IPv4 address) and `port` are where pods reach the API server. The addresses of Service and endpoint are
    the same one, so that the Service holds without anything that translates addresses.
    https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
    """

    def __init__(self, client: Client, host: str, port: int) -> None:
        self._client = client
        self._wanted: dict[str, Object] = dict(zip(_RESOURCES, _objects(host, port), strict=True))
        self._queue = WorkQueue("master service", self._work)
        self._informers = {
            resource: Informer(client, resource, NAMESPACE, field_selector=f"metadata.name={NAME}")
            for resource in _RESOURCES
        }
        for resource, informer in self._informers.items():
            informer.on_update = lambda _old, _new, key=resource: self._queue.add(key)
            informer.on_delete = lambda _last, key=resource: self._queue.add(key)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for informer in self._informers.values():
                group.create_task(informer.run())
            for resource, informer in self._informers.items():
                await informer.synced.wait()
                self._queue.add(resource)
            group.create_task(self._queue.run())

    async def _work(self, resource: str) -> None:
        wanted = self._wanted[resource]
        present = self._informers[resource].store.get(f"{NAMESPACE}/{NAME}")
        try:
            if present is None:
                await self._client.create(resource, wanted, NAMESPACE)
            elif resource == "services" and present["spec"].get("clusterIP") != wanted["spec"]["clusterIP"]:
                # An address cannot be changed; the watch tells of the end, and the next one is made.
                await self._client.delete(resource, NAME, NAMESPACE)
            elif not _holds(present, wanted):
                await self._client.update(resource, _with(present, wanted))
        except StatusError as error:
            if error.reason not in _RACES:
                raise


def _objects(host: str, port: int) -> tuple[Object, Object, Object]:
    """Return the Service, the Endpoints and the EndpointSlice."""
    meta = {"name": NAME, "namespace": NAMESPACE}
    end = {"name": "https", "port": port, "protocol": "TCP"}
    service = {
        "metadata": {**meta, "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": host,
            "clusterIPs": [host],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
            "ports": [{**end, "targetPort": port}],
        },
    }
    endpoints = {
        # Else whoever mirrors Endpoints would make a second slice (KEP-1412).
        "metadata": {**meta, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": host}], "ports": [end]}],
    }
    endpoint_slice = {
        "metadata": {**meta, "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
        "ports": [end],
    }
    return (
        {"apiVersion": "v1", "kind": "Service", **service},
        {"apiVersion": "v1", "kind": "Endpoints", **endpoints},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", **endpoint_slice},
    )


def _holds(present: Any, wanted: Any) -> bool:
    """Tell whether `present` says all that `wanted` does; its mappings may say more."""
    if isinstance(wanted, Mapping):
        return isinstance(present, Mapping) and all(_holds(present.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(present, list) and len(present) == len(wanted) and all(map(_holds, present, wanted))
    return bool(present == wanted)


def _with(present: Object, wanted: Object) -> Object:
    """Return `present` with what `wanted` says: labels are added to, a spec field by field, lists are replaced."""
    merged = dict(present)
    for key, value in wanted.items():
        before = merged.get(key)
        merged[key] = _with(before, value) if isinstance(value, dict) and isinstance(before, dict) else value
    return merged
