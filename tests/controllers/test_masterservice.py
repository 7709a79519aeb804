"""The Service kubernetes is there, tells where the API server is, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from podstead.controllers.masterservice import MasterService
from podstead.registry.registry import Registry
from support.registry import ADMIN

RESOURCES = ("services", "endpoints", "endpointslices.discovery.k8s.io")


async def _seen(client: Any, resource: str, holds: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
    async with asyncio.timeout(10):
        async for event in client.watch(resource, "default", resource_version="0"):
            if event.type in ("ADDED", "MODIFIED") and holds(event.object):
                return dict(event.object)
    raise AssertionError


async def test_it_says_where_the_api_is_and_comes_back(registry: Registry) -> None:
    client: Any = registry.client(ADMIN)
    task = asyncio.create_task(MasterService(client, "10.42.0.1", 6443).run())
    try:
        service, endpoints, endpoint_slice = [await _seen(client, resource) for resource in RESOURCES]
        assert service["spec"]["clusterIP"] == "10.42.0.1" and service["spec"]["type"] == "ClusterIP"
        assert service["spec"]["ports"] == [{"name": "https", "port": 6443, "protocol": "TCP", "targetPort": 6443}]
        assert endpoints["subsets"][0]["addresses"] == [{"ip": "10.42.0.1"}]
        assert endpoint_slice["endpoints"][0]["addresses"] == ["10.42.0.1"]
        assert endpoint_slice["metadata"]["labels"]["kubernetes.io/service-name"] == "kubernetes"
        for resource, first in zip(RESOURCES, (service, endpoints, endpoint_slice), strict=True):
            await client.delete(resource, "kubernetes", "default")
            uid = first["metadata"]["uid"]
            await _seen(client, resource, lambda obj, uid=uid: obj["metadata"]["uid"] != uid)
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_another_address_and_port_are_taken_over(registry: Registry) -> None:
    client: Any = registry.client(ADMIN)
    for host, port in (("10.42.0.1", 6443), ("10.42.0.1", 7443), ("10.43.0.1", 7443)):
        task = asyncio.create_task(MasterService(client, host, port).run())
        try:
            await _seen(
                client,
                "services",
                lambda obj, at=(host, port): at == (obj["spec"]["clusterIP"], obj["spec"]["ports"][0]["port"]),
            )
            await _seen(
                client, "endpointslices.discovery.k8s.io", lambda obj, port=port: obj["ports"][0]["port"] == port
            )
        finally:
            task.cancel()
            await asyncio.wait([task])
