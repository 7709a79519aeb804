"""Sets of fields, kept as what FieldsV1 is on the wire: a tree of `f:NAME`, `k:{KEYS}`, `v:VALUE` and `i:INDEX`.

A node without children is a member of the set; one with children is a member if it has the child ".". The root is no
member: an empty root is the empty set. Trees are shared: no function changes what it is given.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/ (ManagedFieldsEntry.fieldsV1)
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

Tree = dict[str, Any]
"""{segment: Tree}; see the module's docstring."""

LEAF: Tree = {}
"""A member without children, and the empty set as a root. Never to be changed."""
_MAX_DEPTH = 200


class FieldSetError(ValueError):
    """What is no FieldsV1 value; the text says why."""


def is_member(node: Tree) -> bool:
    """Tell whether a node that is no root belongs to the set itself."""
    return not node or "." in node


def union(a: Tree, b: Tree) -> Tree:
    """Return the fields that either set has."""
    if not a or not b:
        return a or b
    return _joined(a, b)


def _union(a: Tree, b: Tree) -> Tree:
    if a is b or a == b:
        return a
    if not a or not b:
        other = a or b
        return other if "." in other else {".": LEAF, **other}
    return _joined(a, b)


def _joined(a: Tree, b: Tree) -> Tree:
    joined = dict(a)
    for segment, node in b.items():
        known = joined.get(segment)
        joined[segment] = node if known is None else _union(known, node)
    return joined


def difference(a: Tree, b: Tree) -> Tree:
    """Return the fields of `a` that are not in `b`; a field in `b` does not take those below it along."""
    return _without(a, b) or LEAF if a and b else a


def _without(a: Tree, b: Tree) -> Tree:
    kept = {}
    for segment, node in a.items():
        if segment == ".":
            continue
        other = b.get(segment)
        if other is None:
            kept[segment] = node
            continue
        stays = is_member(node) and not is_member(other)
        below = _without(node, other)
        if below or stays:
            kept[segment] = ({".": LEAF, **below} if stays and below else below) or LEAF
    return kept


def intersection(a: Tree, b: Tree) -> Tree:
    """Return the fields that both sets have."""
    common = {}
    for segment, node in a.items():
        other = b.get(segment)
        if other is None or segment == ".":
            continue
        both = is_member(node) and is_member(other)
        below = intersection(node, other)
        if below or both:
            common[segment] = ({".": LEAF, **below} if both and below else below) or LEAF
    return common


def paths(tree: Tree, above: str = "") -> Iterator[str]:
    """Yield the members' paths as conflicts name them, in canonical order: .spec.containers[name="c"].image."""
    for segment in sorted(tree, key=order):
        if segment == ".":
            continue
        node, path = tree[segment], above + spelled(segment)
        if is_member(node):
            yield path
        yield from paths(node, path)


def spelled(segment: str) -> str:
    """Return a segment as a path has it: .name, [name="c"], [="value"], [3]."""
    kind, rest = segment[:2], segment[2:]
    if kind == "f:":
        return "." + rest
    if kind == "k:":
        fields = json.loads(rest)
        return "[" + ",".join(f"{name}={_text(fields[name])}" for name in sorted(fields)) + "]"
    return f"[={_text(json.loads(rest))}]" if kind == "v:" else f"[{rest}]"


def _text(value: Any) -> str:
    """Return a value as structured-merge-diff prints it."""
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, dict):
        return "{" + ";".join(f"{key}={_text(item)}" for key, item in sorted(value.items())) + "}"
    return "null" if value is None else json.dumps(value, ensure_ascii=False)


_RANKS = {".": 0, "f:": 1, "k:": 2, "v:": 3, "i:": 4}


def order(segment: str) -> tuple[Any, ...]:
    """Return a sort key: fields by name, then keys and values by what they are (80 before 443), then indexes."""
    rank = _RANKS.get(segment[:2], 5)
    if rank < 2:
        return (rank, segment)
    value = json.loads(segment[2:])
    if rank == 2:
        return (rank, *((name, *_ordered(value[name])) for name in sorted(value)))
    return (rank, *_ordered(value))


def _ordered(value: Any) -> tuple[int, Any]:
    """Compare numbers with numbers and texts with texts: float, int, string, bool, list, map, null."""
    if isinstance(value, bool):
        return 3, value
    if isinstance(value, int | float):
        return 1, value
    if isinstance(value, str):
        return 2, value
    return 4, json.dumps(value, sort_keys=True)


def canonical(tree: Tree) -> Tree:
    """Return the tree in the order in which Kubernetes writes it."""
    if len(tree) < 2:
        return {segment: canonical(node) if node else node for segment, node in tree.items()}
    # The last in plain order tells whether there is more than "." and names, which sort by themselves.
    segments = sorted(tree)
    if segments[-1][0] != "f" or segments[0][0] not in ".f":
        segments.sort(key=order)
    return {segment: canonical(node) if (node := tree[segment]) else node for segment in segments}


def decoded(value: Any) -> Tree:
    """Return a FieldsV1 value as a set: keys in canonical spelling, "." only where there are other children.

    Raises FieldSetError for what is none.
    """
    if type(value) is not dict:
        raise FieldSetError("not a FieldsV1 object")
    return _decoded(value, 0)


def _decoded(value: Tree, depth: int) -> Tree:
    if depth > _MAX_DEPTH:
        raise FieldSetError("nested too deeply")
    tree: Tree = {}
    for segment, below in value.items():
        if type(below) is not dict:
            raise FieldSetError(f"{segment!r} holds no object")
        if segment == ".":
            if depth == 0:
                raise FieldSetError('"." stands at the root')
            continue
        tree[_segment(segment)] = _decoded(below, depth + 1)
    if tree and "." in value:
        return {".": LEAF, **tree}
    return tree or LEAF


def _segment(segment: str) -> str:
    kind, rest = segment[:2], segment[2:]
    if kind == "f:":
        return segment
    spelling = ""
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(rest)
        if kind == "k:" and type(value) is dict and value:
            spelling = key_segment(value)
        elif kind == "v:":
            spelling = value_segment(value)
        elif kind == "i:" and type(value) is int:
            spelling = f"i:{value}"
        # Halves of surrogate pairs, which JSON can spell, are no text.
        spelling.encode()
        return spelling or _refused(segment)
    return _refused(segment)


def _refused(segment: str) -> str:
    raise FieldSetError(f"{segment!r} is no path element")


def key_segment(fields: dict[str, Any]) -> str:
    """Return the segment of a list's item that these fields identify."""
    return "k:" + json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def value_segment(value: Any) -> str:
    """Return the segment of a set's item."""
    return "v:" + json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
