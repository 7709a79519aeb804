"""Pods get the priority of their class; classes keep their own rules."""

from __future__ import annotations

from typing import Any

import pytest

from podstead.objects.errors import StatusError
from podstead.registry.admission.priority import CLASSES
from podstead.registry.bootstrap import make_system_objects
from podstead.registry.client import RegistryClient
from support.registry import make_pod


async def _class(client: RegistryClient, name: str, value: int, **fields: Any) -> dict[str, Any]:
    return await client.create(CLASSES, {"metadata": {"name": name}, "value": value, **fields})


async def _pod(client: RegistryClient, name: str = "p", **spec: Any) -> dict[str, Any]:
    pod = make_pod(name)
    pod["spec"] |= spec
    made: dict[str, Any] = (await client.create("pods", pod, "default"))["spec"]
    return made


def _given(spec: dict[str, Any]) -> tuple[Any, ...]:
    return spec.get("priorityClassName"), spec["priority"], spec["preemptionPolicy"]


async def test_a_pod_gets_what_its_class_says(client: RegistryClient) -> None:
    await _class(client, "high", 1000, preemptionPolicy="Never")
    assert _given(await _pod(client, priorityClassName="high")) == ("high", 1000, "Never")
    assert _given(await _pod(client, "q", priorityClassName="high", priority=1000)) == ("high", 1000, "Never")
    assert _given(await _pod(client, "r")) == (None, 0, "PreemptLowerPriority")


async def test_the_default_class_is_for_pods_that_name_none(client: RegistryClient) -> None:
    await _class(client, "usual", 7, globalDefault=True)
    assert _given(await _pod(client)) == ("usual", 7, "PreemptLowerPriority")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"priorityClassName": "none"}, "no PriorityClass with name none was found"),
        (
            {"priorityClassName": "high", "priority": 5},
            "the integer value of priority (5) must not be provided in pod spec; priority admission controller "
            "computed 1000 from the given PriorityClass name",
        ),
        (
            {"priorityClassName": "high", "preemptionPolicy": "Never"},
            "the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission "
            "controller computed PreemptLowerPriority from the given PriorityClass name",
        ),
    ],
)
async def test_a_pod_cannot_say_otherwise(client: RegistryClient, spec: dict[str, Any], why: str) -> None:
    await _class(client, "high", 1000)
    with pytest.raises(StatusError) as error:
        await _pod(client, **spec)
    assert (error.value.code, error.value.message) == (403, f'pods "p" is forbidden: {why}')


async def test_there_is_one_default(client: RegistryClient) -> None:
    usual = await _class(client, "usual", 7, globalDefault=True)
    other = await _class(client, "other", 8)
    why = r'"other" is forbidden: PriorityClass usual is already marked as default. Only one default can exist'
    with pytest.raises(StatusError, match=why):
        await client.update(CLASSES, {**other, "globalDefault": True})
    with pytest.raises(StatusError, match="already marked"):
        await _class(client, "third", 9, globalDefault=True)
    await client.update(CLASSES, {**usual, "description": "still the default"})
    await client.update(CLASSES, {**(await client.get(CLASSES, "usual")), "globalDefault": False})
    assert (await client.update(CLASSES, {**other, "globalDefault": True}))["globalDefault"]


async def test_the_system_classes_are_there_and_stay(client: RegistryClient) -> None:
    await make_system_objects(client)
    await make_system_objects(client)  # the next start
    assert _given(await _pod(client, priorityClassName="system-node-critical"))[1] == 2_000_001_000
    for name in ("system-node-critical", "system-cluster-critical"):
        with pytest.raises(StatusError) as error:
            await client.delete(CLASSES, name)
        assert error.value.message == (
            f'priorityclasses.scheduling.k8s.io "{name}" is forbidden: '
            "this is a system priority class and cannot be deleted"
        )
    await _class(client, "mine", 1)
    await client.delete(CLASSES, "mine")
