"""/metrics/resource, /metrics/cadvisor and /metrics: the kubelet's, in Prometheus' text format.

Names are those of https://kubernetes.io/docs/reference/instrumentation/metrics/ and of cAdvisor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from podstead.metrics import family
from podstead.node.runtime.base import ContainerStatus, SandboxStatus
from podstead.node.stats import kernel
from podstead.node.stats.disk import PodSpace, Space
from podstead.node.stats.kernel import Usage
from podstead.node.stats.sampler import Sample

Labels = dict[str, str]
_NANO = 1e-9


def resource_metrics(sample: Sample) -> Iterator[str]:
    """Yield /metrics/resource (KEP-1686: what metrics-server reads)."""
    when = round(sample.time * 1000)
    containers, pods, node = list(_containers(sample)), list(_pods(sample)), [(Labels(), sample.node)]
    starts = [
        (labels, status.started_at.timestamp())
        for labels, _, status in containers
        if status is not None and status.started_at is not None
    ]
    parts = (("container", [(labels, usage) for labels, usage, _ in containers]), ("pod", pods), ("node", node))
    for what, found in parts:
        cpu = [(labels, usage.cpu * _NANO) for labels, usage in found]
        memory = [(labels, float(usage.working_set)) for labels, usage in found]
        swap = [(labels, float(usage.swap)) for labels, usage in found]
        used = f"of the {what}"
        yield from family(f"{what}_cpu_usage_seconds_total", "counter", f"Processor time {used}, seconds.", cpu, when)
        yield from family(f"{what}_memory_working_set_bytes", "gauge", f"Working set {used}, bytes.", memory, when)
        yield from family(f"{what}_swap_usage_bytes", "gauge", f"Swap {used}, bytes.", swap, when)
    yield from family("container_start_time_seconds", "gauge", "Start, seconds since 1970.", starts)
    yield from family("resource_scrape_error", "gauge", "1 if the metrics could not be taken.", [({}, 0.0)])


def _labels(sandbox: SandboxStatus) -> Labels:
    return {"namespace": sandbox.namespace, "pod": sandbox.name}


def _containers(sample: Sample) -> Iterator[tuple[Labels, Usage, ContainerStatus]]:
    for sandbox in sample.sandboxes:
        for status in sample.statuses.get(sandbox.uid, ()):
            if (usage := sample.containers.get(status.id)) is not None:
                yield {"container": status.name} | _labels(sandbox), usage, status


def _pods(sample: Sample) -> Iterator[tuple[Labels, Usage]]:
    for sandbox in sample.sandboxes:
        if (usage := sample.pods.get(sandbox.uid)) is not None:
            yield _labels(sandbox), usage


_OF_GROUPS: tuple[tuple[str, str, str, Callable[[Usage], float]], ...] = (
    ("cpu_usage_seconds_total", "counter", "Processor time, seconds.", lambda one: one.cpu * _NANO),
    ("cpu_cfs_periods_total", "counter", "Periods of the processor's limit.", lambda one: one.cpu_periods),
    ("cpu_cfs_throttled_periods_total", "counter", "Those throttled.", lambda one: one.cpu_throttled_periods),
    ("cpu_cfs_throttled_seconds_total", "counter", "Time throttled.", lambda one: one.cpu_throttled * _NANO),
    ("memory_usage_bytes", "gauge", "Memory with all page cache, bytes.", lambda one: one.memory),
    ("memory_working_set_bytes", "gauge", "Memory without old page cache, bytes.", lambda one: one.working_set),
    ("memory_rss", "gauge", "Anonymous memory, bytes.", lambda one: one.rss),
    ("memory_cache", "gauge", "Page cache, bytes.", lambda one: one.cache),
    ("memory_swap", "gauge", "Swap, bytes.", lambda one: one.swap),
    ("spec_memory_limit_bytes", "gauge", "Limit of memory, bytes; 0: none.", lambda one: one.limit or 0),
    ("processes", "gauge", "Processes and threads.", lambda one: one.processes),
)


def cadvisor_metrics(sample: Sample, spaces: Mapping[str, PodSpace]) -> Iterator[str]:
    """Yield the main families of cAdvisor: processor, memory, network and writable layers of pods."""
    when = round(sample.time * 1000)
    groups: list[tuple[Labels, Usage]] = [({"container": "", "id": "/", "namespace": "", "pod": ""}, sample.node)]
    groups += [({"container": "", "id": f"pod{uid}"} | names, usage) for uid, names, usage in _by_uid(sample)]
    groups += [(labels | {"id": status.id}, usage) for labels, usage, status in _containers(sample)]
    for name, kind, about, value in _OF_GROUPS:
        found = [(labels, float(value(usage))) for labels, usage in groups]
        yield from family(f"container_{name}", kind, about, found, when)
    yield from _network(sample, when)
    layers: list[tuple[Labels, float]] = []
    for sandbox in sample.sandboxes:
        if (space := spaces.get(sandbox.uid)) is not None:
            used = sorted(space.layers.items())
            layers += [({"container": name} | _labels(sandbox), float(one.used)) for name, one in used]
    yield from family("container_fs_usage_bytes", "gauge", "Bytes in the writable layer.", layers, when)


def _by_uid(sample: Sample) -> Iterator[tuple[str, Labels, Usage]]:
    for sandbox in sample.sandboxes:
        if (usage := sample.pods.get(sandbox.uid)) is not None:
            yield sandbox.uid, _labels(sandbox), usage


def _network(sample: Sample, when: int) -> Iterator[str]:
    found = []
    for sandbox in sample.sandboxes:
        if statuses := sample.statuses.get(sandbox.uid):
            links = kernel.interfaces(statuses[0].pid)
            found += [(_labels(sandbox) | {"interface": link.name}, link) for link in links]
    for way, word in (("receive", "rx"), ("transmit", "tx")):
        for name in ("bytes", "packets", "errors", "packets_dropped"):
            key = f"{word}_{name.removeprefix('packets_')}"
            values = [(labels, float(getattr(link, key))) for labels, link in found]
            family_name = f"container_network_{way}_{name}_total"
            yield from family(family_name, "counter", f"Network {way}: {name}.", values, when)


_OF_VOLUMES: tuple[tuple[str, Callable[[Space], int]], ...] = (
    ("capacity_bytes", lambda one: one.capacity),
    ("available_bytes", lambda one: one.available),
    ("used_bytes", lambda one: one.used),
    ("inodes", lambda one: one.inodes),
    ("inodes_free", lambda one: one.inodes_free),
    ("inodes_used", lambda one: one.inodes_used),
)


def node_metrics(sample: Sample, spaces: Mapping[str, PodSpace]) -> Iterator[str]:
    """Yield what of the kubelet's own /metrics depends on the pods: how many run, what their volumes hold.

    The kubelet tells volumes of claims alone; here all are told, by the volume's name in the pod.
    """
    running = [({"container_state": "running"}, float(sum(len(one) for one in sample.statuses.values())))]
    yield from family("kubelet_running_pods", "gauge", "Pods with a sandbox.", [({}, float(len(sample.sandboxes)))])
    yield from family("kubelet_running_containers", "gauge", "Containers, by state.", running)
    volumes: list[tuple[Labels, Space]] = []
    for sandbox in sample.sandboxes:
        if (space := spaces.get(sandbox.uid)) is not None:
            volumes += [(_labels(sandbox) | {"volume": name}, one) for name, one in sorted(space.volumes.items())]
    for name, value in _OF_VOLUMES:
        samples = [(labels, float(value(one))) for labels, one in volumes]
        yield from family(f"podstead_volume_stats_{name}", "gauge", "Of a pod's volume.", samples)
