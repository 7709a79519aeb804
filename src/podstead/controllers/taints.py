"""Taints with effect NoExecute end the pods on a node that do not tolerate them, at once or after tolerationSeconds.

Source: Kubernetes documentation, "Taints and Tolerations"; KEP-3902, the taint eviction controller; KEP-3329, the
condition DisruptionTarget.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from podstead import clock
from podstead.client.base import Client, Object
from podstead.client.events import NORMAL, EventRecorder, reference
from podstead.client.informer import Informer, key_of
from podstead.controllers.base import WorkQueue
from podstead.objects.errors import StatusError
from podstead.objects.placement import tolerating
from podstead.objects.pod import from_object

_DONE = ("Succeeded", "Failed")


class TaintEviction:
    """`run` is its task. The seconds that a pod has count from the time when the taint was added."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._recorder = EventRecorder(client, "taint-eviction-controller")
        self._queue = WorkQueue("taint eviction", self._work)
        self._nodes = Informer(client, "nodes")
        self._nodes.on_add = self._node_seen
        self._nodes.on_update = lambda old, new: None if _taints(old) == _taints(new) else self._node_seen(new)
        self._pods = Informer(client, "pods")
        self._pods.on_add = lambda pod: self._queue.add(key_of(pod))
        self._pods.on_update = self._pod_changed
        self._pods.on_delete = self._pod_gone
        self._seen: dict[tuple[str, str], datetime] = {}
        """By pod uid and taint key: since when a taint holds that does not say so itself."""
        self._marked: set[str] = set()
        """Keys of pods that are to be deleted later."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._recorder.run())
            group.create_task(self._nodes.run())
            group.create_task(self._pods.run())
            await self._nodes.synced.wait()
            await self._pods.synced.wait()
            group.create_task(self._queue.run())

    def _node_seen(self, node: Object) -> None:
        for key, pod in self._pods.store.items():
            if pod["spec"].get("nodeName") == node["metadata"]["name"]:
                self._queue.add(key)

    def _pod_changed(self, old: Object, new: Object) -> None:
        if old["spec"] != new["spec"]:
            self._queue.add(key_of(new))

    def _pod_gone(self, pod: Object) -> None:
        self._marked.discard(key_of(pod))
        self._forget(pod["metadata"]["uid"])

    def _forget(self, uid: str) -> None:
        self._seen = {at: since for at, since in self._seen.items() if at[0] != uid}

    async def _work(self, key: str) -> None:
        pod = self._pods.store.get(key)
        if pod is None or pod["metadata"].get("deletionTimestamp") or (pod.get("status") or {}).get("phase") in _DONE:
            self._marked.discard(key)
            return
        node = self._nodes.store.get(pod["spec"].get("nodeName") or "")
        left = None if node is None else self._left(pod, _taints(node))
        if left is None:
            if key in self._marked:
                self._marked.discard(key)
                message = f"Cancelling deletion of Pod {_name(pod)}"
                self._recorder.event(reference(pod), NORMAL, "TaintManagerEviction", message)
        elif left > 0:
            self._marked.add(key)
            self._queue.add_after(key, left)
        else:
            self._marked.discard(key)
            await self._evict(pod)

    def _left(self, obj: Object, taints: list[Object]) -> float | None:
        """Return the seconds that the pod has left on a node with these taints; None: as long as it likes."""
        pod, now = from_object(obj), clock.now()
        uid = pod.metadata.uid
        if not taints:
            self._forget(uid)
        left: list[float] = []
        for taint in taints:
            fitting = tolerating(pod.spec.tolerations, taint)
            if not fitting:
                return 0.0
            seconds = [one.toleration_seconds for one in fitting if one.toleration_seconds is not None]
            if seconds:
                added = taint.get("timeAdded")
                since = clock.parse(added) if added else self._seen.setdefault((uid, taint["key"]), now)
                left.append(max(min(seconds) - (now - since).total_seconds(), 0.0))
        return min(left, default=None)

    async def _evict(self, pod: Object) -> None:
        meta = pod["metadata"]
        self._recorder.event(reference(pod), NORMAL, "TaintManagerEviction", f"Marking for deletion Pod {_name(pod)}")
        conditions = (pod.get("status") or {}).get("conditions") or ()
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "observedGeneration": meta.get("generation", 0),
            "lastProbeTime": None,
            "lastTransitionTime": clock.rfc3339(),
        }
        others = [one for one in conditions if one["type"] != condition["type"]]
        status = {**(pod.get("status") or {}), "conditions": [*others, condition]}
        try:
            await self._client.update("pods", {**pod, "status": status}, subresource="status")
            await self._client.delete("pods", meta["name"], meta["namespace"], uid=meta["uid"])
        except StatusError as error:
            if error.code != 404:
                raise


def _taints(node: Object) -> list[Object]:
    return [one for one in (node.get("spec") or {}).get("taints") or () if one["effect"] == "NoExecute"]


def _name(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
