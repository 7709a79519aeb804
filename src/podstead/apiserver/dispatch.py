"""From an authorized request to the verb that answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiohttp import web

from podstead.apiserver import computed, forward, health, issuer, logs, monitoring, proxy, reads, scale, usage, writes
from podstead.apiserver.answers import Answer, of_object
from podstead.apiserver.authorization import Authorizer
from podstead.apiserver.call import Call
from podstead.apiserver.discovery import Discovery
from podstead.apiserver.health import Check, Health
from podstead.apiserver.openapi import OpenApi
from podstead.apiserver.request import method_not_allowed, text
from podstead.apiserver.reviews import Reviews
from podstead.apiserver.target import Target, find
from podstead.metrics import Histogram
from podstead.objects import kinds
from podstead.objects.errors import path_not_found
from podstead.registry.registry import Registry
from podstead.registry.watch import Watch
from podstead.streams.dialer import NodeDialer

Verb = Callable[[Call, Target], Awaitable[Answer]]

_VERBS: dict[str, Verb] = {
    "get": reads.get,
    "list": reads.list_,
    "create": writes.create,
    "update": writes.update,
    "patch": writes.patch,
    "delete": writes.delete,
    "deletecollection": writes.delete_collection,
}
_STREAMED = ("log", forward.SUBRESOURCE, *proxy.SUBRESOURCES)
_DEPRECATED = {"endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"}
_HEALTH = ("healthz", "livez", "readyz")


class Dispatcher:
    """Knows all paths. `watches` are those that are open; closing one ends its answer in good order."""

    def __init__(
        self,
        registry: Registry,
        dialer: NodeDialer,
        checks: Health,
        authorizer: Authorizer,
        components: Mapping[str, Check],
        requests: monitoring.Requests,
        metrics: Sequence[Histogram] = (),
    ) -> None:
        self.watches: set[Watch] = set()
        self._registry = registry
        self._dialer = dialer
        self._health = checks
        self._reviews = Reviews(authorizer, registry.tokens)
        self._computed = computed.Computed(registry, components)
        self._usage = usage.UsageApi(registry, dialer)
        self._discovery = Discovery((*kinds.DISCOVERED, *usage.RESOURCES))
        self._monitoring = monitoring.Monitoring(requests, lambda: len(self.watches), metrics)
        self._openapi = OpenApi(kinds.DISCOVERED)

    async def dispatch(self, call: Call) -> Answer | web.StreamResponse:
        """Answer a request. Raises StatusError."""
        if call.info.is_resource:
            return await self._resource(call)
        return await self._other(call)

    def is_streaming(self, call: Call) -> bool:
        """Tell whether the answer may take as long as the client likes."""
        info = call.info
        return info.is_resource and (info.verb == "watch" or info.subresource in _STREAMED)

    async def _resource(self, call: Call) -> Answer | web.StreamResponse:
        info = call.info
        if (review := kinds.review_by_path(info.group, info.version, info.resource)) is not None:
            return await self._reviews.answer(call, review)
        if (shown := kinds.computed_by_path(info.group, info.version, info.resource)) is not None:
            return await self._computed.answer(call, shown)
        if info.group == usage.GROUP:
            return await self._usage.answer(call)
        target = find(self._registry, info)
        if deprecated := _DEPRECATED.get(target.info.resource):
            call.context.warnings.append(deprecated)
        if call.info.subresource == forward.SUBRESOURCE:
            return await forward.serve(call, target, self._registry, self._dialer)
        if call.info.verb == "watch":
            return await reads.watch(call, target, self.watches)
        if call.info.subresource == "log":
            return await logs.serve(call, await target.registry.get(target.namespace, target.name), self._dialer)
        if call.info.subresource in proxy.SUBRESOURCES:
            return await proxy.serve(call, await target.registry.get(target.namespace, target.name), self._dialer)
        if info.subresource == "scale":
            return await scale.serve(call, target)
        if target.subresource and call.info.verb == "create":
            return await writes.create_subresource(call, target)
        return await _VERBS[call.info.verb](call, target)

    async def _other(self, call: Call) -> Answer:
        path, first = call.info.path, call.info.path.split("/")[1]
        known = first in ("", "api", "apis", "openapi", "version", *_HEALTH) or path in (*issuer.PATHS, monitoring.PATH)
        if not known:
            raise path_not_found()
        if call.info.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        if path == "/":
            return of_object({"paths": self._paths()})
        if path in issuer.PATHS:
            tokens = self._registry.tokens
            return issuer.answer(path, tokens.keys if tokens else None, call.request.headers.get("Host", ""))
        if path == monitoring.PATH:
            return self._monitoring.answer()
        if path == "/version":
            return health.version()
        if first in _HEALTH:
            return self._health.answer(call.info)
        if first in ("api", "apis"):
            return self._discovery.answer(path, call.accept, call.request.headers.get("Host", ""))
        if first == "openapi":
            return await self._openapi.answer(path, call.accept, text(call.info.query, "hash"))
        raise path_not_found()

    def _paths(self) -> list[str]:
        described = [*self._discovery.paths(), *self._openapi.paths(), *self._health.paths()]
        return sorted([*described, *issuer.PATHS, monitoring.PATH, "/version"])
