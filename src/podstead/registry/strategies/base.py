"""What differs between kinds: a strategy says what a resource does at create, update and delete.

A strategy knows no store, cache or request: it looks at objects. Those it is handed as `new` are private and may be
changed in place; `old` is shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec.json import decode

from podstead.objects.kinds import ResourceInfo
from podstead.objects.schema import initial_status
from podstead.objects.user import UserInfo
from podstead.registry.entry import Entry, encode

Object = dict[str, Any]

_METADATA_FIELDS = frozenset({"metadata.name", "metadata.namespace"})


class Strategy:
    """The generic one: no status, no graceful end, metadata as the only selectable fields."""

    generation: ClassVar[bool] = False
    """metadata.generation is kept: 1 at create, one more with each change of spec and with a graceful deletion."""
    creates_on_update: ClassVar[bool] = False
    """A PUT to a name that is not there creates it."""

    def __init__(self, info: ResourceInfo) -> None:
        self.info = info
        self.has_status = any(subresource.name == "status" for subresource in info.subresources)
        self.field_labels = self._field_labels()
        self._initial_status: bytes | None = None

    def _field_labels(self) -> frozenset[str]:
        labels = _METADATA_FIELDS if self.info.namespaced else frozenset({"metadata.name"})
        return labels | self.extra_field_labels

    extra_field_labels: ClassVar[frozenset[str]] = frozenset()

    # -- writes

    def requested_by(self, new: Object, user: UserInfo) -> None:
        """Note in a new object who asked for it, where the kind holds that. Called after `prepare_for_create`."""

    def prepare_for_create(self, new: Object) -> None:
        """Set what the server sets; put what a client cannot set (its status) back to its defaults."""
        if self.has_status:
            new.pop("status", None)
            new |= self.initial_status()

    def initial_status(self) -> Object:
        """Return {"status": ...} as it is before anybody has written one, a new one each time; {} where it has none."""
        if self._initial_status is None:
            self._initial_status = encode(initial_status(self.info))
        return decode(self._initial_status)  # type: ignore[no-any-return]

    def named(self, new: Object) -> None:
        """Set what depends on metadata.name, at a create whose name may be generated."""

    def prepare_for_update(self, new: Object, old: Object) -> None:
        """Keep what an update of the main resource does not change (its status)."""
        if self.has_status:
            keep(new, old, "status")

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        """Keep all but status, labels and annotations."""
        for field in {*new, *old} - {"apiVersion", "kind", "metadata", "status"}:
            keep(new, old, field)
        for field in ("ownerReferences", "finalizers"):
            keep(new["metadata"], old["metadata"], field)

    def prepare_for_subresource(self, subresource: str, new: Object, old: Object) -> None:
        """As the other two, for a PUT or PATCH of any other subresource that the kind serves."""
        raise NotImplementedError(subresource)

    def spec_changed(self, new: Object, old: Object) -> bool:
        return bool(new.get("spec") != old.get("spec"))

    # -- deletion

    def grace_period(self, obj: Object, requested: int | None) -> int | None:
        """Return the seconds that the object's end may take; None where the kind knows no graceful end."""
        return None

    def prepare_for_deletion(self, new: Object) -> None:
        """Called on a copy that gets a deletionTimestamp because it does not go at once."""

    def lingers(self, obj: Object) -> bool:
        """Tell whether something besides metadata.finalizers keeps the object."""
        return False

    # -- reading

    def fields(self, obj: Object) -> dict[str, str]:
        """Return the values of `extra_field_labels`."""
        return {}

    def fields_of(self, entry: Entry) -> dict[str, str]:
        """Return the selectable fields of an entry, computed once."""
        fields = entry._fields
        if fields is None:
            # What a kind has no more fields than these of is not decoded for them.
            fields = self.fields(entry.object) if self.extra_field_labels else {}
            fields["metadata.name"], fields["metadata.namespace"] = entry.name, entry.namespace
            entry._fields = fields
        return fields


def keep(new: Object, old: Mapping[str, Any], field: str) -> None:
    """Make `field` of `new` what it is in `old`, absence included."""
    if field in old:
        new[field] = old[field]
    else:
        new.pop(field, None)


def text(value: Any) -> str:
    """Return a selectable field's value as field selectors compare it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
