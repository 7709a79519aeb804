"""What a pod's cgroup is given around its containers' own: from requests and limits to shares, quota, bytes, processes.

Source: Kubernetes documentation, "Resource Management for Pods and Containers", "Node-pressure Eviction" (OOM scores);
the kubelet's pod container manager.
"""

from __future__ import annotations

from pathlib import Path

from podstead.node.runtime.base import Resources
from podstead.node.runtime.cgroups import BEST_EFFORT, BURSTABLE
from podstead.node.runtime.limits import DEFAULT_PERIOD, MAX_SHARES, MIN_SHARES
from podstead.objects.pod import Container, Pod, pod_limits, pod_requests, qos_class
from podstead.objects.quantity import ZERO, Quantity

_MIN_QUOTA = 1_000
_MOST_PIDS = 32_768
_NODE_CRITICAL = 2_000_001_000
"""The priority of the class system-node-critical."""
_TIERS = {"Guaranteed": "", "Burstable": BURSTABLE, "BestEffort": BEST_EFFORT}


def shares(millicores: int) -> int:
    """Return cpu.shares for a request."""
    return min(max(millicores * 1024 // 1000, MIN_SHARES), MAX_SHARES)


def quota(millicores: int) -> int:
    """Return microseconds of each 100 ms for a limit; 0: no limit."""
    return max(millicores * DEFAULT_PERIOD // 1000, _MIN_QUOTA) if millicores else 0


def tier(pod: Pod) -> str:
    """Return in which group the pod's is."""
    return _TIERS[qos_class(pod)]


def pod_resources(pod: Pod, pids: int) -> Resources:
    """Return the limits of the pod as a whole: of what all its containers limit, the sum; `pids` processes."""
    asked, limits = pod_requests(pod), pod_limits(pod)
    cpu = limits.get("cpu", ZERO).milli()
    return Resources(
        cpu_shares=shares(asked.get("cpu", ZERO).milli()),
        cpu_quota=quota(cpu),
        cpu_period=DEFAULT_PERIOD if cpu else 0,
        memory_limit=limits.get("memory", ZERO).value(),
        pids_limit=pids,
    )


def oom_score_adj(pod: Pod, container: Container, memory_capacity: int) -> int:
    """Return how soon the kernel ends the container when the node is out of memory: -1000 never, 1000 first.

    A sidecar lives as long as those that it serves. What a pod asks for as a whole beyond what its containers do is
    shared out among them (KEP-2837).
    """
    quality = qos_class(pod)
    if quality == "Guaranteed" or pod.spec.priority >= _NODE_CRITICAL:
        return -997
    if quality == "BestEffort":
        return 1000
    score = _burstable_score(pod, container, memory_capacity)
    if container in pod.spec.sidecars:
        score = min([score, *(_burstable_score(pod, one, memory_capacity) for one in pod.spec.containers)])
    return score


def _burstable_score(pod: Pod, container: Container, memory_capacity: int) -> int:
    requested = _memory(container)
    whole = pod.spec.resources.request("memory")
    if whole:
        containers = [*pod.spec.containers, *pod.spec.sidecars]
        rest = whole.value() - sum(map(_memory, containers))
        requested += max(rest, 0) // len(containers)
    return min(max(1000 - 1000 * requested // memory_capacity, 3), 999)


def _memory(container: Container) -> int:
    return (container.resources.request("memory") or Quantity(0)).value()


def default_pids(proc: Path = Path("/proc/sys/kernel")) -> int:
    """Return how many processes and threads a pod may have: a quarter of what the machine can, 32768 at most.

    The kubelet's own default is no limit; here one machine carries everything else too.
    """
    machine = min(int((proc / name).read_text()) for name in ("pid_max", "threads-max"))
    return min(machine // 4, _MOST_PIDS)
