"""Sets of fields as FieldsV1 trees."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podstead.objects.apply.fieldset import (
    FieldSetError,
    canonical,
    decoded,
    difference,
    intersection,
    paths,
    union,
)

_names = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'k:{"port":80}', 'k:{"port":443}', 'v:"s"', "i:3"])
_nodes = st.recursive(
    st.just({}), lambda below: st.dictionaries(_names | st.just("."), below, min_size=1, max_size=3), max_leaves=8
)
_trees = st.dictionaries(_names, _nodes, max_size=4).map(lambda tree: decoded(_dotted(tree)))


def _dotted(tree: Any) -> Any:
    return {name: {} if name == "." else _dotted(node) for name, node in tree.items()}


@given(_trees)
def test_what_is_written_is_read_again(tree: Any) -> None:
    written = json.dumps(canonical(tree))
    assert decoded(json.loads(written)) == tree
    assert json.dumps(canonical(decoded(json.loads(written)))) == written


@given(_trees, _trees)
def test_the_operations_are_those_of_sets(a: Any, b: Any) -> None:
    left, right = set(paths(a)), set(paths(b))
    assert set(paths(union(a, b))) == left | right
    assert set(paths(difference(a, b))) == left - right
    assert set(paths(intersection(a, b))) == left & right


def test_the_order_is_the_real_servers() -> None:
    tree = {"f:b": {}, 'k:{"port":443}': {}, "f:a": {"f:z": {}, ".": {}}, 'k:{"port":80}': {}, 'v:"x"': {}}
    assert json.dumps(canonical(tree)) == json.dumps(
        {"f:a": {".": {}, "f:z": {}}, "f:b": {}, 'k:{"port":80}': {}, 'k:{"port":443}': {}, 'v:"x"': {}}
    )


def test_paths_are_spelled_as_conflicts_name_them() -> None:
    tree = {"f:spec": {"f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:name": {}}}}}
    assert list(paths(tree)) == [
        '.spec.ports[containerPort=80,protocol="TCP"]',
        '.spec.ports[containerPort=80,protocol="TCP"].name',
    ]
    assert list(paths({"f:metadata": {"f:finalizers": {'v:"a/b"': {}}}})) == ['.metadata.finalizers[="a/b"]']


_WRONG: list[Any] = [
    [],
    {"x:a": {}},
    {"f:a": 1},
    {"k:{": {}},
    {"k:[]": {}},
    {".": {}},
    {"i:x": {}},
    {'v:"\\ud800"': {}},
]


@pytest.mark.parametrize("wrong", _WRONG)
def test_what_is_no_field_set_is_refused(wrong: Any) -> None:
    with pytest.raises(FieldSetError):
        decoded(wrong)
