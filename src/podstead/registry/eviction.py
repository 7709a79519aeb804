"""pods/eviction: a pod is asked to go, as far as the disruption budget that selects it allows.

https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/; KEP-3017 (unready pods), KEP-3329 (condition).
"""

from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

from podstead import clock
from podstead.objects import errors
from podstead.objects.selectors import label_selector_from_object
from podstead.objects.user import SYSTEM_MASTERS, UserInfo
from podstead.registry.admission import Operation
from podstead.registry.core import ATTEMPTS, Core, Lost, Object
from podstead.registry.delete import check_preconditions, remove
from podstead.registry.entry import Entry
from podstead.registry.options import DeleteOptions, RequestContext, WriteOptions
from podstead.registry.strategies.pods import set_condition
from podstead.registry.update import replace

BUDGETS = "poddisruptionbudgets.policy"
VIOLATED = "Cannot evict pod as it would violate the pod's disruption budget."
_MANY = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
_UNCONFIRMED = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
_MOST_DISRUPTED = 2000
_ENDED = ("Succeeded", "Failed")
_APISERVER = UserInfo("system:apiserver", (SYSTEM_MASTERS,))


async def evict(
    core: Core, ctx: RequestContext, namespace: str, name: str, eviction: Object, options: WriteOptions
) -> None:
    """Delete a pod if its budget allows it. Raises StatusError 403, 404, 409, 422; 429 where the budget does not."""
    how = _options(eviction, options)
    pod = core.current(namespace, name)
    for _ in range(ATTEMPTS):
        if not _unguarded(pod.object):
            break
        ended = _ended(pod.object)
        try:
            # One that is Pending may become ready meanwhile.
            await _delete(core, ctx, pod, how if ended or how.resource_version else _only(how, pod))
            return
        except errors.StatusError as error:
            if error.code != 409 or how.resource_version:
                raise
        pod = core.current(namespace, name)
    else:
        raise core.conflict(name)
    await _guarded(core, ctx, pod, how)


async def _guarded(core: Core, ctx: RequestContext, pod: Entry, how: DeleteOptions) -> None:
    budget = _budget_of(core, pod)
    if budget is None:
        await _delete(core, ctx, pod, how)
        return
    budgets = core.siblings[BUDGETS]
    if not _is_ready(pod.object) and _lets_unready_go(budget.object):
        # It counts for nothing, unless it becomes ready meanwhile.
        only = how if how.resource_version else _only(how, pod)
        try:
            await _delete(core, ctx, pod, only)
            return
        except errors.StatusError as error:
            if error.code == 409 and not how.resource_version:
                raise _processing(budget.name) from error
            raise
    as_apiserver = RequestContext(_APISERVER, manager="kube-apiserver")
    written = WriteOptions(dry_run=how.dry_run)

    def make(present: Entry) -> Object:
        return _spent(present.copy(), pod.name)

    await replace(budgets, as_apiserver, pod.namespace, budget.name, "status", written, make)
    await _delete(core, ctx, pod, how)


def _options(eviction: Object, options: WriteOptions) -> DeleteOptions:
    sent = eviction.get("deleteOptions") or {}
    if wrong := [value for value in sent.get("dryRun") or () if value != "All"]:
        listed = ", ".join(f'"{value}"' for value in wrong)
        text = f'Unsupported value: [{listed}]: supported values: "All"'
        cause = errors.FieldError("dryRun", "FieldValueNotSupported", text)
        raise errors.invalid("DeleteOptions", "", [cause], "meta.k8s.io")
    preconditions = sent.get("preconditions") or {}
    return DeleteOptions(
        grace_period_seconds=sent.get("gracePeriodSeconds"),
        propagation_policy=sent.get("propagationPolicy", ""),
        orphan_dependents=sent.get("orphanDependents"),
        uid=preconditions.get("uid", ""),
        resource_version=preconditions.get("resourceVersion", ""),
        dry_run=options.dry_run or bool(sent.get("dryRun")),
    )


def _only(how: DeleteOptions, pod: Entry) -> DeleteOptions:
    """Return `how` for nothing but this very state of the pod."""
    return changed(how, resource_version=str(pod.revision))


def _ended(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp")) or pod.get("status", {}).get("phase") in _ENDED


def _unguarded(pod: Object) -> bool:
    """Tell whether a pod's end disrupts nothing, so that no budget counts: it has not begun, or is over."""
    return _ended(pod) or pod.get("status", {}).get("phase") == "Pending"


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _lets_unready_go(budget: Object) -> bool:
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    return bool(healthy >= desired > 0)


def _budget_of(core: Core, pod: Entry) -> Entry | None:
    """Return the budget that selects the pod. Raises StatusError 500 for several."""
    budgets = core.siblings[BUDGETS]
    found = [one for one in budgets.cache.scan(budgets.scope(pod.namespace)) if _selects(one.object, pod.labels)]
    if len(found) > 1:
        raise errors.StatusError(500, "", _MANY)
    return found[0] if found else None


def _selects(budget: Object, labels: Any) -> bool:
    selector = budget["spec"].get("selector")
    if selector is None:
        return False
    try:
        return label_selector_from_object(selector).matches(labels)
    except ValueError:
        return False


def _spent(budget: Object, pod: str) -> Object:
    """Take one disruption from a budget's status, for `pod`, in place. Raises StatusError 403, 429."""
    name, status = budget["metadata"]["name"], budget.setdefault("status", {})
    allowed, disrupted = status.get("disruptionsAllowed", 0), status.get("disruptedPods") or {}
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _processing(name)
    if allowed < 0:
        raise errors.forbidden("poddisruptionbudget", name, "pdb disruptions allowed is negative", "policy")
    if len(disrupted) > _MOST_DISRUPTED:
        raise errors.forbidden("poddisruptionbudget", name, _UNCONFIRMED, "policy")
    conditions = status.get("conditions") or []
    known: Object = next((one for one in conditions if one.get("type") == "DisruptionAllowed"), {})
    if not allowed:
        raise _violated(_why_not(name, status, known))
    status["disruptionsAllowed"] = allowed - 1
    if allowed == 1:
        insufficient = {"status": "False", "reason": "InsufficientPods", "message": ""}
        since = known.get("lastTransitionTime") if known.get("status") == "False" else None
        insufficient |= {"lastTransitionTime": since or clock.rfc3339()}
        condition = {"type": "DisruptionAllowed", **insufficient}
        condition |= {"observedGeneration": status.get("observedGeneration", 0)}
        status["conditions"] = [one for one in conditions if one is not known] + [condition]
    # The controller that keeps the budget counts the pod as gone from now on.
    status["disruptedPods"] = {**disrupted, pod: clock.rfc3339()}
    return budget


def _why_not(name: str, status: Object, condition: Object) -> str:
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    told = condition.get("message") if condition.get("status") == "False" else ""
    reason = condition.get("reason", "")
    denied = f"The disruption budget {name} does not allow evicting pods currently"
    if told and reason == "SyncFailed":
        return f"{denied} because it failed sync: {told}"
    if healthy <= desired:
        return f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
    return f"{denied} ({reason}): {told}" if told else denied


def _processing(budget: str) -> errors.StatusError:
    return _violated(f"The disruption budget {budget} is still being processed by the server.", 10)


def _violated(why: str, retry_after: int = 0) -> errors.StatusError:
    error = errors.too_many_requests(VIOLATED, retry_after)
    error.details = {"causes": [{"reason": "DisruptionBudget", "message": why}], **(error.details or {})}
    return error


async def _delete(core: Core, ctx: RequestContext, pod: Entry, how: DeleteOptions) -> None:
    """Say in the pod's status why it ends, then delete it."""
    if not how.dry_run:
        revision = await _mark(core, ctx, pod.namespace, pod.name, how)
        if how.resource_version:
            how = changed(how, resource_version=str(revision))
    await remove(core, ctx, pod.namespace, pod.name, how)


async def _mark(core: Core, ctx: RequestContext, namespace: str, name: str, how: DeleteOptions) -> int:
    """Set the condition DisruptionTarget; return the revision of that. Raises StatusError 404, 409."""
    for _ in range(ATTEMPTS):
        old = core.current(namespace, name)
        check_preconditions(core, old, how)
        new = old.copy()
        set_condition(
            new,
            {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting",
                "observedGeneration": old.object["metadata"].get("generation", 1),
            },
        )
        attributes = core.attributes(ctx, Operation.UPDATE, namespace, name, dry_run=False, subresource="status")
        attributes.object, attributes.old = new, old.object
        await core.admission.admit(attributes)
        await core.admission.validate(attributes)
        try:
            return (old if new == old.object else await core.commit_update(old, new)).revision
        except Lost:
            continue
    raise core.conflict(name)
