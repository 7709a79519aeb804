"""/stats/summary (k8s.io/kubelet stats/v1alpha1) and /stats/usage, of which the API server makes metrics.k8s.io."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from podstead import clock
from podstead.node.runtime.base import ContainerStatus, SandboxStatus
from podstead.node.stats import kernel
from podstead.node.stats.disk import Disk, PodSpace, Space
from podstead.node.stats.kernel import Interface, Usage
from podstead.node.stats.sampler import Rates, Sampler

Json = dict[str, Any]


class Summary:
    """Makes both documents for the node `name`, whose agent runs `since` then."""

    def __init__(self, name: str, since: datetime, sampler: Sampler, disk: Disk) -> None:
        self._name = name
        self._since = since
        self._sampler = sampler
        self._disk = disk

    async def usage(self) -> Json:
        """Return processor (nanocores) and working set (bytes) of the node and of each container that runs."""
        rates = await self._sampler.rates()
        sample = rates.sample
        pods = []
        for sandbox in sample.sandboxes:
            containers = [
                {"name": one.name, "cpu": rates.containers[one.id], "memory": sample.containers[one.id].working_set}
                for one in sample.statuses.get(sandbox.uid, ())
                if one.id in rates.containers
            ]
            if containers:
                pods.append({"namespace": sandbox.namespace, "name": sandbox.name, "containers": containers})
        return {
            "time": _time(sample.time),
            "window": rates.window,
            "node": {"name": self._name, "cpu": rates.node, "memory": sample.node.working_set},
            "pods": pods,
        }

    async def document(self, *, brief: bool = False) -> Json:
        """Return the Summary; `brief`: processor and memory only (only_cpu_and_memory=true)."""
        rates = await self._sampler.rates()
        sample = rates.sample
        spaces: Mapping[str, PodSpace] = {} if brief else await self._disk.measure(sample.statuses)
        pods = [self._pod(rates, sandbox, spaces.get(sandbox.uid), brief=brief) for sandbox in sample.sandboxes]
        node: Json = {
            "nodeName": self._name,
            "startTime": clock.rfc3339(self._since),
            "cpu": _cpu(sample.time, sample.node, rates.node),
            "memory": _memory(sample.time, sample.node),
        }
        if not brief:
            node["network"] = _network(sample.time, kernel.interfaces())
            node["fs"] = _fs(sample.time, self._disk.file_system())
            node["runtime"] = {"imageFs": _fs(sample.time, self._disk.images())}
            node["rlimit"] = {"time": _time(sample.time), "curproc": sample.node.processes, "maxpid": _most_pids()}
        return {"node": node, "pods": pods}

    def _pod(self, rates: Rates, sandbox: SandboxStatus, space: PodSpace | None, *, brief: bool) -> Json:
        sample, uid = rates.sample, sandbox.uid
        statuses = sample.statuses.get(uid, ())
        made: Json = {
            "podRef": {"name": sandbox.name, "namespace": sandbox.namespace, "uid": uid},
            "startTime": clock.rfc3339(sandbox.created_at),
            "containers": [_container(rates, status, space) for status in statuses],
        }
        if (usage := sample.pods.get(uid)) is not None:
            made["cpu"] = _cpu(sample.time, usage, rates.pods.get(uid, 0))
            made["memory"] = _memory(sample.time, usage)
            made["process_stats"] = {"process_count": usage.processes}
        if brief:
            return made
        if statuses:
            made["network"] = _network(sample.time, kernel.interfaces(statuses[0].pid))
        if space is not None:
            made["volume"] = [_fs(space.time, one) | {"name": name} for name, one in sorted(space.volumes.items())]
            parts = [*space.volumes.values(), *space.layers.values(), *space.logs.values()]
            made["ephemeral-storage"] = _fs(space.time, self._disk.file_system()) | {
                "usedBytes": sum(one.used for one in parts),
                "inodesUsed": sum(one.inodes_used for one in parts),
            }
        return made


def _container(rates: Rates, status: ContainerStatus, space: PodSpace | None) -> Json:
    made: Json = {"name": status.name, "startTime": clock.rfc3339(status.started_at or status.created_at)}
    sample = rates.sample
    if (usage := sample.containers.get(status.id)) is not None:
        made["cpu"] = _cpu(sample.time, usage, rates.containers.get(status.id, 0))
        made["memory"] = _memory(sample.time, usage)
        made["swap"] = {"time": _time(sample.time), "swapUsageBytes": usage.swap}
    if space is not None:
        for key, found in (("rootfs", space.layers), ("logs", space.logs)):
            if status.name in found:
                made[key] = _fs(space.time, found[status.name])
    return made


def _time(seconds: float) -> str:
    return clock.rfc3339(datetime.fromtimestamp(seconds, UTC))


def _cpu(time: float, usage: Usage, rate: int) -> Json:
    return {"time": _time(time), "usageNanoCores": rate, "usageCoreNanoSeconds": usage.cpu}


def _memory(time: float, usage: Usage) -> Json:
    made: Json = {
        "time": _time(time),
        "usageBytes": usage.memory,
        "workingSetBytes": usage.working_set,
        "rssBytes": usage.rss,
        "pageFaults": usage.page_faults,
        "majorPageFaults": usage.major_page_faults,
    }
    if usage.limit is not None:
        made["availableBytes"] = max(usage.limit - usage.working_set, 0)
    return made


def _network(time: float, found: Sequence[Interface]) -> Json:
    shown = [
        {
            "name": one.name,
            "rxBytes": one.rx_bytes,
            "rxErrors": one.rx_errors,
            "txBytes": one.tx_bytes,
            "txErrors": one.tx_errors,
        }
        for one in found
    ]
    first: Json = next((one for one in shown if one["name"] == "eth0"), shown[0] if shown else {"name": ""})
    return {"time": _time(time)} | first | {"interfaces": shown}


def _fs(time: float, space: Space) -> Json:
    return {
        "time": _time(time),
        "availableBytes": space.available,
        "capacityBytes": space.capacity,
        "usedBytes": space.used,
        "inodesFree": space.inodes_free,
        "inodes": space.inodes,
        "inodesUsed": space.inodes_used,
    }


def _most_pids() -> int:
    return int(Path("/proc/sys/kernel/pid_max").read_text())
