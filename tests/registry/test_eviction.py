"""Evictions: the condition that says why, and the disruption budgets that forbid them."""

from __future__ import annotations

from typing import Any

import pytest

from podstead.objects.errors import StatusError
from podstead.registry.client import RegistryClient
from podstead.registry.eviction import BUDGETS, VIOLATED
from support.registry import make_pod


async def _pod(client: RegistryClient, *, phase: str = "Running", ready: bool = True) -> dict[str, Any]:
    await client.create("pods", make_pod(labels={"app": "a"}), "default")
    await client.create_subresource("pods", "p", "default", "binding", {"target": {"kind": "Node", "name": "n"}})
    pod = await client.get("pods", "p", "default")
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return await client.update(
        "pods", {**pod, "status": {"phase": phase, "conditions": [condition]}}, subresource="status"
    )


async def _budget(client: RegistryClient, name: str = "b", spec: Any = None, **status: Any) -> dict[str, Any]:
    selector = {"matchLabels": {"app": "a"}}
    budget = {"metadata": {"name": name}, "spec": {"minAvailable": 1, "selector": selector, **(spec or {})}}
    made = await client.create(BUDGETS, budget, "default")
    counts = {"currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1, "disruptionsAllowed": 0}
    counts |= {"observedGeneration": 1, **status}
    return await client.update(BUDGETS, {**made, "status": counts}, subresource="status")


async def _evict(client: RegistryClient, **options: Any) -> Any:
    eviction: dict[str, Any] = {"metadata": {"name": "p"}}
    if options:
        eviction["deleteOptions"] = options
    return await client.create_subresource("pods", "p", "default", "eviction", eviction)


async def _ends(client: RegistryClient) -> dict[str, Any]:
    """The pod, which is being deleted: its condition DisruptionTarget."""
    pod = await client.get("pods", "p", "default")
    assert "deletionTimestamp" in pod["metadata"]
    found: dict[str, Any] = next(one for one in pod["status"]["conditions"] if one["type"] == "DisruptionTarget")
    return found


async def _refused(client: RegistryClient) -> dict[str, Any]:
    with pytest.raises(StatusError) as error:
        await _evict(client)
    assert (error.value.code, error.value.reason, error.value.message) == (429, "TooManyRequests", VIOLATED)
    assert "deletionTimestamp" not in (await client.get("pods", "p", "default"))["metadata"]
    assert error.value.details is not None
    return error.value.details


async def test_the_pod_says_why_it_ends(client: RegistryClient) -> None:
    await _pod(client)
    assert (await _evict(client))["status"] == "Success"
    condition = await _ends(client)
    assert (condition["status"], condition["reason"], condition["message"]) == (
        "True",
        "EvictionByEvictionAPI",
        "Eviction API: evicting",
    )
    assert condition["observedGeneration"] == 1


async def test_a_dry_run_says_nothing(client: RegistryClient) -> None:
    before = await _pod(client)
    budget = await _budget(client, disruptionsAllowed=1)
    await _evict(client, dryRun=["All"])
    assert await client.get("pods", "p", "default") == before
    assert await client.get(BUDGETS, "b", "default") == budget


async def test_a_budget_that_allows_it_counts_it(client: RegistryClient) -> None:
    await _pod(client)
    await _budget(client, disruptionsAllowed=1)
    await _evict(client)
    await _ends(client)
    status = (await client.get(BUDGETS, "b", "default"))["status"]
    assert status["disruptionsAllowed"] == 0 and list(status["disruptedPods"]) == ["p"]
    assert [(one["type"], one["status"], one["reason"]) for one in status["conditions"]] == [
        ("DisruptionAllowed", "False", "InsufficientPods")
    ]
    # It is going: another eviction shortens the time, whatever the budget says.
    await _evict(client, gracePeriodSeconds=3)
    assert (await client.get("pods", "p", "default"))["metadata"]["deletionGracePeriodSeconds"] == 3


_FAILED = {"type": "DisruptionAllowed", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({}, "needs 1 healthy pods and has 1 currently"),
        (
            {"conditions": [{**_FAILED, "reason": "SyncFailed", "message": "hm"}]},
            "does not allow evicting pods currently because it failed sync: hm",
        ),
        (
            {"currentHealthy": 2, "conditions": [{**_FAILED, "reason": "Why", "message": "hm"}]},
            "does not allow evicting pods currently (Why): hm",
        ),
        ({"currentHealthy": 2}, "does not allow evicting pods currently"),
    ],
)
async def test_a_budget_that_is_used_up_forbids_it(client: RegistryClient, status: dict[str, Any], why: str) -> None:
    await _pod(client)
    await _budget(client, **status)
    details = await _refused(client)
    assert details == {"causes": [{"reason": "DisruptionBudget", "message": f"The disruption budget b {why}"}]}


async def test_a_budget_that_nobody_has_looked_at_forbids_it_for_now(client: RegistryClient) -> None:
    await _pod(client)
    await _budget(client, disruptionsAllowed=1, observedGeneration=0)
    details = await _refused(client)
    assert details["retryAfterSeconds"] == 10
    message = "The disruption budget b is still being processed by the server."
    assert details["causes"] == [{"reason": "DisruptionBudget", "message": message}]


@pytest.mark.parametrize(
    ("ready", "spec", "status", "goes"),
    [
        (False, {}, {}, True),
        (False, {}, {"currentHealthy": 0}, False),
        (False, {"unhealthyPodEvictionPolicy": "AlwaysAllow"}, {"currentHealthy": 0}, True),
        (True, {"unhealthyPodEvictionPolicy": "AlwaysAllow"}, {}, False),
        (True, {"selector": {"matchLabels": {"app": "b"}}}, {}, True),
        (True, {"selector": {}}, {}, False),
    ],
)
async def test_what_a_budget_guards(
    client: RegistryClient, ready: bool, spec: dict[str, Any], status: dict[str, Any], goes: bool
) -> None:
    await _pod(client, ready=ready)
    before = await _budget(client, spec=spec, **status)
    if goes:
        await _evict(client)
        await _ends(client)
        # One that counts for nothing takes nothing from the budget.
        assert await client.get(BUDGETS, "b", "default") == before
    else:
        await _refused(client)


async def test_a_pod_that_has_not_begun_is_guarded_by_no_budget(client: RegistryClient) -> None:
    await _pod(client, phase="Pending")
    await _budget(client)
    await _evict(client)
    await _ends(client)


async def test_two_budgets_are_one_too_many(client: RegistryClient) -> None:
    await _pod(client)
    await _budget(client, "b", disruptionsAllowed=1)
    await _budget(client, "c", disruptionsAllowed=1)
    with pytest.raises(StatusError, match="more than one PodDisruptionBudget") as error:
        await _evict(client)
    assert error.value.code == 500


async def test_preconditions_hold(client: RegistryClient) -> None:
    pod = await _pod(client)
    for wrong in ({"uid": "another"}, {"resourceVersion": "1"}):
        with pytest.raises(StatusError) as error:
            await _evict(client, preconditions=wrong)
        assert error.value.code == 409
    await _evict(client, preconditions={"resourceVersion": pod["metadata"]["resourceVersion"]})
    await _ends(client)
