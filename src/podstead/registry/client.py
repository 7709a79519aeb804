"""The registry as the client of components in the same process: the same verbs, admission included, no bytes between.

Satisfies `podstead.client.base.Client` structurally. What is returned are the caches' own decoded objects, shared by
all: never to be changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podstead.objects import errors
from podstead.objects.exchange import (
    EventType,
    Metadata,
    MetadataEvent,
    MetadataList,
    Object,
    ObjectList,
    PatchType,
    WatchEvent,
    decode_metadata,
)
from podstead.objects.user import UserInfo
from podstead.registry.delete import remove
from podstead.registry.options import DeleteOptions, ListOptions, PatchRequest, RequestContext, WriteOptions
from podstead.registry.ownership import name_of_user
from podstead.registry.resource import ResourceRegistry
from podstead.registry.watch import Event, Watch

_STRICT = WriteOptions(field_validation="Strict")
"""A component that sends a field which is not there has a fault: it must not go unnoticed."""


class RegistryClient:
    """Acts as one user. Made by `Registry.client`."""

    def __init__(self, resources: Mapping[str, ResourceRegistry], user: UserInfo) -> None:
        self._resources = resources
        self._user = user

    @property
    def _context(self) -> RequestContext:
        return RequestContext(self._user, manager=name_of_user(self._user))

    def _resource(self, name: str) -> ResourceRegistry:
        resource = self._resources.get(name)
        if resource is None:
            raise errors.path_not_found()
        return resource

    async def get(self, resource: str, name: str, namespace: str = "") -> Object:
        return (await self._resource(resource).get(namespace, name)).object

    async def list(
        self, resource: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> ObjectList:
        options = ListOptions(label_selector=label_selector, field_selector=field_selector)
        listing = await self._resource(resource).list(namespace, options)
        return ObjectList([entry.object for entry in listing.items], str(listing.revision))

    def watch(
        self,
        resource: str,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> ClientWatch:
        options = ListOptions(
            label_selector=label_selector, field_selector=field_selector, resource_version=resource_version
        )
        return ClientWatch(self._resource(resource).watch(namespace, options))

    async def get_metadata(self, resource: str, name: str, namespace: str = "") -> Metadata:
        return decode_metadata((await self._resource(resource).get(namespace, name)).encoded)

    async def list_metadata(self, resource: str, namespace: str = "") -> MetadataList:
        listing = await self._resource(resource).list(namespace, ListOptions())
        return MetadataList([decode_metadata(entry.encoded) for entry in listing.items], str(listing.revision))

    def watch_metadata(self, resource: str, *, resource_version: str) -> MetadataWatch:
        return MetadataWatch(self._resource(resource).watch("", ListOptions(resource_version=resource_version)))

    async def create(self, resource: str, obj: Object, namespace: str = "") -> Object:
        target = self._resource(resource)
        if target.info.namespaced:
            namespace = namespace or (obj.get("metadata") or {}).get("namespace", "")
        return (await target.create(self._context, namespace, obj, _STRICT)).object

    async def update(self, resource: str, obj: Object, *, subresource: str = "") -> Object:
        metadata = obj.get("metadata") or {}
        name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
        entry = await self._resource(resource).update(self._context, namespace, name, obj, subresource, _STRICT)
        return entry.object

    async def patch(
        self,
        resource: str,
        name: str,
        namespace: str,
        patch: Any,
        *,
        patch_type: PatchType = PatchType.MERGE,
        subresource: str = "",
    ) -> Object:
        request = PatchRequest(patch_type, patch)
        entry = await self._resource(resource).patch(self._context, namespace, name, request, subresource, _STRICT)
        return entry.object

    async def delete(
        self,
        resource: str,
        name: str,
        namespace: str = "",
        *,
        grace_period_seconds: int | None = None,
        uid: str = "",
        resource_version: str = "",
        propagation_policy: str = "",
    ) -> Object:
        options = DeleteOptions(
            grace_period_seconds=grace_period_seconds,
            propagation_policy=propagation_policy,
            uid=uid,
            resource_version=resource_version,
        )
        entry, _ = await remove(self._resource(resource).core, self._context, namespace, name, options)
        return entry.object

    async def create_subresource(
        self, resource: str, name: str, namespace: str, subresource: str, obj: Object
    ) -> Mapping[str, Any]:
        entry = await self._resource(resource).create_subresource(
            self._context, namespace, name, subresource, obj, _STRICT
        )
        return entry.object


class _OpenWatch:
    """What both kinds of watch share: ended by `aclose`, or when nobody holds it any more."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    async def _next(self) -> Event:
        event = await self._watch.__anext__()
        if event.type is EventType.ERROR:
            self._watch.close()
            raise errors.StatusError.from_status(event.object)
        return event

    async def aclose(self) -> None:
        self._watch.close()

    def __del__(self) -> None:
        self._watch.close()


class ClientWatch(_OpenWatch):
    """A watch as `client.base.Client.watch` describes it."""

    def __aiter__(self) -> ClientWatch:
        return self

    async def __anext__(self) -> WatchEvent:
        event = await self._next()
        return WatchEvent(event.type, event.object)


class MetadataWatch(_OpenWatch):
    """A watch as `client.base.Client.watch_metadata` describes it: objects are not decoded."""

    def __aiter__(self) -> MetadataWatch:
        return self

    async def __anext__(self) -> MetadataEvent:
        event = await self._next()
        return MetadataEvent(event.type, decode_metadata(event.entry.encoded))
