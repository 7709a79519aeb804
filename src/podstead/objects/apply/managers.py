"""metadata.managedFields: who owns which fields, as a create, an update or an apply leaves it.

    created   the entry of whoever creates an object
    updated   the entries after an update: what it changes or adds is its own, what it removes is nobody's
    applied   the object and the entries after an apply, or its 409

Nothing here changes what it is given. Times are RFC 3339 texts. An entry's time changes with what its manager writes,
not with what others take from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from podstead.objects.apply import lastapplied
from podstead.objects.apply.compare import Comparison, added, compare
from podstead.objects.apply.configuration import Configuration
from podstead.objects.apply.conflicts import APPLY, UPDATE, Owner, conflict
from podstead.objects.apply.fieldset import (
    LEAF,
    FieldSetError,
    Tree,
    canonical,
    decoded,
    difference,
    intersection,
    union,
)
from podstead.objects.apply.merging import field_set, merge, with_named, without, without_nulls
from podstead.objects.apply.shapes import Shape
from podstead.objects.schema import prune

Object = dict[str, Any]
Entries = list[Object]

MAX_UPDATERS = 10
"""Entries of updates; the oldest beyond are merged into one."""
ANCIENT = "ancient-changes"
BEFORE_FIRST_APPLY = "before-first-apply"
UNKNOWN = "unknown"

_UNOWNED = frozenset({"apiVersion", "kind"})
_UNOWNED_METADATA = frozenset(
    {
        "clusterName",
        "creationTimestamp",
        "generation",
        "managedFields",
        "name",
        "namespace",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
_UNOWNED_SET: Tree = {
    **{f"f:{name}": LEAF for name in _UNOWNED},
    "f:metadata": {".": LEAF, **{f"f:{name}": LEAF for name in _UNOWNED_METADATA}},
}


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes: a name ("" is unknown), the version and the subresource ("": none) of the request, and when."""

    name: str
    api_version: str
    subresource: str
    time: str

    def owner(self, operation: str) -> Owner:
        return Owner(self.name or UNKNOWN, operation, self.api_version if operation == UPDATE else "", self.subresource)


@dataclass(slots=True)
class _Owned:
    """One entry's content. `fields` are in canonical order once they are in an object."""

    fields: Tree
    api_version: str
    time: str


_Managed = dict[Owner, _Owned]


def created(shape: Shape, obj: Object, manager: Manager) -> Entries:
    """Return the managedFields of a new object, whose own (sent by the client) count where they are valid."""
    managed = _sent(obj, {})
    if obj["metadata"].get("managedFields") == [{}]:
        return []
    _take(managed, Comparison({}, {}, added(shape, _view(obj))), manager)
    return _entries(managed)


def updated(shape: Shape, live: Object, new: Object, manager: Manager) -> Entries:
    """Return the managedFields of `new` in place of `live`.

    Those in `new` count if the client changed them and they are valid; a list of one empty entry resets them. An object
    without any stays so until somebody applies.
    """
    before: Entries = live["metadata"].get("managedFields") or []
    sent = new["metadata"].get("managedFields") or before
    if manager.subresource or sent is before or sent == before:
        if not before:
            return before
        managed = _known(before)
    elif sent == [{}]:
        return []
    else:
        managed = _sent(new, live)
    compared = compare(shape, _view(live), _view(new))
    if not any(compared):
        return _entries(managed) if sent != before else before
    _take(managed, compared, manager)
    _cap(managed)
    return _entries(managed)


def applied(shape: Shape, live: Object | None, config: Configuration, manager: Manager, force: bool) -> Object:
    """Return the object, managedFields included, that an apply makes of `live` (None: there is none yet).

    The object is checked but has no new defaults. Raises StatusError 409 unless `force`.
    """
    before = live or {"metadata": {}}
    known = before["metadata"].get("managedFields") or []
    managed = _known(known)
    if live is not None and not managed:
        _take(managed, Comparison({}, {}, added(shape, _view(live))), _first(manager))
    owner = manager.owner(APPLY)
    last = managed.get(owner)
    fields = difference(field_set(shape, config.raw), _UNOWNED_SET)
    mine = _Owned(canonical(fields), manager.api_version, manager.time)
    managed[owner] = mine
    merged = merge(shape, {**before, "metadata": _without_managers(before)}, config.checked)
    merged = without_nulls(shape, merged, config.raw)
    if last is not None:
        merged = _pruned(shape, merged, managed, last.fields)
    new: Object = prune(config.definition, merged)[0]
    compared = compare(shape, _view(before), _view(new))
    # What the configuration itself removes it says to be null.
    changed = union(union(compared.modified, compared.added), intersection(compared.removed, fields))
    found = {
        other: common
        for other, owned in managed.items()
        if other != owner and changed and (common := intersection(owned.fields, changed))
    }
    if found and not force:
        _refuse(shape, before, found, config, manager)
    _give_up(managed, compared.removed, changed, but=owner)
    if last is not None and last.fields == fields and not any(compared):
        managed[owner] = last
    if not mine.fields:
        managed.pop(owner, None)
    entries = _entries(managed)
    new["metadata"]["managedFields"] = entries
    if manager.name == lastapplied.MANAGER:
        lastapplied.refresh(new, config.raw)
    return new


def _first(manager: Manager) -> Manager:
    return Manager(BEFORE_FIRST_APPLY, manager.api_version, "", manager.time)


def _refuse(shape: Shape, live: Object, found: dict[Owner, Tree], config: Configuration, manager: Manager) -> None:
    """Raise the 409, unless all conflicts are with what kubectl itself applied before, on the client's side."""
    if manager.name == lastapplied.MANAGER:
        allowed = lastapplied.owned(shape, live, config)
        found = {owner: left for owner, fields in found.items() if (left := difference(fields, allowed))}
    if found:
        raise conflict(found)


def _pruned(shape: Shape, merged: Object, managed: _Managed, last: Tree) -> Object:
    """Return the object without what the last configuration had, this one has not, and nobody else owns."""
    owned: Tree = LEAF
    for each in managed.values():
        owned = union(owned, each.fields)
    if not difference(last, owned):
        return merged
    body = _view(merged)
    had = with_named(shape, last)
    before = with_named(shape, field_set(shape, body))
    left = without(shape, body, had)
    kept = union(with_named(shape, field_set(shape, left or {})), with_named(shape, owned))
    left = without(shape, body, difference(before, kept))
    gone = difference(before, with_named(shape, field_set(shape, left or {})))
    left = without(shape, body, intersection(gone, had)) or {}
    metadata = {name: value for name, value in merged["metadata"].items() if name in _UNOWNED_METADATA}
    rest = {name: value for name, value in merged.items() if name in _UNOWNED}
    return {**rest, **left, "metadata": {**metadata, **(left.get("metadata") or {})}}


def _view(obj: Object) -> Object:
    """Return an object without what nobody owns."""
    view = {name: value for name, value in obj.items() if name not in _UNOWNED}
    view["metadata"] = {
        name: value for name, value in (obj.get("metadata") or {}).items() if name not in _UNOWNED_METADATA
    }
    return view


def _without_managers(obj: Object) -> Object:
    return {name: value for name, value in obj["metadata"].items() if name != "managedFields"}


# -- entries


def _known(entries: Entries) -> _Managed:
    """Take entries that the server itself has written."""
    managed: _Managed = {}
    for entry in entries:
        version = entry.get("apiVersion", "")
        owner = _owner(entry, version)
        managed[owner] = _Owned(entry.get("fieldsV1", LEAF), version, entry.get("time", ""))
    return managed


def _owner(entry: Object, version: str) -> Owner:
    operation = entry.get("operation", "")
    return Owner(
        entry.get("manager", ""), operation, version if operation == UPDATE else "", entry.get("subresource", "")
    )


def _sent(new: Object, live: Object) -> _Managed:
    """Take the entries that a client sent; the live object's where one of them is not valid, or there is none."""
    managed: _Managed = {}
    try:
        for entry in new["metadata"].get("managedFields") or ():
            version = entry.get("apiVersion", "")
            if not version or entry.get("operation") not in (APPLY, UPDATE) or entry.get("fieldsType") != "FieldsV1":
                raise FieldSetError("not an entry")
            fields = canonical(decoded(entry.get("fieldsV1", LEAF)))
            managed[_owner(entry, version)] = _Owned(fields, version, entry.get("time", ""))
    except FieldSetError:
        managed.clear()
    if managed or not live:
        return managed
    return _known(live["metadata"].get("managedFields") or [])


def _entries(managed: _Managed) -> Entries:
    """Return managedFields as they stand in an object: applies first, then by time, name, version, subresource."""
    ordered = sorted(
        managed.items(),
        key=lambda each: (each[0].operation, each[1].time, each[0].manager, each[1].api_version, each[0].subresource),
    )
    return [_entry(owner, owned) for owner, owned in ordered]


def _entry(owner: Owner, owned: _Owned) -> Object:
    entry: Object = {"manager": owner.manager} if owner.manager else {}
    entry |= {"operation": owner.operation, "apiVersion": owned.api_version}
    if owned.time:
        entry["time"] = owned.time
    entry |= {"fieldsType": "FieldsV1", "fieldsV1": owned.fields}
    if owner.subresource:
        entry["subresource"] = owner.subresource
    return entry


def _take(managed: _Managed, compared: Comparison, manager: Manager) -> None:
    """Give the fields that an update changed or added to its manager, in place."""
    owner = manager.owner(UPDATE)
    changed = union(compared.modified, compared.added)
    _give_up(managed, compared.removed, changed, but=owner)
    if not changed:
        return
    mine = managed.get(owner)
    if mine is None:
        managed[owner] = _Owned(canonical(changed), manager.api_version, manager.time)
        return
    fields = union(mine.fields, changed)
    if fields != mine.fields:
        fields = canonical(fields)
    managed[owner] = _Owned(fields, manager.api_version, manager.time)


def _give_up(managed: _Managed, removed: Tree, changed: Tree, but: Owner) -> None:
    """Take away what is gone from all, and what has changed from all but `but`; in place, empty entries go."""
    for owner, owned in list(managed.items()):
        fields = difference(owned.fields, removed)
        if owner != but:
            fields = difference(fields, changed)
        if not fields and not (owner == but and changed):
            del managed[owner]
        elif fields != owned.fields:
            managed[owner] = _Owned(fields, owned.api_version, owned.time)


def _cap(managed: _Managed) -> None:
    """Merge the oldest updates' entries, those of a version into one, until no more than MAX_UPDATERS are left."""
    updaters = [owner for owner in managed if owner.operation == UPDATE]
    excess = len(updaters) - MAX_UPDATERS
    if excess <= 0:
        return
    updaters.sort(key=lambda owner: (managed[owner].time, owner))
    first: dict[str, Owner] = {}
    for owner in updaters:
        if excess <= 0:
            return
        if owner.api_version not in first:
            first[owner.api_version] = owner
            continue
        bucket = Owner(ANCIENT, UPDATE, owner.api_version, "")
        if bucket not in managed:
            managed[bucket] = managed.pop(first[owner.api_version])
        if owner == bucket:
            continue
        merged = managed.pop(owner)
        fields = canonical(union(managed[bucket].fields, merged.fields))
        managed[bucket] = _Owned(fields, owner.api_version, merged.time)
        excess -= 1
