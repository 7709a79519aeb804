"""kubectl drain keeps to a disruption budget, and goes on when there is room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.instance import TestInstance, pod

SPACE = "guarded"


@pytest.fixture
def node(instance: TestInstance) -> Iterator[str]:
    """The name of the node, which takes pods again afterwards."""
    instance.kubectl("create", "namespace", SPACE, check=True)
    name: str = instance.get("nodes")["items"][0]["metadata"]["name"]
    yield name
    instance.kubectl("uncordon", name, check=True)
    instance.kubectl("delete", "namespace", SPACE, check=True)


def test_a_drain_waits_for_room_in_the_budget(instance: TestInstance, node: str) -> None:
    def allowed(number: int) -> None:
        condition = f"--for=jsonpath={{.status.disruptionsAllowed}}={number}"
        instance.kubectl("wait", "-n", SPACE, condition, "pdb/db", "--timeout=20s", check=True)

    names = ("a", "b", "c")
    for name in names:
        manifest = pod(name)
        manifest["metadata"]["labels"] = {"app": "db"}
        instance.create(manifest, "-n", SPACE)
    instance.kubectl("create", "pdb", "db", "-n", SPACE, "--selector=app=db", "--min-available=2", check=True)
    instance.kubectl("wait", "-n", SPACE, "--for=condition=Ready", "pod", "--all", "--timeout=30s", check=True)
    allowed(1)

    drain = ("drain", node, "--pod-selector=app=db", "--force", "--ignore-daemonsets")
    refused = instance.kubectl(*drain, "--timeout=1s")
    assert refused.returncode == 1
    assert refused.stderr.count("Cannot evict pod as it would violate the pod's disruption budget.") == 2
    left = instance.get("pods", "-n", SPACE)["items"]
    assert len([one for one in left if "deletionTimestamp" not in one["metadata"]]) == 2
    described = instance.kubectl("describe", "pdb", "db", "-n", SPACE, check=True).stdout
    assert "Allowed disruptions:  0" in described and "Desired:              2" in described

    instance.kubectl("patch", "pdb", "db", "-n", SPACE, "-p", '{"spec": {"minAvailable": 0}}', check=True)
    allowed(2)
    drained = instance.kubectl(*drain, "--timeout=30s", check=True).stdout
    assert drained.endswith(f"node/{node} drained\n")
    assert instance.get("pods", "-n", SPACE)["items"] == []
