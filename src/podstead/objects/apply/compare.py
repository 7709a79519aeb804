"""Compare two objects of a kind: which fields are gone, which have another value, which are new."""

from __future__ import annotations

from typing import Any, NamedTuple

from podstead.objects.apply.fieldset import LEAF, Tree
from podstead.objects.apply.shapes import KeyMissingError, Kind, Shape

_ABSENT = object()


class Comparison(NamedTuple):
    """Three sets of fields."""

    removed: Tree
    modified: Tree
    added: Tree


def compare(shape: Shape, old: dict[str, Any], new: dict[str, Any]) -> Comparison:
    """Compare objects of `shape`; neither is changed. Parts that are equal are never walked."""
    return Comparison(*_maps(shape, old, new))


def added(shape: Shape, new: dict[str, Any]) -> Tree:
    """Return the fields of an object where there was none: `compare` with {} in a single walk."""
    tree: Tree = {}
    for name, value in new.items():
        _put_whole(tree, shape, name, value)
    return tree


def whole(shape: Shape, value: Any) -> Tree:
    """Return the node of a value that is added or removed with all that is in it."""
    kind = shape.kind
    if kind is Kind.LEAF or not value or (kind is Kind.MAP) is not (type(value) is dict):
        return LEAF
    tree: Tree = {".": LEAF}
    if kind is Kind.MAP:
        item = shape.item
        for name, below in value.items():
            child = item or shape.child(name)
            tree["f:" + name] = LEAF if child.kind is Kind.LEAF else whole(child, below)
        return tree
    assert shape.item is not None
    for segment, item in _items(shape, value).items():
        tree[segment] = whole(shape.item, item)
    return tree


def _put_whole(tree: Tree, shape: Shape, name: str, value: Any) -> None:
    """Add a field that only one side has. One that Kubernetes' type always has is none itself, but what is in it."""
    child, always = shape.field(name)
    if not always or child.kind is Kind.LEAF:
        tree["f:" + name] = whole(child, value)
    elif child.kind is Kind.MAP:
        below: Tree = {}
        for key, item in value.items() if type(value) is dict else ():
            _put_whole(below, child, key, item)
        if below:
            tree["f:" + name] = below
    elif value:
        node = dict(whole(child, value))
        node.pop(".", None)
        if node:
            tree["f:" + name] = node


def _items(shape: Shape, values: Any) -> dict[str, Any]:
    """Return a list's items by path element; the first of duplicates, and none that cannot be told apart."""
    items: dict[str, Any] = {}
    for value in values if type(values) is list else ():
        try:
            items.setdefault(shape.segment(value), value)
        except KeyMissingError:
            continue
    return items


def _maps(shape: Shape, old: dict[str, Any], new: dict[str, Any]) -> tuple[Tree, Tree, Tree]:
    removed: Tree = {}
    modified: Tree = {}
    more: Tree = {}
    for name, value in new.items():
        before = old.get(name, _ABSENT)
        if before is _ABSENT:
            _put_whole(more, shape, name, value)
        elif before is not value and before != value:
            _put(removed, modified, more, "f:" + name, _both(shape.child(name), before, value))
    for name, before in old.items():
        if name not in new:
            _put_whole(removed, shape, name, before)
    return removed, modified, more


def _lists(shape: Shape, old: Any, new: Any) -> tuple[Tree, Tree, Tree]:
    removed: Tree = {}
    modified: Tree = {}
    more: Tree = {}
    assert shape.item is not None
    before, after = _items(shape, old), _items(shape, new)
    for segment, item in after.items():
        known = before.get(segment, _ABSENT)
        if known is _ABSENT:
            more[segment] = whole(shape.item, item)
        elif known != item:
            _put(removed, modified, more, segment, _both(shape.item, known, item))
    for segment, item in before.items():
        if segment not in after:
            removed[segment] = whole(shape.item, item)
    return removed, modified, more


def _both(shape: Shape, old: Any, new: Any) -> tuple[Tree, Tree | None, Tree]:
    """Compare two values that differ; the second is None where nothing is modified."""
    if shape.kind is Kind.MAP and type(old) is dict and type(new) is dict:
        return _maps(shape, old, new)
    if shape.kind in (Kind.LIST, Kind.SET) and type(old) is list and type(new) is list:
        return _lists(shape, old, new)
    return LEAF, None, LEAF


def _put(removed: Tree, modified: Tree, more: Tree, segment: str, found: tuple[Tree, Tree | None, Tree]) -> None:
    gone, changed, new = found
    if gone:
        removed[segment] = gone
    if new:
        more[segment] = new
    if changed is None:
        modified[segment] = LEAF
    elif changed:
        modified[segment] = changed
