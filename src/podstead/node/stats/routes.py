"""The paths of the node's server that tell what is used: the kubelet's own, and one for the API server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from podstead import clock
from podstead.metrics import CONTENT_TYPE, encode, family, process_families
from podstead.node.phases import DURATIONS
from podstead.node.runtime.base import Runtime
from podstead.paths import Paths

if TYPE_CHECKING:
    from podstead.node.stats.disk import Disk
    from podstead.node.stats.sampler import Sampler
    from podstead.node.stats.summary import Summary

ProbeCounts = Callable[[], Iterable[tuple[dict[str, str], int]]]
"""How often each probe came to each result, with the labels of prober_probe_total."""


class StatsRoutes:
    """Answers for the node `name`; what it tells is read when it is asked for."""

    def __init__(self, name: str, runtime: Runtime, paths: Paths, probes: ProbeCounts) -> None:
        self._name = name
        self._runtime = runtime
        self._paths = paths
        self._probes = probes
        self._since = clock.now()

    # Made when somebody asks first: a start needs neither their modules nor their time.

    @cached_property
    def _sampler(self) -> Sampler:
        from podstead.node.stats.sampler import Sampler

        return Sampler(self._runtime, self._paths)

    @cached_property
    def _disk(self) -> Disk:
        from podstead.node.stats.disk import Disk

        return Disk(self._paths)

    @cached_property
    def _summary(self) -> Summary:
        from podstead.node.stats.summary import Summary

        return Summary(self._name, self._since, self._sampler, self._disk)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the paths."""
        router.add_get("/stats/summary", self._document)
        router.add_get("/stats/usage", self._usage)
        router.add_get("/metrics", self._metrics)
        router.add_get("/metrics/resource", self._resource)
        router.add_get("/metrics/cadvisor", self._cadvisor)
        router.add_get("/metrics/probes", self._prober)

    async def _document(self, request: web.Request) -> web.StreamResponse:
        brief = request.query.get("only_cpu_and_memory", "").lower() in ("1", "t", "true")
        return _json(await self._summary.document(brief=brief))

    async def _usage(self, _: web.Request) -> web.StreamResponse:
        return _json(await self._summary.usage())

    async def _metrics(self, _: web.Request) -> web.StreamResponse:
        from podstead.node.stats import exposition

        sample = await self._sampler.sample()
        spaces = await self._disk.measure(sample.statuses)
        return _text([*exposition.node_metrics(sample, spaces), *DURATIONS.text(), *process_families()])

    async def _resource(self, _: web.Request) -> web.StreamResponse:
        from podstead.node.stats import exposition

        return _text(exposition.resource_metrics(await self._sampler.sample()))

    async def _cadvisor(self, _: web.Request) -> web.StreamResponse:
        from podstead.node.stats import exposition

        sample = await self._sampler.sample()
        return _text(exposition.cadvisor_metrics(sample, await self._disk.measure(sample.statuses)))

    async def _prober(self, _: web.Request) -> web.StreamResponse:
        return _text(self._probe_lines())

    def _probe_lines(self) -> Iterator[str]:
        counts = [(labels, float(count)) for labels, count in self._probes()]
        yield from family("prober_probe_total", "counter", "Probes of a container, by kind and result.", counts)


def _json(document: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")


def _text(lines: Iterable[str]) -> web.Response:
    return web.Response(body=encode(lines), headers={"Content-Type": CONTENT_TYPE})
