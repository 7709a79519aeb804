"""What all verbs of one resource share: its cache, strategy, admission and store, and how a write is committed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from podstead.objects import errors
from podstead.objects.kinds import ResourceInfo
from podstead.registry.admission import Attributes, Chain, Operation
from podstead.registry.cache import Cache
from podstead.registry.entry import Entry
from podstead.registry.options import RequestContext
from podstead.registry.strategies import strategy_for
from podstead.registry.strategies.base import Strategy
from podstead.store.base import KeyExists, KeyMissing, RevisionMismatch, Store, StoreError

if TYPE_CHECKING:
    from podstead.registry.tokens import ServiceAccountTokens

Object = dict[str, Any]

ATTEMPTS = 16
"""How often a write that says nothing of a revision is tried again after losing to another."""


class Lost(Exception):
    """Another write came first; the cache has it already, so that the next attempt sees it."""


ROOT = "/registry/"


def key_prefix(info: ResourceInfo) -> str:
    return f"{ROOT}{info.group or 'core'}/{info.plural}/"


class Core:
    """One resource. Keys are /registry/GROUP-or-core/PLURAL/[NAMESPACE/]NAME."""

    def __init__(self, info: ResourceInfo, store: Store, cache: Cache, admission: Chain) -> None:
        self.info = info
        self.store = store
        self.cache = cache
        self.codec = cache.codec
        self.admission = admission
        self.strategy: Strategy = strategy_for(info)
        self.tokens: ServiceAccountTokens | None = None
        self.siblings: Mapping[str, Core] = {}
        """All resources of the registry by full name, for what one does to another."""

    # -- keys

    def key(self, namespace: str, name: str) -> str:
        return f"{self.scope(namespace)}{name}"

    def scope(self, namespace: str) -> str:
        """Return the prefix of the keys in `namespace` (empty: in all)."""
        return f"{self.cache.prefix}{namespace}/" if self.info.namespaced and namespace else self.cache.prefix

    # -- reading

    def find(self, namespace: str, name: str) -> Entry | None:
        if self.info.namespaced and not namespace:
            raise errors.bad_request("an empty namespace may not be set when a resource name is provided")
        return self.cache.get(self.key(namespace, name))

    def current(self, namespace: str, name: str) -> Entry:
        """Return the present object; raises StatusError 404."""
        entry = self.find(namespace, name)
        if entry is None:
            raise errors.not_found(self.info.plural, name, self.info.group)
        return entry

    # -- errors

    def conflict(self, name: str, why: str = errors.MODIFIED) -> errors.StatusError:
        return errors.conflict(self.info.plural, name, why, self.info.group)

    def invalid(self, name: str, causes: list[errors.FieldError]) -> errors.StatusError:
        return errors.invalid(self.info.kind, name, causes, self.info.group)

    # -- writing

    def attributes(
        self,
        ctx: RequestContext,
        operation: Operation,
        namespace: str,
        name: str,
        *,
        dry_run: bool,
        subresource: str = "",
    ) -> Attributes:
        return Attributes(operation, self.info, subresource, namespace, name, None, None, ctx.user, dry_run)

    async def commit_create(self, key: str, obj: Object) -> Entry:
        """Raises Lost if the key is there."""
        value = self.codec.stored(obj)
        try:
            revision = await self.store.create(key, value)
        except KeyExists as error:
            raise Lost from error
        except StoreError as error:
            raise errors.internal_error(str(error)) from error
        return self._written(key, revision, value)

    async def commit_update(self, old: Entry, obj: Object) -> Entry:
        """Raises Lost if `old` is no longer the present state."""
        value = self.codec.stored(obj)
        try:
            revision = await self.store.update(old.key, value, old.revision)
        except (KeyMissing, RevisionMismatch) as error:
            raise Lost from error
        except StoreError as error:
            raise errors.internal_error(str(error)) from error
        return self._written(old.key, revision, value)

    async def commit_delete(self, old: Entry, final: Object | None = None) -> Entry:
        """Return the last state (`final`, else `old`) at the removal's revision. Raises as commit_update."""
        try:
            revision = await self.store.delete(old.key, old.revision)
        except (KeyMissing, RevisionMismatch) as error:
            raise Lost from error
        except StoreError as error:
            raise errors.internal_error(str(error)) from error
        if final is None:
            return old.at(revision)
        return self.codec.entry(old.key, revision, self.codec.stored(final))

    def _written(self, key: str, revision: int, value: bytes) -> Entry:
        # Normally the cache's own entry; a write that followed at once may have taken its place already.
        cached = self.cache.get(key)
        if cached is not None and cached.revision == revision:
            return cached
        return self.codec.entry(key, revision, value)
