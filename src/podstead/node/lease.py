"""The node's Lease in kube-node-lease: a sign of life that costs one small write every ten seconds.

Sources: Kubernetes documentation, "Nodes", heartbeats; "Leases"; the kubelet's defaults.
"""

from __future__ import annotations

import asyncio
import logging

from podstead import clock
from podstead.client.base import Client, Object
from podstead.objects.errors import StatusError

log = logging.getLogger(__name__)

RESOURCE, NAMESPACE = "leases.coordination.k8s.io", "kube-node-lease"
DURATION = 40
"""Seconds for which one renewal tells that the node lives (leaseDurationSeconds)."""
RENEW = 10.0
"""Seconds between renewals: a quarter of DURATION."""
_FIRST_RETRY, _LAST_RETRY = 0.2, 7.0
"""Seconds until a renewal that failed is tried again; doubled each time."""


class NodeLease:
    """Renewed by `run`; owned by the Node, so that it goes with it, and made again where somebody deleted it."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node
        self._latest: Object | None = None

    async def run(self) -> None:
        """Renew until cancelled."""
        retry = _FIRST_RETRY
        while True:
            try:
                await self.renew()
            except (StatusError, OSError, TimeoutError) as error:
                self._latest = None
                # What is told of once need not be told every seven seconds.
                log.log(logging.WARNING if retry == _FIRST_RETRY else logging.DEBUG, "the node's lease: %s", error)
                await asyncio.sleep(retry)
                retry = min(retry * 2, _LAST_RETRY)
            else:
                retry = _FIRST_RETRY
                await asyncio.sleep(RENEW)

    async def renew(self) -> None:
        """Write renewTime, as an update of what was written last. Raises StatusError."""
        lease = self._latest or await self._present()
        if lease is None:
            self._latest = await self._client.create(RESOURCE, await self._new(), NAMESPACE)
            return
        spec = {
            **lease.get("spec", {}),
            "holderIdentity": self._node,
            "leaseDurationSeconds": DURATION,
            "renewTime": clock.rfc3339_micro(),
        }
        metadata = lease["metadata"]
        if not metadata.get("ownerReferences"):
            metadata = {**metadata, "ownerReferences": await self._owner()}
        self._latest = await self._client.update(RESOURCE, {**lease, "metadata": metadata, "spec": spec})

    async def _present(self) -> Object | None:
        try:
            return await self._client.get(RESOURCE, self._node, NAMESPACE)
        except StatusError as error:
            if error.code != 404:
                raise
            return None

    async def _new(self) -> Object:
        spec = {
            "holderIdentity": self._node,
            "leaseDurationSeconds": DURATION,
            "renewTime": clock.rfc3339_micro(),
        }
        metadata = {"name": self._node, "namespace": NAMESPACE, "ownerReferences": await self._owner()}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    async def _owner(self) -> list[dict[str, str]]:
        node = await self._client.get("nodes", self._node)
        return [{"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": node["metadata"]["uid"]}]
