"""The client protocol: what a component (node agent, controller, scheduler) asks of an API server.

An implementation carries an identity; what it writes is admitted under that. Objects are plain decoded JSON
(`dict`). They are shared with caches: NEVER change one in place, copy what you change (`copy.deepcopy`, or build
a new dict along the path).

Resources are named as `kubectl` names them in full: `pods`, `nodes`, `leases.coordination.k8s.io`.
Every method raises `podstead.objects.errors.StatusError` where the API answers with a failure Status.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from podstead.objects.exchange import (
    EventType,
    Metadata,
    MetadataEvent,
    MetadataList,
    Object,
    ObjectList,
    PatchType,
    WatchEvent,
)

__all__ = [
    "Client",
    "EventType",
    "Metadata",
    "MetadataEvent",
    "MetadataList",
    "Object",
    "ObjectList",
    "PatchType",
    "WatchEvent",
]


class Client(Protocol):
    """See the module's docstring for what holds for all methods."""

    async def get(self, resource: str, name: str, namespace: str = "") -> Object: ...

    async def list(
        self, resource: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> ObjectList: ...

    def watch(
        self,
        resource: str,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """Yield every change after `resource_version`, in order, none twice, until the iterator is closed.

        Raises StatusError 410 (Expired) when the revision is no longer kept or this watcher was too slow: list again.
        """
        ...

    async def get_metadata(self, resource: str, name: str, namespace: str = "") -> Metadata:
        """As `get`, for who needs no more than metadata: cheaper, and nothing of the object stays in memory."""
        ...

    async def list_metadata(self, resource: str, namespace: str = "") -> MetadataList: ...

    def watch_metadata(self, resource: str, *, resource_version: str) -> AsyncIterator[MetadataEvent]:
        """As `watch`, over all namespaces."""
        ...

    async def create(self, resource: str, obj: Object, namespace: str = "") -> Object: ...

    async def update(self, resource: str, obj: Object, *, subresource: str = "") -> Object:
        """Replace by metadata.namespace and metadata.name; 409 if metadata.resourceVersion is set and not current."""
        ...

    async def patch(
        self,
        resource: str,
        name: str,
        namespace: str,
        patch: Any,
        *,
        patch_type: PatchType = PatchType.MERGE,
        subresource: str = "",
    ) -> Object: ...

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
        """Delete; returns the object as it is after (a pod that ends gracefully) or was.

        `uid` and `resource_version` are preconditions (409); `propagation_policy` is Background, Foreground, Orphan or
        the default of the kind.
        """
        ...

    async def create_subresource(
        self, resource: str, name: str, namespace: str, subresource: str, obj: Object
    ) -> Mapping[str, Any]:
        """POST to a subresource: pods/binding, pods/eviction, serviceaccounts/token."""
        ...
