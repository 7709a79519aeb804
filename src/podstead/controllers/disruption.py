"""Disruption budgets: how many of the pods that a budget selects may be evicted now.

What is kept is the status of a PodDisruptionBudget; evictions are counted against it (pods/eviction).
Sources: Kubernetes documentation, "Disruptions", "Specifying a Disruption Budget for your Application"; KEP-85.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from podstead import clock
from podstead.client.base import Client, Object
from podstead.client.events import NORMAL, WARNING, EventRecorder, reference
from podstead.client.informer import Informer, key_of
from podstead.controllers.base import WorkQueue
from podstead.controllers.podscale import Incalculable, Scales
from podstead.objects.errors import StatusError
from podstead.objects.selectors import LabelSelector, label_selector_from_object

log = logging.getLogger(__name__)

BUDGETS = "poddisruptionbudgets.policy"
_DELETION_TIMEOUT = timedelta(minutes=2)
"""A pod whose eviction was allowed and that is not being deleted by then is believed to stay."""
_STALE_AFTER = timedelta(minutes=2)
"""A pod that is said to be disrupted (DisruptionTarget) and is not being deleted by then is no more."""
_BY_KUBELET = "TerminationByKubelet"
_ENDED = ("Succeeded", "Failed")
_UNMANAGED = (
    "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of "
    "the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please "
    'set ".spec.minAvailable" field of the PDB to an integer value.'
)


class DisruptionController:
    """Watches budgets and pods; a change of either has the status of the budgets concerned counted anew."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._recorder = EventRecorder(client, "controllermanager")
        self._queue = WorkQueue("disruption budgets", self._sync)
        self._stale = WorkQueue("disruption conditions", self._forget_disruption)
        self._selectors: dict[str, dict[str, LabelSelector | ValueError | None]] = {}
        """By namespace and name of a budget: what it selects; None: nothing."""
        self._pods_of: dict[str, dict[str, Object]] = {}
        """By namespace and name."""
        self._budgets = Informer(client, BUDGETS)
        self._budgets.on_add = self._budget_seen
        self._budgets.on_update = lambda _old, new: self._budget_seen(new)
        self._budgets.on_delete = self._budget_gone
        self._pods = Informer(client, "pods")
        self._pods.on_add = self._pod_seen
        self._pods.on_update = self._pod_changed
        self._pods.on_delete = self._pod_gone

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._recorder.run())
            group.create_task(self._pods.run())
            group.create_task(self._budgets.run())
            await self._pods.synced.wait()
            await self._budgets.synced.wait()
            group.create_task(self._queue.run())
            group.create_task(self._stale.run())

    # -- what there is

    def _budget_seen(self, budget: Object) -> None:
        meta = budget["metadata"]
        self._selectors.setdefault(meta["namespace"], {})[meta["name"]] = _selector_of(budget)
        self._queue.add(key_of(budget))

    def _budget_gone(self, budget: Object) -> None:
        _take_out(self._selectors, budget)

    def _pod_seen(self, pod: Object) -> None:
        meta = pod["metadata"]
        self._pods_of.setdefault(meta["namespace"], {})[meta["name"]] = pod
        self._wake_budgets(pod)
        if (left := _stale_in(pod)) is not None:
            self._stale.add_after(key_of(pod), left)

    def _pod_changed(self, old: Object, new: Object) -> None:
        self._pod_seen(new)
        if old["metadata"].get("labels") != new["metadata"].get("labels"):
            self._wake_budgets(old)

    def _pod_gone(self, pod: Object) -> None:
        _take_out(self._pods_of, pod)
        self._wake_budgets(pod)

    def _wake_budgets(self, pod: Object) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        labels = pod["metadata"].get("labels") or {}
        guarding = [
            budget
            for budget, selector in self._selectors.get(namespace, {}).items()
            if isinstance(selector, LabelSelector) and selector.matches(labels)
        ]
        for budget in guarding:
            self._queue.add(f"{namespace}/{budget}")
        if len(guarding) > 1:
            message = (
                f'Pod "{namespace}"/"{name}" matches multiple PodDisruptionBudgets.  Chose "{guarding[0]}" arbitrarily.'
            )
            self._recorder.event(reference(pod), WARNING, "MultiplePodDisruptionBudgets", message)

    # -- a budget

    async def _sync(self, key: str) -> None:
        budget = self._budgets.store.get(key)
        if budget is None:
            return
        try:
            status, again = await self._counted(budget)
        except Incalculable as error:
            # Only another change can cure it, and that wakes this.
            await self._write(budget, _failed(budget, str(error)))
            return
        except StatusError as error:
            await self._write(budget, _failed(budget, str(error)))
            raise
        await self._write(budget, status)
        if again is not None:
            self._queue.add_after(key, again)

    async def _counted(self, budget: Object) -> tuple[Object, float | None]:
        """Return the status, and in how many seconds to look again. Raises Incalculable, StatusError."""
        pods = self._selected(budget)
        if not pods:
            self._recorder.event(reference(budget), NORMAL, "NoPods", "No matching pods found")
        try:
            expectation = await Scales(self._client).expected(budget, pods)
        except (Incalculable, StatusError) as error:
            message = f"Failed to calculate the number of expected pods: {error}"
            self._recorder.event(reference(budget), WARNING, "CalculateExpectedPodCountFailed", message)
            raise
        if expectation.unmanaged:
            message = _UNMANAGED.format(_shown(budget["spec"]["selector"]))
            self._recorder.event(reference(budget), WARNING, "UnmanagedPods", message)
        now = clock.now()
        disrupted, again = self._disrupted(budget, pods, now)
        healthy = sum(_is_healthy(pod) and pod["metadata"]["name"] not in disrupted for pod in pods)
        # With nothing expected a first pod could be evicted before it has been counted.
        allowed = max(healthy - expectation.desired, 0) if expectation.expected > 0 else 0
        generation = budget["metadata"].get("generation", 0)
        status: Object = {
            "currentHealthy": healthy,
            "desiredHealthy": expectation.desired,
            "expectedPods": expectation.expected,
            "disruptionsAllowed": allowed,
            "observedGeneration": generation,
        }
        if disrupted:
            status["disruptedPods"] = disrupted
        state = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
        status["conditions"] = _conditions(budget, *state, "", generation)
        return status, again

    def _selected(self, budget: Object) -> list[Object]:
        """Return the budget's pods. Raises Incalculable."""
        meta = budget["metadata"]
        selector = self._selectors[meta["namespace"]][meta["name"]]
        if isinstance(selector, ValueError):
            self._recorder.event(reference(budget), WARNING, "NoPods", f"Failed to get pods: {selector}")
            raise Incalculable(str(selector))
        if selector is None:
            return []
        pods = self._pods_of.get(meta["namespace"], {}).values()
        return [pod for pod in pods if selector.matches(pod["metadata"].get("labels") or {})]

    def _disrupted(self, budget: Object, pods: Iterable[Object], now: datetime) -> tuple[dict[str, str], float | None]:
        """Return the pods that were allowed to go and have yet to, and in how many seconds the next is given up."""
        known: Mapping[str, str] = _status(budget).get("disruptedPods") or {}
        waited: dict[str, str] = {}
        left: list[float] = []
        for pod in pods:
            name = pod["metadata"]["name"]
            if name not in known or pod["metadata"].get("deletionTimestamp"):
                continue
            until = clock.parse(known[name]) + _DELETION_TIMEOUT
            if until <= now:
                meta = budget["metadata"]
                message = f"Pod was expected by PDB {meta['namespace']}/{meta['name']} to be deleted but it wasn't"
                self._recorder.event(reference(pod), WARNING, "NotDeleted", message)
            else:
                waited[name] = known[name]
                left.append((until - now).total_seconds())
        return waited, min(left, default=None)

    async def _write(self, budget: Object, status: Object) -> None:
        """Write the status if it is another. Raises StatusError 409 where somebody else was first."""
        if status == {field: value for field, value in _status(budget).items() if value not in (None, {}, [])}:
            return
        try:
            await self._client.update(BUDGETS, {**budget, "status": status}, subresource="status")
        except StatusError as error:
            if error.code != 404:
                raise

    # -- a pod that was to be disrupted

    async def _forget_disruption(self, key: str) -> None:
        """Set DisruptionTarget to False where the pod has not been deleted in time."""
        pod = self._pods.store.get(key)
        left = None if pod is None else _stale_in(pod)
        if pod is None or left is None:
            return
        if left > 0:
            self._stale.add_after(key, left)
            return
        condition = {
            "type": "DisruptionTarget",
            "status": "False",
            "lastTransitionTime": clock.rfc3339(),
            "observedGeneration": pod["metadata"].get("generation", 1),
        }
        conditions = [condition if one["type"] == "DisruptionTarget" else one for one in pod["status"]["conditions"]]
        status = {**pod["status"], "conditions": conditions}
        try:
            await self._client.update("pods", {**pod, "status": status}, subresource="status")
        except StatusError as error:
            if error.code != 404:
                raise


def _selector_of(budget: Object) -> LabelSelector | ValueError | None:
    """Return what a budget selects: by an empty selector every pod of its namespace, without one none."""
    selector = budget["spec"].get("selector")
    if selector is None:
        return None
    try:
        return label_selector_from_object(selector)
    except ValueError as error:
        return error


def _take_out(of: dict[str, dict[str, Any]], obj: Object) -> None:
    namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
    if (there := of.get(namespace)) is not None:
        there.pop(name, None)
        if not there:
            del of[namespace]


def _status(obj: Object) -> Object:
    return obj.get("status") or {}


def _condition(obj: Object, kind: str) -> Object:
    return next((one for one in _status(obj).get("conditions") or () if one.get("type") == kind), {})


def _is_healthy(pod: Object) -> bool:
    return not pod["metadata"].get("deletionTimestamp") and _condition(pod, "Ready").get("status") == "True"


def _failed(budget: Object, why: str) -> Object:
    """Return the status of a budget that cannot be counted: what it was, and nothing may be evicted."""
    before = {field: value for field, value in _status(budget).items() if value not in (None, {}, [])}
    conditions = _conditions(budget, "False", "SyncFailed", why, before.get("observedGeneration", 0))
    return {**before, "disruptionsAllowed": 0, "conditions": conditions}


def _conditions(budget: Object, status: str, reason: str, message: str, generation: int) -> list[Object]:
    """Return the budget's conditions with this one of type DisruptionAllowed."""
    before = _condition(budget, "DisruptionAllowed")
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    new: Object = {
        "type": "DisruptionAllowed",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since or clock.rfc3339(),
    }
    if generation:
        new["observedGeneration"] = generation
    conditions: list[Object] = _status(budget).get("conditions") or []
    if not before:
        return [*conditions, new]
    return [new if one is before else one for one in conditions]


def _stale_in(pod: Object) -> float | None:
    """Return in how many seconds a pod's condition DisruptionTarget is stale; None: never."""
    condition = _condition(pod, "DisruptionTarget")
    if (
        condition.get("status") != "True"
        or pod["metadata"].get("deletionTimestamp")
        or condition.get("reason") == _BY_KUBELET
        or _status(pod).get("phase") in _ENDED
    ):
        return None
    since = condition.get("lastTransitionTime")
    waited = clock.now() - clock.parse(since) if since else _STALE_AFTER
    return max((_STALE_AFTER - waited).total_seconds(), 0.0)


def _shown(selector: Object) -> str:
    """Return a label selector as messages show it (%v of a generated type)."""
    exact = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    others = "".join(
        f"LabelSelectorRequirement{{Key:{one.get('key', '')},Operator:{one.get('operator', '')},"
        f"Values:[{' '.join(one.get('values') or ())}],}},"
        for one in selector.get("matchExpressions") or ()
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{exact}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{others}}},}}"
    )
