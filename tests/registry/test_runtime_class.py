"""What a runtime class brings into a pod, and what is refused because of it."""

from __future__ import annotations

from typing import Any

import pytest

from podstead.objects.errors import StatusError
from podstead.registry.admission.runtime_class import CLASSES, merged_tolerations
from podstead.registry.client import RegistryClient
from support.registry import make_pod

GPU = {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}


async def add(client: RegistryClient, **fields: Any) -> None:
    kind = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "k"}, "handler": "runc"}
    await client.create(CLASSES, {**kind, **fields})


async def create(client: RegistryClient, **spec: Any) -> dict[str, Any]:
    pod = make_pod("p")
    pod["spec"] |= {"runtimeClassName": "k", **spec}
    return await client.create("pods", pod, "default")


async def test_its_overhead_selector_and_tolerations_join_the_pods(client: RegistryClient) -> None:
    scheduling = {"nodeSelector": {"kind": "x"}, "tolerations": [GPU]}
    await add(client, overhead={"podFixed": {"cpu": "250m"}}, scheduling=scheduling)
    spec = (await create(client, nodeSelector={"disk": "fast"}, overhead={"cpu": "0.25"}))["spec"]
    assert spec["overhead"] == {"cpu": "250m"}
    assert spec["nodeSelector"] == {"disk": "fast", "kind": "x"}
    assert GPU in spec["tolerations"]


@pytest.mark.parametrize(
    ("fields", "spec", "why"),
    [
        ({}, {"runtimeClassName": "no"}, 'pod rejected: RuntimeClass "no" not found'),
        (
            {"overhead": {"podFixed": {"cpu": "1"}}},
            {"overhead": {"cpu": "2"}},
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            {},
            {"overhead": {"cpu": "2"}},
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            {"scheduling": {"nodeSelector": {"disk": "slow"}}},
            {"nodeSelector": {"disk": "fast"}},
            "conflict: runtimeClass.scheduling.nodeSelector[disk] = slow; pod.spec.nodeSelector[disk] = fast",
        ),
    ],
)
async def test_what_does_not_fit_is_forbidden(
    client: RegistryClient, fields: dict[str, Any], spec: dict[str, Any], why: str
) -> None:
    await add(client, **fields)
    with pytest.raises(StatusError) as caught:
        await create(client, **spec)
    assert caught.value.code == 403
    assert str(caught.value) == f'pods "p" is forbidden: {why}'


def test_tolerations_that_another_covers_are_left_out() -> None:
    every = {"operator": "Exists"}
    assert merged_tolerations([GPU], [GPU]) == [GPU]
    assert merged_tolerations([GPU], [every]) == [every]
    short = {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    long = {**short, "tolerationSeconds": 9}
    assert merged_tolerations([short], [long]) == [long]
    value = {"key": "a", "operator": "Equal", "value": "1"}
    assert merged_tolerations([value], [{**value, "value": "2"}]) == [value, {**value, "value": "2"}]
