"""Budgets tell how many of their pods may be evicted now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from podstead import clock
from podstead.controllers.disruption import BUDGETS, DisruptionController
from podstead.objects.errors import StatusError
from support.fakenode import until
from support.registry import ADMIN, make_pod, open_registry, running

APP = {"app": "a"}
Object = dict[str, Any]


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Any]:
    async with (
        open_registry(tmp_path / "state.db") as registry,
        running(DisruptionController(registry.client(ADMIN)).run()),
    ):
        yield registry.client(ADMIN)


async def _budget(client: Any, name: str = "b", selector: Any = None, **spec: Any) -> Object:
    chosen = {"matchLabels": APP} if selector is None else selector
    return dict(
        await client.create(BUDGETS, {"metadata": {"name": name}, "spec": {"selector": chosen, **spec}}, "default")
    )


async def _pod(client: Any, name: str, *, owner: Object | None = None, **conditions: Object) -> Object:
    """A pod that runs and is ready, with further conditions, controlled by `owner`."""
    made = make_pod(name, labels=APP)
    if owner is not None:
        made["metadata"]["ownerReferences"] = [_controlled_by(owner)]
    await client.create("pods", made, "default")
    await client.create_subresource("pods", name, "default", "binding", {"target": {"kind": "Node", "name": "n"}})
    return await _conditions(client, name, Ready={}, **conditions)


async def _conditions(client: Any, name: str, **conditions: Object) -> Object:
    filled = [
        {"type": kind, "status": "True", "lastTransitionTime": clock.rfc3339(), **fields}
        for kind, fields in conditions.items()
    ]
    status = {"phase": "Running", "conditions": filled}
    return dict(await client.patch("pods", name, "default", {"status": status}, subresource="status"))


def _controlled_by(owner: Object) -> Object:
    meta = {key: owner["metadata"][key] for key in ("name", "uid")}
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": True, **meta}


async def _workload(client: Any, kind: str, replicas: int, owner: Object | None = None, name: str = "w") -> Object:
    group = "" if kind == "ReplicationController" else ".apps"
    made: Object = {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": APP} if group else APP,
            "template": {"metadata": {"labels": APP}, "spec": make_pod()["spec"]},
        },
    }
    if kind == "StatefulSet":
        made["spec"]["serviceName"] = "s"
    if owner is not None:
        made["metadata"]["ownerReferences"] = [_controlled_by(owner)]
    return dict(await client.create(f"{kind.lower()}s{group}", made, "default"))


def _counts(budget: Object) -> tuple[int, ...]:
    """Return expected, desired, healthy, allowed."""
    fields = ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed")
    return tuple(budget["status"].get(field, 0) for field in fields)


def _reason(budget: Object) -> str:
    conditions = budget["status"].get("conditions") or [{"reason": ""}]
    return str(conditions[0]["reason"])


def _counted(*counts: int) -> Callable[[Object], bool]:
    return lambda budget: (
        _counts(budget) == counts and budget["status"].get("observedGeneration") == budget["metadata"]["generation"]
    )


async def test_a_number_of_available_pods(client: Any) -> None:
    await _budget(client, minAvailable=1)
    await until(client, BUDGETS, "b", _counted(0, 1, 0, 0))
    event = await until(client, "events", "", lambda one: one["reason"] == "NoPods")
    assert (event["type"], event["message"]) == ("Normal", "No matching pods found")
    assert event["source"]["component"] == "controllermanager"
    for name in ("p", "q"):
        await _pod(client, name)
    budget = await until(client, BUDGETS, "b", _counted(2, 1, 2, 1))
    condition = budget["status"]["conditions"][0]
    assert condition.pop("lastTransitionTime") <= clock.rfc3339()
    assert condition == {
        "type": "DisruptionAllowed",
        "status": "True",
        "reason": "SufficientPods",
        "message": "",
        "observedGeneration": 1,
    }
    await _conditions(client, "p", Ready={"status": "False"})
    budget = await until(client, BUDGETS, "b", _counted(2, 1, 1, 0))
    assert _reason(budget) == "InsufficientPods"
    await client.patch(BUDGETS, "b", "default", {"spec": {"minAvailable": 0}})
    budget = await until(client, BUDGETS, "b", _counted(2, 0, 1, 1))
    assert budget["status"]["observedGeneration"] == 2
    # One that is of another app now is none of the budget's any more.
    await client.patch("pods", "q", "default", {"metadata": {"labels": {"app": "z"}}})
    await until(client, BUDGETS, "b", _counted(1, 0, 0, 0))


async def test_evictions_as_many_as_there_is_room_for(client: Any) -> None:
    await _budget(client, minAvailable=1)
    for name in ("p", "q"):
        await _pod(client, name)
    await until(client, BUDGETS, "b", _counted(2, 1, 2, 1))
    await client.create_subresource("pods", "p", "default", "eviction", {"metadata": {"name": "p"}})
    with pytest.raises(StatusError) as error:
        await client.create_subresource("pods", "q", "default", "eviction", {"metadata": {"name": "q"}})
    assert error.value.code == 429
    # While it ends it is expected, but neither healthy nor waited for.
    await until(client, BUDGETS, "b", lambda one: _counted(2, 1, 1, 0)(one) and "disruptedPods" not in one["status"])
    await client.delete("pods", "p", "default", grace_period_seconds=0)
    await until(client, BUDGETS, "b", _counted(1, 1, 1, 0))
    await _pod(client, "r")
    await until(client, BUDGETS, "b", _counted(2, 1, 2, 1))
    await client.create_subresource("pods", "q", "default", "eviction", {"metadata": {"name": "q"}})


@pytest.mark.parametrize("kind", ["ReplicaSet", "StatefulSet", "ReplicationController"])
async def test_a_share_of_what_the_controller_wants(client: Any, kind: str) -> None:
    owner = await _workload(client, kind, 5)
    for name in ("p", "q", "r"):
        await _pod(client, name, owner=owner)
    await _budget(client, minAvailable="50%")
    await until(client, BUDGETS, "b", _counted(5, 3, 3, 0))
    await client.patch(BUDGETS, "b", "default", {"spec": {"minAvailable": None, "maxUnavailable": 3}})
    await until(client, BUDGETS, "b", _counted(5, 2, 3, 1))
    await client.patch(BUDGETS, "b", "default", {"spec": {"maxUnavailable": "50%"}})
    await until(client, BUDGETS, "b", _counted(5, 2, 3, 1))


async def test_a_rollout_counts_once(client: Any) -> None:
    """The replica sets of a deployment together may have more pods than it wants."""
    deployment = await _workload(client, "Deployment", 3)
    for name, replicas in (("old", 2), ("new", 2)):
        owner = await _workload(client, "ReplicaSet", replicas, deployment, name)
        await _pod(client, name, owner=owner)
    await _budget(client, maxUnavailable=1)
    await until(client, BUDGETS, "b", _counted(3, 2, 2, 0))


async def test_pods_without_a_controller_have_no_scale(client: Any) -> None:
    await _pod(client, "p")
    await _budget(client, maxUnavailable=1)
    event = await until(client, "events", "", lambda one: one["reason"] == "UnmanagedPods")
    selector = "&LabelSelector{MatchLabels:map[string]string{app: a,},MatchExpressions:[]LabelSelectorRequirement{},}"
    assert f"(selector: {selector}) were found to be unmanaged" in event["message"]
    await until(client, BUDGETS, "b", _counted(0, 0, 1, 0))


async def test_what_cannot_be_counted_allows_nothing(client: Any) -> None:
    await _budget(client, minAvailable="10%")
    await until(client, BUDGETS, "b", _counted(0, 0, 0, 0))
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "uid": "1"}}
    await _pod(client, "p", owner=job)
    budget = await until(client, BUDGETS, "b", lambda one: _reason(one) == "SyncFailed")
    condition = budget["status"]["conditions"][0]
    assert (condition["status"], condition["message"]) == (
        "False",
        "jobs.batch does not implement the scale subresource",
    )
    event = await until(client, "events", "", lambda one: one["reason"] == "CalculateExpectedPodCountFailed")
    assert event["message"] == f"Failed to calculate the number of expected pods: {condition['message']}"
    # A set of that name, but another one.
    owner = await _workload(client, "ReplicaSet", 3)
    gone = {**owner, "metadata": {"name": "w", "uid": "2"}}
    await client.delete("pods", "p", "default", grace_period_seconds=0)
    await _pod(client, "q", owner=gone)
    await until(client, BUDGETS, "b", lambda one: one["status"]["conditions"][0]["message"].startswith("found no"))
    await client.delete("pods", "q", "default", grace_period_seconds=0)
    await _pod(client, "r", owner=owner)
    budget = await until(client, BUDGETS, "b", _counted(3, 1, 1, 0))
    assert _reason(budget) == "InsufficientPods"


@pytest.mark.parametrize(("waited", "given_up"), [(119, True), (10, False)])
async def test_a_pod_that_does_not_go_counts_again(client: Any, waited: int, given_up: bool) -> None:
    await _budget(client, minAvailable=0)
    await _pod(client, "p")
    await until(client, BUDGETS, "b", _counted(1, 0, 1, 1))
    since = clock.rfc3339(clock.now() - timedelta(seconds=waited))
    status = {"disruptedPods": {"p": since, "nobody": since}, "disruptionsAllowed": 0}
    await client.patch(BUDGETS, "b", "default", {"status": status}, subresource="status")
    if given_up:
        await until(client, "events", "", lambda one: one["reason"] == "NotDeleted")
        budget = await until(client, BUDGETS, "b", _counted(1, 0, 1, 1))
        assert "disruptedPods" not in budget["status"]
    else:
        budget = await until(client, BUDGETS, "b", lambda one: list(one["status"].get("disruptedPods", ())) == ["p"])
        assert _counts(budget) == (1, 0, 0, 0)


async def test_two_budgets_for_one_pod_are_told_of(client: Any) -> None:
    for name in ("b", "c"):
        await _budget(client, name, minAvailable=0)
    await _pod(client, "p")
    event = await until(client, "events", "", lambda one: one["reason"] == "MultiplePodDisruptionBudgets")
    assert event["message"] == 'Pod "default"/"p" matches multiple PodDisruptionBudgets.  Chose "b" arbitrarily.'
    for name in ("b", "c"):
        await until(client, BUDGETS, name, _counted(1, 0, 1, 1))


async def test_an_empty_selector_takes_every_pod(client: Any) -> None:
    await _budget(client, selector={}, minAvailable=0)
    await _pod(client, "p")
    await until(client, BUDGETS, "b", _counted(1, 0, 1, 1))


async def test_a_disruption_that_did_not_come_is_taken_back(client: Any) -> None:
    before = {"reason": "EvictionByEvictionAPI", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    await _pod(client, "p", DisruptionTarget=before)
    await _pod(client, "q", DisruptionTarget={**before, "reason": "TerminationByKubelet"})

    def taken_back(pod: Object) -> bool:
        return any(
            one["type"] == "DisruptionTarget" and one["status"] == "False" for one in pod["status"]["conditions"]
        )

    pod = await until(client, "pods", "p", taken_back)
    assert "reason" not in next(one for one in pod["status"]["conditions"] if one["type"] == "DisruptionTarget")
    assert not taken_back(await client.get("pods", "q", "default"))
