"""Limit ranges: what containers are given, and what is refused because of them."""

from __future__ import annotations

from typing import Any

import pytest

from podstead.objects.errors import StatusError
from podstead.registry.client import RegistryClient
from support.registry import make_pod


async def limit(client: RegistryClient, type: str = "Container", **fields: Any) -> None:
    spec = {"limits": [{"type": type, **fields}]}
    await client.create("limitranges", {"metadata": {"generateName": "r-"}, "spec": spec}, "default")


async def create(client: RegistryClient, *resources: dict[str, Any], **spec: Any) -> dict[str, Any]:
    pod = make_pod("p")
    container = pod["spec"]["containers"][0]
    pod["spec"]["containers"] = [
        {**container, "name": f"c{number}", "resources": each} for number, each in enumerate(resources or ({},), 1)
    ]
    pod["spec"] |= spec
    return await client.create("pods", pod, "default")


async def test_containers_are_given_what_they_do_not_ask_for(client: RegistryClient) -> None:
    await limit(
        client,
        default={"cpu": "500m", "memory": "500Mi"},
        defaultRequest={"cpu": "100m", "memory": "200Mi"},
    )
    init = {"name": "i", "image": "centos:7"}
    pod = await create(client, {}, {"requests": {"memory": "150Mi"}, "limits": {"cpu": "300m"}}, initContainers=[init])
    first, second = (container["resources"] for container in pod["spec"]["containers"])
    given = {"requests": {"cpu": "100m", "memory": "200Mi"}, "limits": {"cpu": "500m", "memory": "500Mi"}}
    assert first == given and pod["spec"]["initContainers"][0]["resources"] == given
    # A limit alone is the request too, before any range is asked.
    assert second == {"requests": {"cpu": "300m", "memory": "150Mi"}, "limits": {"cpu": "300m", "memory": "500Mi"}}
    assert pod["metadata"]["annotations"] == {
        "kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu, memory request for container c1; "
        "cpu, memory limit for container c1; memory limit for container c2; "
        "cpu, memory request for init container i; cpu, memory limit for init container i"
    }
    assert pod["status"]["qosClass"] == "Burstable"


async def test_a_pod_that_asks_for_all_of_it_is_left_as_it_is(client: RegistryClient) -> None:
    await limit(client, default={"cpu": "1"})
    pod = await create(client, {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}})
    assert pod["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}
    assert "annotations" not in pod["metadata"]


@pytest.mark.parametrize(
    ("type", "fields", "resources", "why"),
    [
        ("Pod", {"min": {"cpu": "50m"}}, [{}], "minimum cpu usage per Pod is 50m.  No request is specified"),
        (
            "Container",
            {"min": {"cpu": "50m"}},
            [{"requests": {"cpu": "10m"}}],
            "minimum cpu usage per Container is 50m, but request is 10m",
        ),
        ("Pod", {"max": {"cpu": "1"}}, [{}], "maximum cpu usage per Pod is 1.  No limit is specified"),
        (
            "Container",
            {"max": {"cpu": "500m"}},
            [{"limits": {"cpu": "0.6"}}],
            "maximum cpu usage per Container is 500m, but limit is 600m",
        ),
        (
            "Container",
            {"max": {"memory": "1Gi", "cpu": "1"}},
            [{"limits": {"cpu": "2", "memory": "2Gi"}}],
            "[maximum cpu usage per Container is 1, but limit is 2, "
            "maximum memory usage per Container is 1Gi, but limit is 2Gi]",
        ),
        (
            "Pod",
            {"max": {"cpu": "1"}},
            [{"limits": {"cpu": "700m"}}, {"limits": {"cpu": "700m"}}],
            "maximum cpu usage per Pod is 1, but limit is 1400m",
        ),
        (
            "Container",
            {"maxLimitRequestRatio": {"cpu": "2"}},
            [{"requests": {"cpu": "200m"}, "limits": {"cpu": "500m"}}],
            "cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000",
        ),
        (
            "Container",
            {"maxLimitRequestRatio": {"cpu": "2"}},
            [{}],
            "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
        ),
    ],
)
async def test_what_is_outside_is_forbidden(
    client: RegistryClient, type: str, fields: dict[str, Any], resources: list[dict[str, Any]], why: str
) -> None:
    await limit(client, type, **fields)
    with pytest.raises(StatusError) as refused:
        await create(client, *resources)
    assert (refused.value.code, refused.value.message) == (403, f'pods "p" is forbidden: {why}')


async def test_one_limit_of_two_is_enough_for_the_pod(client: RegistryClient) -> None:
    await limit(client, "Pod", max={"cpu": "1"})
    assert (await create(client, {"limits": {"cpu": "1"}}, {}))["metadata"]["name"] == "p"


async def test_a_range_holds_as_long_as_it_is_there(client: RegistryClient) -> None:
    await limit(client, max={"cpu": "1"})
    with pytest.raises(StatusError):
        await create(client, {"limits": {"cpu": "2"}})
    for found in (await client.list("limitranges", "default")).items:
        await client.delete("limitranges", found["metadata"]["name"], "default")
    assert (await create(client, {"limits": {"cpu": "2"}}))["metadata"]["name"] == "p"


@pytest.mark.parametrize(
    ("fields", "asked", "why"),
    [
        ({"min": {"storage": "1Gi"}}, "500Mi", "minimum storage usage per {} is 1Gi, but request is 500Mi"),
        ({"max": {"storage": "1Gi"}}, "2Gi", "maximum storage usage per {} is 1Gi, but request is 2Gi"),
        ({"min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}, "1500Mi", ""),
    ],
)
async def test_claims_keep_to_the_sizes(client: RegistryClient, fields: dict[str, Any], asked: str, why: str) -> None:
    await limit(client, "PersistentVolumeClaim", **fields)
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": asked}}}
    claim = {"metadata": {"name": "c"}, "spec": spec}
    if why:
        with pytest.raises(StatusError) as refused:
            await client.create("persistentvolumeclaims", claim, "default")
        expected = why.format("PersistentVolumeClaim")
        assert refused.value.message == f'persistentvolumeclaims "c" is forbidden: {expected}'
    else:
        await client.create("persistentvolumeclaims", claim, "default")
