"""JSON patch and merge patch: what they do to an object, and how they fail."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podstead.objects.errors import StatusError
from podstead.objects.patch import MAX_OPERATIONS, json_patch, merge_patch

POD = {"metadata": {"name": "web", "labels": {"app": "web"}}, "spec": {"containers": [{"name": "c1"}]}}


def test_json_patch_applies_operations_in_order_to_a_copy() -> None:
    before = copy.deepcopy(POD)
    patched = json_patch(
        POD,
        [
            {"op": "test", "path": "/metadata/name", "value": "web"},
            {"op": "add", "path": "/metadata/labels/a~1b", "value": "x"},
            {"op": "remove", "path": "/metadata/labels/app"},
            {"op": "add", "path": "/spec/containers/-", "value": {"name": "c2"}},
            {"op": "copy", "from": "/spec/containers/0", "path": "/spec/containers/0"},
            {"op": "move", "from": "/metadata/labels", "path": "/metadata/annotations"},
        ],
    )
    assert patched["metadata"] == {"name": "web", "annotations": {"a/b": "x"}}
    assert [container["name"] for container in patched["spec"]["containers"]] == ["c1", "c1", "c2"]
    assert before == POD


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/metadata/labels/none"},
        {"op": "replace", "path": "/metadata/labels/none", "value": 1},
        {"op": "test", "path": "/metadata/name", "value": "other"},
        {"op": "test", "path": "/metadata/none", "value": 1},
        {"op": "copy", "from": "/spec/containers/-", "path": "/x"},
        {"op": "move", "from": "/spec/containers/-", "path": "/x"},
        {"op": "remove", "path": "/spec/containers/-"},
        {"op": "replace", "path": "/spec/containers/-", "value": 1},
        {"op": "test", "path": "/spec/containers/-", "value": 1},
        {"op": "add", "path": "/spec/containers/7", "value": {}},
        {"op": "add", "path": "/spec/containers/01", "value": {}},
        {"op": "add", "path": "/none/deep", "value": 1},
        {"op": "move", "from": "/metadata", "path": "/metadata/labels/x"},
        {"op": "copy", "from": "/none", "path": "/x"},
        {"op": "add", "path": "no-slash", "value": 1},
        {"op": "add", "path": "/a~2", "value": 1},
        {"op": "add", "path": "/metadata/name/x", "value": 1},
        {"op": "merge", "path": "/x", "value": 1},
        {"op": "add", "path": "/x"},
        {"op": "move", "path": "/x"},
        {"op": "add", "path": 7, "value": 1},
        {"path": "/x"},
    ],
)
def test_a_json_patch_that_does_not_fit_is_unprocessable(operation: dict[str, Any]) -> None:
    before = copy.deepcopy(POD)
    with pytest.raises(StatusError) as raised:
        json_patch(POD, [{"op": "add", "path": "/metadata/labels/new", "value": "x"}, operation])
    assert (raised.value.code, raised.value.reason) == (422, "Invalid")
    assert raised.value.message.startswith("the server rejected our request due to an error in our request: ")
    assert before == POD


@pytest.mark.parametrize("patch", [{}, None, "x", 7, True, [7], ["add"]])
def test_what_is_no_json_patch_is_a_bad_request(patch: Any) -> None:
    with pytest.raises(StatusError) as raised:
        json_patch(POD, patch)
    assert raised.value.code == 400


def test_a_json_patch_may_not_have_too_many_operations() -> None:
    operation = {"op": "test", "path": "/metadata/name", "value": "web"}
    with pytest.raises(StatusError, match="allowed maximum operations in a JSON patch is 10000, got 10001") as raised:
        json_patch(POD, [operation] * (MAX_OPERATIONS + 1))
    assert raised.value.code == 413


def test_copies_that_double_the_object_do_not_fill_the_memory() -> None:
    doubling = [{"op": "copy", "from": "", "path": f"/x{n}"} for n in range(64)]
    with pytest.raises(StatusError, match="the copies of the patch add") as raised:
        json_patch(POD, doubling)
    assert raised.value.code == 422


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        # The cases of RFC 7386, appendix A, whose patch is an object.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_follows_the_rfc(target: Any, patch: Any, merged: Any) -> None:
    before = copy.deepcopy(target)
    assert merge_patch(target, patch) == merged
    assert target == before


@pytest.mark.parametrize("patch", [[], None, "x", 7])
def test_what_is_no_merge_patch_is_a_bad_request(patch: Any) -> None:
    with pytest.raises(StatusError, match="cannot unmarshal") as raised:
        merge_patch(POD, patch)
    assert raised.value.code == 400


def test_a_merge_patch_that_is_nested_without_end_is_a_bad_request() -> None:
    patch: dict[str, Any] = {}
    for _ in range(1000):
        patch = {"a": patch}
    with pytest.raises(StatusError) as raised:
        merge_patch({}, patch)
    assert raised.value.code == 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(st.sampled_from("abc"), json_values, max_size=3)


@settings(deadline=None)
@given(json_objects, json_objects)
def test_applying_a_merge_patch_twice_changes_nothing_more(target: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


pointers = st.sampled_from(["", "/", "/a", "/a/0", "/a/-", "/a/b", "/b", "/c/1", "/a/0/b", "a"])
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": pointers},
    optional={"from": pointers, "value": json_values},
)


@settings(deadline=None)
@given(json_objects, st.lists(operations, max_size=5))
def test_any_json_patch_gives_json_or_a_status(target: dict[str, Any], patch: list[dict[str, Any]]) -> None:
    try:
        patched = json_patch(target, patch)
    except StatusError as error:
        assert error.code in (400, 422)
    else:
        assert json.loads(json.dumps(patched)) == patched


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        ({"op": "add", "path": "/a/b", "value": 1}, "add operation does not apply: doc is missing path: /a/b: "),
        ({"op": "remove", "path": "/b"}, "remove operation does not apply: doc is missing path: /b: missing value"),
        ({"op": "test", "path": "/a", "value": "c"}, "testing value /a failed: test failed"),
        ({"op": "copy", "from": "/b", "path": "/c"}, "copy operation does not apply: doc is missing from path"),
        ({"op": "add", "path": "/l" + "/0" * 150, "value": json.loads("[" * 150 + "]" * 150)}, "exceeded max depth"),
    ],
)
def test_why_a_json_patch_does_not_fit_is_told_without_the_object(operation: dict[str, Any], why: str) -> None:
    nest: list[Any] = []
    for _ in range(150):
        nest = [nest]
    with pytest.raises(StatusError) as caught:
        json_patch({"a": "secret", "l": nest}, [operation])
    assert caught.value.code == 422
    assert why in caught.value.message and "secret" not in caught.value.message
