"""Samples of what containers use, taken when somebody asks: the last two within a minute and a half give a rate.

Nobody asks, nothing is done. Who asks first waits a second for the second sample.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from podstead import clock
from podstead.node.runtime.base import ContainerState, ContainerStatus, Runtime, SandboxStatus
from podstead.node.runtime.cgroups import ROOT, Cgroups
from podstead.node.stats import kernel
from podstead.node.stats.kernel import Usage
from podstead.paths import Paths

_OLDEST = 90.0
"""Seconds after which a sample says nothing about now."""
_SPACING = 5.0
"""Seconds that lie between two samples that are kept."""
_FIRST = 1.0
"""Seconds over which a rate is measured where there is no sample yet."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was used at one moment: `at` by the monotonic clock, seconds; `time` in seconds since 1970."""

    at: float
    time: float
    node: Usage
    pods: Mapping[str, Usage]
    """By uid."""
    containers: Mapping[str, Usage]
    """By container id; those that run."""
    sandboxes: Sequence[SandboxStatus]
    statuses: Mapping[str, Sequence[ContainerStatus]]
    """The containers that run, by their pod's uid."""


@dataclass(frozen=True, slots=True)
class Rates:
    """A sample, and the processor time used between an earlier one and it: nanoseconds a second (nanocores)."""

    sample: Sample
    window: float
    """Seconds between the two."""
    node: int
    pods: Mapping[str, int] = field(default_factory=dict)
    containers: Mapping[str, int] = field(default_factory=dict)


class Sampler:
    """Samples one instance's pods and their node."""

    def __init__(self, runtime: Runtime, paths: Paths) -> None:
        self._runtime = runtime
        self._cgroups = Cgroups(paths.cgroup, ROOT)
        self._kept: list[Sample] = []
        self._lock = asyncio.Lock()

    async def sample(self) -> Sample:
        """Take a sample."""
        statuses: dict[str, list[ContainerStatus]] = {}
        for status in await self._runtime.list_containers():
            if status.state is ContainerState.RUNNING:
                statuses.setdefault(status.pod_uid, []).append(status)
        sandboxes = [one for one in await self._runtime.list_sandboxes() if one.ready]
        return await asyncio.to_thread(self._read, statuses, sandboxes)

    def _read(self, statuses: Mapping[str, Sequence[ContainerStatus]], sandboxes: Sequence[SandboxStatus]) -> Sample:
        pods, containers, unified = {}, {}, self._cgroups.unified
        for uid, running in statuses.items():
            path = self._cgroups.pod_path(uid)
            if (usage := kernel.group_usage(path, unified=unified)) is not None:
                pods[uid] = usage
            for status in running:
                usage = kernel.group_usage(f"{path}/{status.id}", unified=unified)
                if usage is not None:
                    containers[status.id] = usage
        at, time = clock.monotonic(), clock.now().timestamp()
        return Sample(at, time, kernel.node_usage(unified=unified), pods, containers, sandboxes, statuses)

    async def rates(self) -> Rates:
        """Return what is used now; waits a second where nobody has asked lately."""
        async with self._lock:
            sample = await self.sample()
            self._kept = [one for one in self._kept if sample.at - one.at <= _OLDEST]
            before = [one for one in self._kept if sample.at - one.at >= _FIRST]
            if not before:
                self._kept.append(sample)
                await asyncio.sleep(_FIRST - (sample.at - self._kept[0].at))
                before, sample = self._kept[:1], await self.sample()
            earlier = next((one for one in reversed(before) if sample.at - one.at >= _SPACING), before[0])
            if sample.at - self._kept[-1].at >= _SPACING:
                self._kept.append(sample)
        return _rates(earlier, sample)


def _rates(earlier: Sample, later: Sample) -> Rates:
    seconds = later.at - earlier.at
    node = round((later.node.cpu - earlier.node.cpu) / seconds)
    pods = {uid: _rate(earlier.pods.get(uid), usage, seconds) for uid, usage in later.pods.items()}
    containers = {}
    for status in (status for running in later.statuses.values() for status in running):
        usage, before, span = later.containers.get(status.id), earlier.containers.get(status.id), seconds
        if usage is None:
            continue
        if before is None and status.started_at is not None:
            # It has started since: all that it has used, over the time that it has had.
            span = max(later.time - status.started_at.timestamp(), 0.01)
        containers[status.id] = _rate(before, usage, span)
    return Rates(later, seconds, max(node, 0), pods, containers)


def _rate(earlier: Usage | None, later: Usage, seconds: float) -> int:
    used = later.cpu - (earlier.cpu if earlier is not None else 0)
    return max(round(used / seconds), 0)
