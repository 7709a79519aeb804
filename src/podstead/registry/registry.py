"""The registry: all resources over one store, their caches fed by its commits, and what runs once a minute."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from podstead import clock
from podstead.objects.exchange import EventType
from podstead.objects.kinds import SERVED, VIEWS, ResourceInfo
from podstead.objects.user import UserInfo
from podstead.registry.admission import Chain, default_chain
from podstead.registry.cache import WINDOW_EVENTS, Cache
from podstead.registry.client import RegistryClient
from podstead.registry.core import ROOT, Core, Lost, key_prefix
from podstead.registry.options import ListOptions
from podstead.registry.resource import ResourceRegistry
from podstead.registry.strategies.events import expired
from podstead.registry.tokens import ServiceAccountTokens
from podstead.registry.views import View
from podstead.registry.watch import Change
from podstead.store.base import Commit, KeyValue, Store
from podstead.tokens import TokenKeys

log = logging.getLogger(__name__)

Object = dict[str, Any]

TICK_SECONDS = 60.0
"""How often bookmarks are sent and expired events removed: one timer for all."""


_LOAD_STEP = 5000
"""Objects read at once when the caches are filled."""


def _prefix(key: str) -> str:
    """/registry/GROUP/PLURAL/ of a key."""
    return key[: key.index("/", key.index("/", len(ROOT)) + 1) + 1]


class Registry:
    """All resources in `infos` over `store`, which the caller opens before (or `start` does) and closes after.

    Everything runs on one event loop. After `start` the caches hold what the store held; from then on a commit is
    visible in every cache before its writer is answered.
    """

    def __init__(
        self,
        store: Store,
        infos: Sequence[ResourceInfo] = SERVED,
        *,
        token_keys: TokenKeys | None = None,
        tick_seconds: float = TICK_SECONDS,
        window_events: int = WINDOW_EVENTS,
    ) -> None:
        self.store = store
        self._window_events = window_events
        admission = default_chain(self)
        self._cores = {info.resource: self._core(info, admission) for info in infos}
        self._by_prefix = {core.cache.prefix: core for core in self._cores.values()}
        self.tokens = ServiceAccountTokens(token_keys, self) if token_keys is not None else None
        """Issues and checks the tokens of service accounts; None where there is no key to sign them."""
        for core in self._cores.values():
            core.tokens = self.tokens
            core.siblings = self._cores
        self._resources = {name: ResourceRegistry(core) for name, core in self._cores.items()}
        self._views = {
            (info.group, info.version, info.plural): ResourceRegistry(View(info, self._cores[info.stored_as.resource]))
            for info in VIEWS
            if info.stored_as is not None and info.stored_as.resource in self._cores
        }
        self._tick_seconds = tick_seconds
        self._ticker: asyncio.Task[None] | None = None
        self._subscribed = False

    def _core(self, info: ResourceInfo, admission: Chain) -> Core:
        cache = Cache(info, key_prefix(info), window_events=self._window_events)
        return Core(info, self.store, cache, admission)

    @property
    def resources(self) -> Mapping[str, ResourceRegistry]:
        """By full name (`pods`, `leases.coordination.k8s.io`), in the version that is stored."""
        return self._resources

    def at(self, info: ResourceInfo) -> ResourceRegistry:
        """Return a resource in the very version of `info`. Raises KeyError."""
        if info.stored_as is None:
            return self._resources[info.resource]
        return self._views[info.group, info.version, info.plural]

    @property
    def revision(self) -> int:
        """The store's revision up to which all caches are current."""
        return self.store.revision

    def client(self, user: UserInfo) -> RegistryClient:
        """Return a client that acts as `user`."""
        return RegistryClient(self._resources, user)

    async def start(self) -> None:
        """Load the caches; nobody may write to the store before this returns."""
        await self.store.open()
        if not self._subscribed:
            self.store.subscribe(self._apply)
            self._subscribed = True
        await self._load()
        self._ticker = asyncio.create_task(self._tick(), name="registry-tick")

    async def _load(self) -> None:
        """Fill the caches in few reads, however many resources there are: most of them have no object."""
        last = ""
        while True:
            page = await self.store.list(ROOT, after=last, limit=_LOAD_STEP)
            found: dict[str, list[KeyValue]] = {}
            for item in page.items:
                found.setdefault(_prefix(item.key), []).append(item)
            for prefix, core in self._by_prefix.items():
                core.cache.load(found.get(prefix, ()), page.revision)
            if not page.remaining:
                return
            last = page.items[-1].key

    async def close(self) -> None:
        """End all watches. The store stays open: it is the caller's."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
            self._ticker = None
        for core in self._cores.values():
            core.cache.close()

    # -- commits

    def _apply(self, commits: Sequence[Commit]) -> None:
        """Bring all caches to the last commit's revision, then tell the watchers."""
        touched: dict[str, list[Commit]] = {}
        for commit in commits:
            touched.setdefault(_prefix(commit.key), []).append(commit)
        changed: list[tuple[Cache, list[Change]]] = []
        for prefix, mine in touched.items():
            core = self._by_prefix.get(prefix)
            if core is not None:
                changed.append((core.cache, core.cache.apply(mine)))
        revision = commits[-1].revision
        for core in self._cores.values():
            core.cache.revision = revision
        for cache, changes in changed:
            cache.notify(changes)

    # -- once a minute

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._tick_seconds)
            try:
                now = clock.monotonic()
                for core in self._cores.values():
                    core.cache.trim(now)
                    core.cache.send_bookmarks()
                await self.expire_events()
                for core in self._cores.values():
                    core.cache.slim()
            except Exception:
                log.exception("the registry's minute failed")

    async def expire_events(self) -> None:
        """Remove events whose time is over, in one commit."""
        core = self._cores.get("events")
        if core is None:
            return
        now = clock.now()
        old = [entry for entry in core.cache.scan(core.cache.prefix) if expired(entry.encoded, now)]
        outcomes = await asyncio.gather(*(core.commit_delete(entry) for entry in old), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, Lost):
                raise outcome

    # -- admission.Lookup

    def find(self, resource: str, name: str, namespace: str = "") -> Object | None:
        core = self._cores.get(resource)
        entry = core.cache.get(core.key(namespace, name)) if core is not None else None
        return entry.object if entry is not None else None

    def scan(self, resource: str, namespace: str = "") -> Iterable[Object]:
        core = self._cores.get(resource)
        return (entry.object for entry in core.cache.scan(core.scope(namespace))) if core is not None else ()

    async def wait_for(self, resource: str, name: str, namespace: str, timeout: float) -> Object | None:
        options = ListOptions(field_selector=f"metadata.name={name}", timeout_seconds=timeout)
        async with self._resources[resource].watch(namespace, options) as watch:
            async for event in watch:
                if event.type in (EventType.ADDED, EventType.MODIFIED):
                    return event.object
        return None
