"""How values are walked: which are leaves, and by what the items of lists are told apart.

Rules: https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy (x-kubernetes-list-type,
x-kubernetes-map-type; a list without either is atomic, unless a strategic merge patch has a key for it).
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import Any

from podstead.objects.apply.always import ALWAYS
from podstead.objects.apply.fieldset import key_segment, value_segment
from podstead.objects.definitions import Definition, Field, definition, plain_defaults

_MISSING = object()
_EMPTY_DEFAULTS = {"LocalObjectReference": ("name",)}  # `default: ""` of a key that may be left out
_MERGES = (("merge",), ("merge", "retainKeys"))


class Kind(Enum):
    """What a value is to server-side apply."""

    LEAF = "leaf"
    """A scalar, or a list or map that has one owner as a whole."""
    MAP = "map"
    """A struct or map: each field has owners."""
    LIST = "list"
    """A list whose items are told apart by key fields."""
    SET = "set"
    """A list of scalars that are told apart by their values."""


class KeyMissingError(ValueError):
    """An item of a list has not the fields that identify it."""


class Shape:
    """How values of one type are walked. `item` is the shape of a map's values and of a list's items."""

    __slots__ = ("_children", "_fields", "item", "keys", "kind")

    def __init__(
        self, kind: Kind, item: Shape | None = None, fields: Definition | None = None, keys: tuple[Any, ...] = ()
    ) -> None:
        self.kind = kind
        self.item = item
        self._fields = fields
        self.keys: tuple[tuple[str, Any], ...] = keys
        """(field, its default or a mark that it has none) of each key of a LIST."""
        self._children: dict[str, tuple[Shape, bool]] = {}

    def child(self, name: str) -> Shape:
        """Return the shape of a MAP's value; a leaf for a field that the struct does not have."""
        return self.item or self.field(name)[0]

    def field(self, name: str) -> tuple[Shape, bool]:
        """Return a field's shape and whether Kubernetes' own type always has it (see `always`)."""
        if self.item is not None:
            return self.item, False
        known = self._children.get(name)
        if known is None:
            known = self._children[name] = self._found(name)
        return known

    def _found(self, name: str) -> tuple[Shape, bool]:
        assert self._fields is not None
        field = self._fields.fields.get(name)
        if field is None:
            return _LEAF, False
        always = f"{self._fields.struct}.{name}" in ALWAYS or (field.required and field.type[0] in "[m")
        return _of_field(field), always or (bool(self._fields.kinds) and name in ("metadata", "spec", "status"))

    def names(self, name: str) -> bool:
        """Tell whether `name` is a field of this struct, rather than a key of a map."""
        return self._fields is not None and name in self._fields.fields

    def segment(self, item: Any) -> str:
        """Return the path element of a LIST's or SET's item. Raises KeyMissingError."""
        if self.kind is Kind.SET:
            return value_segment(item)
        if type(item) is not dict:
            raise KeyMissingError("associative list without keys has an element that's a map type")
        fields = {}
        for name, default in self.keys:
            value = item.get(name)
            if value is None:
                value = default
            if value is _MISSING:
                raise KeyMissingError(
                    f'associative list with keys has an element that omits key field "{name}" '
                    "(and doesn't have default value)"
                )
            fields[name] = value
        return key_segment(fields)


_LEAF = Shape(Kind.LEAF)


@cache
def shape_of(name: str) -> Shape:
    """Return the shape of a definition by its full name."""
    found = definition(name)
    if found.leaf or found.map_type == "atomic":
        return _LEAF
    return Shape(Kind.MAP, fields=found)


def _of_type(type_: str) -> Shape:
    if type_.startswith("map[string]"):
        return Shape(Kind.MAP, item=_of_type(type_[11:]))
    return shape_of(type_[1:]) if type_[0] == "#" else _LEAF


def _of_field(field: Field) -> Shape:
    if field.type.startswith("[]"):
        return _of_list(field)
    return _LEAF if field.map_type == "atomic" else _of_type(field.type)


def _of_list(field: Field) -> Shape:
    kind, keys = field.list_type, field.list_map_keys
    if not kind and field.patch_strategy in _MERGES:
        kind, keys = ("map", (field.patch_merge_key,)) if field.patch_merge_key else ("set", ())
    item = field.type[2:]
    if kind == "set":
        return Shape(Kind.SET, item=_LEAF)
    if kind != "map" or item[0] != "#":
        return _LEAF
    found = definition(item[1:])
    keyed = tuple((key, _default(found, key)) for key in sorted(keys))
    # Items of an atomic struct are still told apart by key; each has one owner.
    return Shape(Kind.LIST, item=shape_of(item[1:]), keys=keyed)


def _default(found: Definition, key: str) -> Any:
    """The value that a key has where it is left out: the schema's default, or "" for a text that Go always writes."""
    defaults = plain_defaults(found.name)
    if key in defaults:
        return defaults[key]
    field = found.fields.get(key)
    empty = field is not None and field.type == "string"
    if empty and key in _EMPTY_DEFAULTS.get(found.struct, ()):
        return ""
    return _MISSING
