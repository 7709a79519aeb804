"""What a configuration owns, what it makes of a live object, and the removal of fields from an object."""

from __future__ import annotations

from typing import Any

from podstead.objects.apply.fieldset import LEAF, Tree, is_member, spelled
from podstead.objects.apply.shapes import KeyMissingError, Kind, Shape

Value = Any


class ConfigurationError(ValueError):
    """A configuration that cannot be applied; the text begins with the path (`.spec.ports: duplicate entries ...`)."""


def field_set(shape: Shape, value: Value, *, strict: bool = False) -> Tree:
    """Return the fields that a configuration speaks of: leaves, items of lists, keys of maps, empty maps and nulls.

    `strict`: raises ConfigurationError for items that are there twice or lack their keys; else these are passed over.
    """
    tree, _ = _fields(shape, value, "", strict)
    return tree


def _fields(shape: Shape, value: Value, path: str, strict: bool) -> tuple[Tree, bool]:
    """Return a value's node, and whether it is a leaf (a node without children is otherwise no member)."""
    if shape.kind is Kind.LEAF or value is None:
        return LEAF, True
    tree: Tree = {}
    if shape.kind is Kind.MAP:
        if type(value) is not dict or not value:
            return LEAF, True
        for name, item in value.items():
            below, leaf = _fields(shape.child(name), item, f"{path}.{name}", strict)
            if leaf or below:
                tree["f:" + name] = below if leaf or shape.names(name) else {".": LEAF, **below}
            elif not shape.names(name):
                tree["f:" + name] = LEAF
        return tree, False
    assert shape.item is not None
    for item in value if type(value) is list else ():
        try:
            segment = shape.segment(item)
        except KeyMissingError as error:
            if strict:
                raise ConfigurationError(f"{path}: {error}") from None
            continue
        if segment in tree:
            if strict:
                raise ConfigurationError(f"{path}: duplicate entries for key {spelled(segment)}")
            continue
        below, _ = _fields(shape.item, item, path + spelled(segment), strict)
        tree[segment] = {".": LEAF, **below} if below else LEAF
    return tree, False


def with_named(shape: Shape | None, tree: Tree) -> Tree:
    """Return the set with every struct field that leads to a member made a member too; keys of maps are not."""
    if not tree:
        return tree
    named: Tree = {}
    for segment, node in tree.items():
        if segment == "." or not node:
            named[segment] = node
            continue
        child, own = None, False
        if shape is not None and segment[0] == "f" and shape.kind is Kind.MAP:
            child, own = shape.child(segment[2:]), shape.names(segment[2:])
        elif shape is not None:
            child = shape.item
        below = with_named(child, node)
        named[segment] = {".": LEAF, **below} if own and "." not in below else below
    return named


def merge(shape: Shape, live: Value, config: Value) -> Value:
    """Return the live value with the configuration's put in; neither is changed, unchanged parts are shared."""
    if config is live or live is None:
        return config
    if shape.kind is Kind.MAP and type(live) is dict and type(config) is dict:
        merged = dict(live)
        for name, value in config.items():
            merged[name] = merge(shape.child(name), live[name], value) if name in live else value
        return merged
    if shape.kind in (Kind.LIST, Kind.SET) and type(live) is list and type(config) is list:
        return _merged_lists(shape, live, config)
    if config is None and shape.kind is not Kind.LEAF:
        return live
    return config


def without_nulls(shape: Shape, value: Value, config: Value) -> Value:
    """Return the value without the fields that the configuration says are null."""
    if shape.kind is Kind.MAP and type(value) is dict and type(config) is dict:
        left = dict(value)
        for name, wanted in config.items():
            if wanted is None:
                left.pop(name, None)
            elif name in left:
                left[name] = without_nulls(shape.child(name), left[name], wanted)
        return left
    if shape.kind is Kind.LIST and type(value) is list and type(config) is list:
        assert shape.item is not None
        items = {_segment(shape, item): item for item in config}
        return [without_nulls(shape.item, item, items.get(_segment(shape, item))) for item in value]
    return value


def _merged_lists(shape: Shape, live: list[Value], config: list[Value]) -> list[Value]:
    """Items of both in the configuration's order; those of the live object alone keep their place among their
    neighbours (structured-merge-diff's order since Kubernetes 1.27).
    """
    assert shape.item is not None
    theirs = [(shape.segment(item), item) for item in config]
    ours = [(_segment(shape, item), item) for item in live]
    wanted = {segment for segment, _ in theirs}
    present = {segment: item for segment, item in reversed(ours) if segment is not None}
    shared = [segment for segment, _ in theirs if segment in present]
    merged: list[Value] = []
    done: set[str] = set()
    left = right = following = 0
    while left < len(ours) or right < len(theirs):
        if left < len(ours):
            segment, item = ours[left]
            if segment is None or segment not in wanted:
                merged.append(item)
                left += 1
                continue
            if segment in done or (following < len(shared) and shared[following] != segment):
                # There already, or to come where the configuration has it.
                left += 1
                continue
        segment, item = theirs[right]
        merged.append(merge(shape.item, present[segment], item) if segment in present else item)
        done.add(segment)
        right += 1
        if following < len(shared) and shared[following] == segment:
            following += 1
    return merged


def _segment(shape: Shape, item: Value) -> str | None:
    try:
        return shape.segment(item)
    except KeyMissingError:
        return None


def without(shape: Shape, value: Value, tree: Tree) -> Value:
    """Return the value without the members of `tree`; None for a map or list of which nothing is left."""
    if not tree or shape.kind is Kind.LEAF or not value:
        return value
    if shape.kind is Kind.MAP and type(value) is dict:
        left = {}
        for name, item in value.items():
            node = tree.get("f:" + name)
            if node is None:
                left[name] = item
            elif not is_member(node):
                left[name] = without(shape.child(name), item, node)
        return left or None
    if shape.kind is not Kind.MAP and type(value) is list:
        assert shape.item is not None
        items = []
        for item in value:
            segment = _segment(shape, item)
            node = None if segment is None else tree.get(segment)
            if node is None:
                items.append(item)
            elif not is_member(node):
                items.append(without(shape.item, item, node))
        return items or None
    return value
