"""One resource as the API server sees it: every verb, each in a module of its own."""

from __future__ import annotations

from podstead.objects.kinds import ResourceInfo
from podstead.registry.core import Core, Object
from podstead.registry.create import create
from podstead.registry.delete import delete, delete_collection
from podstead.registry.entry import Entry
from podstead.registry.lists import Listing, fresh, list_objects, parse_revision
from podstead.registry.options import DeleteOptions, ListOptions, PatchRequest, RequestContext, WriteOptions
from podstead.registry.patch import patch
from podstead.registry.subresources import create_subresource
from podstead.registry.update import update
from podstead.registry.watch import Watch
from podstead.registry.watches import watch_objects

_WRITE = WriteOptions()
_DELETE = DeleteOptions()
_LIST = ListOptions()


class ResourceRegistry:
    """The verbs of one resource. `namespace` is empty for cluster-scoped kinds, and for lists over all namespaces.

    Every method raises `objects.errors.StatusError`. Entries and their objects are shared: never change one.
    """

    def __init__(self, core: Core) -> None:
        self.core = core

    @property
    def info(self) -> ResourceInfo:
        return self.core.info

    async def get(self, namespace: str, name: str, resource_version: str = "") -> Entry:
        """404 where it is not there. `resource_version`: not older than that."""
        await fresh(self.core, parse_revision(resource_version))
        return self.core.current(namespace, name)

    async def list(self, namespace: str, options: ListOptions = _LIST) -> Listing:
        return await list_objects(self.core, namespace, options)

    def watch(self, namespace: str, options: ListOptions = _LIST) -> Watch:
        """Close it when done (`async with`)."""
        return watch_objects(self.core, namespace, options)

    async def create(self, ctx: RequestContext, namespace: str, obj: Object, options: WriteOptions = _WRITE) -> Entry:
        return await create(self.core, ctx, namespace, obj, options)

    async def update(
        self,
        ctx: RequestContext,
        namespace: str,
        name: str,
        obj: Object,
        subresource: str = "",
        options: WriteOptions = _WRITE,
    ) -> Entry:
        return (await update(self.core, ctx, namespace, name, obj, subresource, options))[0]

    async def put(
        self,
        ctx: RequestContext,
        namespace: str,
        name: str,
        obj: Object,
        subresource: str = "",
        options: WriteOptions = _WRITE,
    ) -> tuple[Entry, bool]:
        """As `update`; also tells whether the object was created (HTTP's 201)."""
        return await update(self.core, ctx, namespace, name, obj, subresource, options)

    async def patch(
        self,
        ctx: RequestContext,
        namespace: str,
        name: str,
        request: PatchRequest,
        subresource: str = "",
        options: WriteOptions = _WRITE,
    ) -> Entry:
        return (await patch(self.core, ctx, namespace, name, request, subresource, options))[0]

    async def patch_or_create(
        self,
        ctx: RequestContext,
        namespace: str,
        name: str,
        request: PatchRequest,
        subresource: str = "",
        options: WriteOptions = _WRITE,
    ) -> tuple[Entry, bool]:
        """As `patch`; also tells whether a server-side apply created the object (HTTP's 201)."""
        return await patch(self.core, ctx, namespace, name, request, subresource, options)

    async def delete(self, ctx: RequestContext, namespace: str, name: str, options: DeleteOptions = _DELETE) -> Entry:
        """Return what the API answers: the object where it lingers or its kind says so, else a Status of success."""
        return await delete(self.core, ctx, namespace, name, options)

    async def delete_collection(
        self,
        ctx: RequestContext,
        namespace: str,
        options: DeleteOptions = _DELETE,
        which: ListOptions = _LIST,
    ) -> Listing:
        """Delete what `which` selects; return that list as it was before."""
        return await delete_collection(self.core, ctx, namespace, options, which)

    async def create_subresource(
        self,
        ctx: RequestContext,
        namespace: str,
        name: str,
        subresource: str,
        obj: Object,
        options: WriteOptions = _WRITE,
    ) -> Entry:
        """POST to pods/binding or pods/eviction: return a Status of success."""
        return await create_subresource(self.core, ctx, namespace, name, subresource, obj, options)
