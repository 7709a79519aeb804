"""The Node object: made at start, its conditions kept fresh, made again where somebody deleted it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from podstead import clock
from podstead.client.base import Client, Object
from podstead.client.events import NORMAL, WARNING, EventRecorder
from podstead.node import info
from podstead.node.runtime.base import Runtime
from podstead.objects.errors import StatusError
from podstead.paths import Paths

HEARTBEAT = 300.0
"""Seconds between reports of an unchanged status (the kubelet's nodeStatusReportFrequency)."""

log = logging.getLogger(__name__)

_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0
"""Seconds until a report that failed is tried again; doubled each time."""

_PRESSURES = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)
_EVENTS = {
    ("MemoryPressure", "False"): "NodeHasSufficientMemory",
    ("DiskPressure", "False"): "NodeHasNoDiskPressure",
    ("PIDPressure", "False"): "NodeHasSufficientPID",
    ("Ready", "True"): "NodeReady",
    ("Ready", "False"): "NodeNotReady",
}
"""The event that tells of a condition's change."""


class Registration:
    """Keeps this node's object in the API: `register` once, then `run` as a task; `changed` asks it for a report."""

    def __init__(
        self,
        client: Client,
        paths: Paths,
        name: str,
        host_ip: str,
        runtime: Runtime,
        recorder: EventRecorder,
        reserved: Mapping[str, str] = info.NOTHING,
    ) -> None:
        """`reserved` is not for pods: quantities by resource."""
        self._client = client
        self._paths = paths
        self._name = name
        self._host_ip = host_ip
        self._runtime = runtime
        self._recorder = recorder
        self._reserved = reserved
        self._wake = asyncio.Event()
        self.problem: str | None = None
        """Why the node is not ready; None when it is."""

    def changed(self) -> None:
        """Have a report written now: `problem` is another, or the object is gone."""
        self._wake.set()

    def record(self, reason: str, message: str) -> None:
        """Record a Normal event about the node. Its uid there is its name: the kubelet's custom."""
        self._recorder.event(self._reference, NORMAL, reason, message)

    def warn(self, reason: str, message: str) -> None:
        """Record a Warning about the node."""
        self._recorder.event(self._reference, WARNING, reason, message)

    @property
    def _reference(self) -> dict[str, str]:
        return {"kind": "Node", "name": self._name, "uid": self._name}

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
        else:
            self._tell_changes({}, node["status"])

    async def update(self) -> None:
        """Write the status; conditions of other types, which others wrote, stay."""
        node = await self._client.get("nodes", self._name)
        old = node.get("status") or {}
        status = self._status(old)
        await self._client.patch("nodes", self._name, "", {"status": status}, subresource="status")
        self._tell_changes(old, status)

    async def run(self) -> None:
        """Write the status every HEARTBEAT seconds and when it has changed. What fails is tried again."""
        delay, retry = HEARTBEAT, _FIRST_RETRY
        while True:
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._report()
                delay, retry = HEARTBEAT, _FIRST_RETRY
            except Exception as error:
                log.warning("the node's status could not be written: %s", error)
                delay, retry = retry, min(retry * 2, _LAST_RETRY)

    async def _report(self) -> None:
        """As `update`; a node that was deleted is made again, for its agent is there and runs pods."""
        try:
            await self.update()
        except StatusError as error:
            if error.code != 404:
                raise
            log.warning("the node %s was deleted: registering it again", self._name)
            await self.register()

    def _tell_changes(self, old: Object, new: Object) -> None:
        before = {condition["type"]: condition["status"] for condition in old.get("conditions") or ()}
        for condition in new["conditions"]:
            reason = _EVENTS.get((condition["type"], condition["status"]))
            if reason is not None and before.get(condition["type"]) != condition["status"]:
                self.record(reason, f"Node {self._name} status is now: {reason}")

    def _status(self, old: Object) -> dict[str, Any]:
        data = self._paths.data
        return {
            "capacity": info.capacity(data),
            "allocatable": info.allocatable(data, self._reserved),
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
                    "lastTransitionTime": (before[kind].get("lastTransitionTime") or now) if same else now,
                    "reason": reason,
                    "message": message,
                }
            )
        own = {kind for kind, *_ in wanted}
        return conditions + [condition for kind, condition in before.items() if kind not in own]
