"""A cluster lists the groups that it serves as API services of its own."""

from __future__ import annotations

from typing import Any

from podstead.objects.kinds import DISCOVERED
from podstead.registry.bootstrap import make_system_objects
from podstead.registry.client import RegistryClient

RESOURCE = "apiservices.apiregistration.k8s.io"


async def _listed(client: RegistryClient) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: dict(one) for one in (await client.list(RESOURCE)).items}


async def test_every_group_is_local_and_available(client: RegistryClient) -> None:
    await make_system_objects(client)
    services = await _listed(client)
    served = {f"{info.version}.{info.group}" for info in DISCOVERED}
    assert set(services) == served - {"v1.apiregistration.k8s.io"}
    apps, core = services["v1.apps"], services["v1."]
    assert apps["spec"] == {"group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15}
    assert core["spec"] == {"version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1}
    for service in services.values():
        (condition,) = service["status"]["conditions"]
        assert (condition["type"], condition["status"], condition["reason"]) == ("Available", "True", "Local")


async def test_the_next_start_mends_the_list_and_leaves_others_alone(client: RegistryClient) -> None:
    await make_system_objects(client)
    before = await _listed(client)
    spec = {"group": "example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
    labels = before["v1.apps"]["metadata"]["labels"]
    await client.create(RESOURCE, {"metadata": {"name": "v1.example.com"}, "spec": spec})
    old = {"metadata": {"name": "v2.example.com", "labels": labels}, "spec": {**spec, "version": "v2"}}
    await client.create(RESOURCE, old)
    await client.delete(RESOURCE, "v1.batch")
    await client.patch(RESOURCE, "v1.apps", "", {"spec": {"versionPriority": 2}})
    await make_system_objects(client)
    after = await _listed(client)
    assert set(after) == {*before, "v1.example.com"}
    assert after["v1.apps"]["spec"] == before["v1.apps"]["spec"]
    assert after["v1.policy"] == before["v1.policy"]
