"""Entries to answer bytes in the form that was negotiated: the object itself, a table, or its metadata alone.

Objects and lists are made of the registry's encoded bytes; nothing is decoded or encoded again for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from podstead import clock
from podstead.apiserver import tables
from podstead.apiserver.negotiation import Accepted, Form, negotiate
from podstead.apiserver.request import text
from podstead.apiserver.tables import base
from podstead.objects.errors import bad_request
from podstead.objects.exchange import EventType
from podstead.objects.kinds import ResourceInfo
from podstead.registry.entry import Entry
from podstead.registry.views import kept, shown
from podstead.registry.watch import Event

_FOR_OBJECT = frozenset({Form.OBJECT, Form.TABLE, Form.PARTIAL})
_FOR_LIST = frozenset({Form.OBJECT, Form.TABLE, Form.PARTIAL_LIST})
_INCLUDES = ("None", "Metadata", "Object")


class Renderer:
    """Renders objects of one resource for one request."""

    def __init__(self, resource: ResourceInfo, accepted: Accepted, include: str = "Metadata") -> None:
        self.resource = resource
        self.accepted = accepted
        self._include = include
        printed = resource.stored_as or resource
        self._table = tables.for_resource(printed.group, printed.plural) if accepted.form is Form.TABLE else None
        self._started = False

    @classmethod
    def of(
        cls,
        resource: ResourceInfo,
        accept: str,
        query: Mapping[str, list[str]],
        *,
        many: bool = False,
        streamed: bool = False,
    ) -> Renderer:
        """Negotiate for a list (`many`), a watch (`streamed`) or one object. Raises StatusError 400, 406."""
        accepted = negotiate(accept, _FOR_LIST if many else _FOR_OBJECT, streamed=streamed)
        include = text(query, "includeObject") or "Metadata"
        if accepted.form is Form.TABLE and include not in _INCLUDES:
            raise bad_request(f'unrecognized includeObject value: "{include}"')
        return cls(resource, accepted, include)

    def one(self, entry: Entry) -> bytes:
        """Return one object. A Status (the answer of some deletes) stays what it is."""
        if self.accepted.form is Form.OBJECT or entry.object.get("kind") != self.resource.kind:
            return shown(self.resource, entry).encoded
        if self._table is None:
            return base.partial_object(entry.object, self.accepted.api_version)
        version = entry.object.get("metadata", {}).get("resourceVersion", "")
        return self._encode_table({"resourceVersion": version}, [entry], self._table.definitions())

    def many(self, entries: Sequence[Entry], list_meta: Mapping[str, Any]) -> bytes:
        """Return a list; `list_meta` is its metadata (resourceVersion, continue, remainingItemCount)."""
        if self._table is not None:
            return self._encode_table(list_meta, entries, self._table.definitions())
        if self.accepted.form is Form.PARTIAL_LIST:
            kind, api_version = "PartialObjectMetadataList", self.accepted.api_version
            items = [base.partial_object(entry.object, api_version) for entry in entries]
        else:
            kind, api_version = self.resource.list_kind, self.resource.api_version
            if self.resource.stored_as is not None:
                entries = [shown(self.resource, entry) for entry in entries]
            items = [entry.encoded for entry in entries]
        metadata = msgspec.json.encode(list_meta)
        names = kind.encode(), api_version.encode()
        head = b'{"kind":"%s","apiVersion":"%s","metadata":%s,"items":[' % (*names, metadata)
        if not items:
            return head + b"]}"
        # Joined once: a list of thousands is megabytes, and each `+` would copy them all.
        items[0] = head + items[0]
        items[-1] += b"]}"
        return b",".join(items)

    def event(self, event: Event) -> bytes:
        """Return one line of a watch. Column definitions are in the first event only, as in Kubernetes."""
        if self.accepted.form is Form.OBJECT or event.type is EventType.ERROR:
            if self.resource.stored_as is not None:
                return Event(event.type, shown(self.resource, event.entry)).encoded()
            return event.encoded()
        if self._table is None:
            rendered = base.partial_object(event.object, self.accepted.api_version)
        else:
            definitions = base.NO_COLUMNS if self._started else self._table.definitions()
            self._started = True
            version = event.object["metadata"].get("resourceVersion", "")
            rendered = self._encode_table({"resourceVersion": version}, [event.entry], definitions)
        return b'{"type":"%s","object":%s}\n' % (event.type.encode(), rendered)

    def _encode_table(self, list_meta: Mapping[str, Any], entries: Sequence[Entry], definitions: bytes) -> bytes:
        assert self._table is not None
        now, order = clock.now(), self._table.order
        if order is not None:
            entries = sorted(entries, key=lambda entry: order(entry.object))
        rows = [self._table.row(kept(self.resource, entry), now, self._included(entry)) for entry in entries]
        return base.encode(self.accepted.api_version, msgspec.json.encode(list_meta), definitions, rows)

    def _included(self, entry: Entry) -> bytes:
        if self._include == "None":
            return b"null"
        if self._include == "Object":
            return shown(self.resource, entry).encoded
        return base.partial_object(entry.object, self.accepted.api_version)
