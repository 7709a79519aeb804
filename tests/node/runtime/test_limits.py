"""Limits of pods' cgroups: what is written where, and that the kernel holds to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from runtime_instance import Instance

from podstead.node.runtime import limits
from podstead.node.runtime.base import Resources, RuntimeFailure
from podstead.node.runtime.cgroups import ROOT, Cgroups
from podstead.node.runtime.oci import OCIRuntime

POD = Resources(cpu_shares=512, cpu_quota=50_000, cpu_period=100_000, memory_limit=64 << 20, pids_limit=20)


@pytest.mark.parametrize(
    ("shares", "weight"), [(0, 1), (2, 1), (102, 17), (1024, 100), (262_144, 10_000), (1 << 30, 10_000)]
)
def test_shares_become_weights(shares: int, weight: int) -> None:
    assert limits.weight(shares) == weight


def test_files_of_v2_and_of_v1() -> None:
    unified = {(name, text) for _, name, text in limits.settings(POD, unified=True)}
    assert unified == {
        ("cpu.weight", "59"),
        ("cpu.max", "50000 100000"),
        ("memory.max", str(64 << 20)),
        ("pids.max", "20"),
    }
    without = {(name, text) for _, name, text in limits.settings(Resources(), unified=True)}
    assert without == {("cpu.weight", "1"), ("cpu.max", "max 100000"), ("memory.max", "max"), ("pids.max", "max")}
    v1 = {(name, text) for _, name, text in limits.settings(POD, unified=False)}
    assert ("cpu.cfs_quota_us", "50000") in v1
    assert ("memory.limit_in_bytes", str(64 << 20)) in v1
    assert ("cpu.cfs_quota_us", "-1") in {(name, text) for _, name, text in limits.settings(Resources(), unified=False)}


def _value(groups: Cgroups, group: str, controller: str, v1: str, v2: str) -> str:
    root = ROOT if groups.unified else ROOT / controller
    return (root / group.lstrip("/") / (v2 if groups.unified else v1)).read_text().strip()


async def test_the_burstable_tier_has_what_its_pods_have_together(instance: Instance, runtime: OCIRuntime) -> None:
    groups = Cgroups(instance.paths.cgroup)
    made = []
    for uid, shares in (("u1", 512), ("u2", 1024)):
        instance.uid = uid
        config = instance.sandbox(cgroup_tier="burstable", resources=Resources(cpu_shares=shares))
        made.append(await runtime.run_pod_sandbox(config))

    def shares_of(group: str) -> str:
        return _value(groups, f"{instance.paths.cgroup}/{group}", "cpu", "cpu.shares", "cpu.weight")

    def told(shares: int) -> str:
        return str(limits.weight(shares) if groups.unified else shares)

    assert (shares_of("burstable/podu2"), shares_of("burstable")) == (told(1024), told(1536))
    assert shares_of("besteffort") == told(2)
    await runtime.remove_pod_sandbox(made[0].id)
    assert shares_of("burstable") == told(1024)
    await runtime.remove_pod_sandbox(made[1].id)


async def test_a_pod_forks_no_more_than_it_may(instance: Instance, runtime: OCIRuntime) -> None:
    """Of a container that would start a hundred processes the kernel makes as many as the pod may have."""
    sandbox = await runtime.run_pod_sandbox(instance.sandbox(resources=POD))
    script = "i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; echo all"
    container_id = await runtime.create_container(sandbox.id, instance.container("sh", "-c", script))
    await runtime.start_container(container_id)
    async for event in runtime.events():
        assert event.container_id == container_id
        break
    status = await runtime.container_status(container_id)
    assert status.exit_code != 0
    assert "all" not in instance.log()


async def test_a_running_container_gets_other_limits(instance: Instance, runtime: OCIRuntime) -> None:
    sandbox = await runtime.run_pod_sandbox(instance.sandbox(resources=POD))
    small = Resources(cpu_shares=100, cpu_quota=10_000, cpu_period=100_000, memory_limit=32 << 20)
    container_id = await runtime.create_container(sandbox.id, instance.container("sleep", "1000", resources=small))
    await runtime.start_container(container_id)
    groups = Cgroups(instance.paths.cgroup)
    path = groups.container_path("u1", container_id)
    large = Resources(cpu_shares=200, cpu_quota=90_000, cpu_period=100_000, memory_limit=96 << 20)
    await runtime.update_pod_sandbox_resources(sandbox.id, large)
    await runtime.update_container_resources(container_id, large)
    assert _value(groups, path, "memory", "memory.limit_in_bytes", "memory.max") == str(96 << 20)
    assert _value(groups, path, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "90000"
    with pytest.raises(RuntimeFailure, match="below current usage"):
        await runtime.update_container_resources(container_id, Resources(memory_limit=4096))


async def test_an_earlier_servers_pod_is_found_where_it_was_put(instance: Instance, runtime: OCIRuntime) -> None:
    sandbox = await runtime.run_pod_sandbox(instance.sandbox(cgroup_tier="besteffort"))
    container_id = await runtime.create_container(sandbox.id, instance.container("sleep", "1000"))
    await runtime.start_container(container_id)
    other = Cgroups(instance.paths.cgroup)
    assert other.container_path("u1", container_id) == f"/{instance.paths.cgroup}/besteffort/podu1/{container_id}"
    assert other.pods() == {"u1"}
    pid = (await runtime.container_status(container_id)).pid
    assert f"/besteffort/podu1/{container_id}" in Path(f"/proc/{pid}/cgroup").read_text()
