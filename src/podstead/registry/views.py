"""One resource in another version: the same objects in the same store and cache, converted as they come and go.

Reads are converted where they are rendered (`shown`): a list, a watch and a delete hand out the stored form. What is
written is checked, defaulted and patched in the version of the request, and converted for the commit.
"""

from __future__ import annotations

from podstead.objects.conversion import from_stored, to_stored
from podstead.objects.kinds import ResourceInfo
from podstead.registry.core import Core, Object
from podstead.registry.entry import Codec, Entry, unstored


class View(Core):
    """The core of a resource that is stored as another one, `stored`."""

    def __init__(self, info: ResourceInfo, stored: Core) -> None:
        super().__init__(info, stored.store, stored.cache, stored.admission)
        self.codec = Codec(info)
        self._stored = stored

    def find(self, namespace: str, name: str) -> Entry | None:
        entry = super().find(namespace, name)
        return entry if entry is None else shown(self.info, entry)

    async def commit_create(self, key: str, obj: Object) -> Entry:
        return shown(self.info, await self._stored.commit_create(key, to_stored(self.info, obj)))

    async def commit_update(self, old: Entry, obj: Object) -> Entry:
        return shown(self.info, await self._stored.commit_update(old, to_stored(self.info, obj)))

    async def commit_delete(self, old: Entry, final: Object | None = None) -> Entry:
        last = to_stored(self.info, old.object if final is None else final)
        return shown(self.info, await self._stored.commit_delete(old, last))


def shown(info: ResourceInfo, entry: Entry) -> Entry:
    """Return an entry as `info` has it: itself where it is that already, or no object of the stored kind (a Status)."""
    stored = info.stored_as
    if stored is None:
        return entry
    obj = entry.object
    if (obj.get("apiVersion"), obj.get("kind")) != (stored.api_version, stored.kind):
        return entry
    if obj.keys() <= {"apiVersion", "kind", "metadata"}:
        made = {**obj, "apiVersion": info.api_version, "kind": info.kind}
    else:
        made = from_stored(info, obj)
    codec = Codec(info)
    if not entry.splice:
        # Of a dry run, or a bookmark: its resourceVersion is its own.
        return unstored(codec.ordered(made, made["metadata"].get("resourceVersion", "")))
    return codec.entry(entry.key, entry.revision, codec.stored(made))


def kept(info: ResourceInfo, entry: Entry) -> Object:
    """Return the object of an entry in its stored form, whichever of the two the entry is in."""
    obj = entry.object
    if info.stored_as is None or (obj.get("apiVersion"), obj.get("kind")) != (info.api_version, info.kind):
        return obj
    return to_stored(info, obj)
