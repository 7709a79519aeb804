"""The Node object: made at start, its conditions kept fresh."""

from __future__ import annotations

import asyncio
from typing import Any

from podstead import clock
from podstead.client.base import Client, Object
from podstead.node import info
from podstead.node.runtime.base import Runtime
from podstead.objects.errors import StatusError
from podstead.paths import Paths

HEARTBEAT = 300.0
"""Seconds between reports of an unchanged status (the kubelet's nodeStatusReportFrequency)."""

_PRESSURES = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


class Registration:
    """Keeps this node's object in the API: `register` once, `run` as a task, `update` when `ready` has changed."""

    def __init__(self, client: Client, paths: Paths, name: str, host_ip: str, runtime: Runtime) -> None:
        self._client = client
        self._paths = paths
        self._name = name
        self._host_ip = host_ip
        self._runtime = runtime
        self.problem: str | None = None
        """Why the node is not ready; None when it is."""

    async def register(self) -> None:
        """Create the node, or bring an existing one up to date; labels and taints that users gave it are kept."""
        node: Object = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self._name, "labels": info.labels(self._name)},
            "spec": {},
            "status": self._status({}),
        }
        try:
            await self._client.create("nodes", node)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
            await self._client.patch("nodes", self._name, "", {"metadata": {"labels": info.labels(self._name)}})
        await self.update()

    async def update(self) -> None:
        """Write the status."""
        node = await self._client.get("nodes", self._name)
        status = self._status(node.get("status") or {})
        await self._client.patch("nodes", self._name, "", {"status": status}, subresource="status")

    async def run(self) -> None:
        """Write the status every HEARTBEAT seconds."""
        while True:
            await asyncio.sleep(HEARTBEAT)
            await self.update()

    def _status(self, old: Object) -> dict[str, Any]:
        capacity = info.capacity(self._paths.data)
        return {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": info.addresses(self._name, self._host_ip),
            "nodeInfo": info.system_info(f"{self._runtime.name}://{self._runtime.version}"),
            "conditions": self._conditions(old),
        }

    def _conditions(self, old: Object) -> list[dict[str, Any]]:
        before = {condition["type"]: condition for condition in old.get("conditions") or ()}
        wanted = [(kind, "False", reason, message) for kind, reason, message in _PRESSURES]
        if self.problem is None:
            wanted.append(("Ready", "True", "KubeletReady", "kubelet is posting ready status"))
        else:
            wanted.append(("Ready", "False", "KubeletNotReady", self.problem))
        now = clock.rfc3339()
        conditions = []
        for kind, status, reason, message in wanted:
            same = kind in before and before[kind]["status"] == status
            conditions.append(
                {
                    "type": kind,
                    "status": status,
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": before[kind]["lastTransitionTime"] if same else now,
                    "reason": reason,
                    "message": message,
                }
            )
        return conditions
