"""One object at one revision, as encoded bytes and (on demand) as a decoded, shared dict.

The revision of a write is known only at its commit, in another thread, but metadata.resourceVersion is part of what
is stored and served. So the encoder puts `resourceVersion: ""` where its place is the same for all objects of a
resource: right behind apiVersion, kind and the opening of metadata. What is stored starts with

    {"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"

and a revision is put in at that offset. Nothing is ever searched for, so no value in an object can mimic it.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from podstead.objects.kinds import ResourceInfo

_encoder = msgspec.json.Encoder()
_decode = msgspec.json.Decoder().decode

encode = _encoder.encode


class _Labels(msgspec.Struct):
    labels: dict[str, str] | None = None


class _Labelled(msgspec.Struct):
    metadata: _Labels


_decode_labels = msgspec.json.Decoder(_Labelled).decode
_NO_LABELS: dict[str, str] = {}

_OWN_REFERENCES = 2
"""What sys.getrefcount counts of an object that only its entry holds: the entry's own and the call's."""


class Entry:
    """An object at `revision`. `object` is shared: never change it. `encoded` is the complete JSON object."""

    __slots__ = ("_fields", "_labels", "_object", "encoded", "key", "revision", "splice")

    def __init__(self, key: str, revision: int, encoded: bytes, splice: int = 0) -> None:
        self.key = key
        self.revision = revision
        self.encoded = encoded
        self.splice = splice
        """Offset of the first digit of the revision in `encoded`; 0 where there is none (a Status, a dry run)."""
        self._object: dict[str, Any] | None = None
        self._fields: dict[str, str] | None = None
        self._labels: dict[str, str] | None = None

    @property
    def object(self) -> dict[str, Any]:
        if self._object is None:
            self._object = _decode(self.encoded)
        return self._object

    @property
    def labels(self) -> dict[str, str]:
        """Found without decoding the rest, for whoever selects by them sees every object."""
        if self._object is not None:
            return self._object["metadata"].get("labels") or _NO_LABELS
        if self._labels is None:
            self._labels = _decode_labels(self.encoded).metadata.labels or _NO_LABELS
        return self._labels

    @property
    def name(self) -> str:
        if self.key:
            return self.key[self.key.rindex("/") + 1 :]
        name: str = self.object["metadata"].get("name", "")
        return name

    @property
    def namespace(self) -> str:
        if self.key:
            # /registry/GROUP/PLURAL/[NAMESPACE/]NAME
            parts = self.key.split("/")
            return parts[4] if len(parts) > 5 else ""
        namespace: str = self.object["metadata"].get("namespace", "")
        return namespace

    @property
    def uid(self) -> str:
        uid: str = self.object["metadata"].get("uid", "")
        return uid

    def at(self, revision: int) -> Entry:
        """Return the same object with another resourceVersion (a removal carries that of the removal)."""
        end = self.splice + len(str(self.revision))
        encoded = b"%s%d%s" % (self.encoded[: self.splice], revision, self.encoded[end:])
        return Entry(self.key, revision, encoded, self.splice)

    def slim(self) -> None:
        """Let go of the decoded object if nobody else holds it; it is decoded again when somebody asks.

        A decoded object takes ten times the memory of its bytes, and most are looked at once.
        """
        self._labels = None
        if self._object is not None and sys.getrefcount(self._object) <= _OWN_REFERENCES:
            self._object = None

    def copy(self) -> dict[str, Any]:
        """Return a private decoded copy; cheaper than deepcopy."""
        copied: dict[str, Any] = _decode(self.encoded)
        return copied


def unstored(obj: dict[str, Any]) -> Entry:
    """Wrap an object that is not in the store: a Status, the outcome of a dry run."""
    entry = Entry("", 0, encode(obj))
    entry._object = obj
    return entry


class Codec:
    """Objects of one resource to stored bytes and back to entries."""

    __slots__ = ("_head", "_splice", "api_version", "kind")

    def __init__(self, info: ResourceInfo) -> None:
        self.api_version = info.api_version
        self.kind = info.kind
        self._head = encode({"apiVersion": self.api_version, "kind": self.kind, "metadata": {"resourceVersion": ""}})
        self._splice = self._head.index(b'""') + 1
        self._head = self._head[: self._splice]

    def ordered(self, obj: dict[str, Any], resource_version: str = "") -> dict[str, Any]:
        """Return `obj` with the members in the order that stored bytes need."""
        metadata = {"resourceVersion": resource_version}
        metadata.update((name, value) for name, value in obj["metadata"].items() if name != "resourceVersion")
        ordered = {"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata}
        ordered.update((name, value) for name, value in obj.items() if name not in ordered)
        return ordered

    def stored(self, obj: dict[str, Any]) -> bytes:
        """Return the bytes to store: `obj` with an empty resourceVersion at the known place."""
        value = encode(self.ordered(obj))
        assert value.startswith(self._head)
        return value

    def entry(self, key: str, revision: int, value: bytes) -> Entry:
        """Return what was stored as an entry. Raises ValueError where `value` was not made by `stored`."""
        if not value.startswith(self._head):
            raise ValueError(f"{key} holds no {self.kind}")
        splice = self._splice
        return Entry(key, revision, b"%s%d%s" % (value[:splice], revision, value[splice:]), splice)
