"""Strategic merge patch: each directive, the order of lists, how it fails, and that a diff leads where it should."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podstead.objects.definitions import Definition, definition, definition_of
from podstead.objects.errors import StatusError
from podstead.objects.strategic import go_text, strategic_merge_patch

POD = definition_of("", "v1", "Pod")
FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
Object = dict[str, Any]


def patched(obj: Object, patch: Any, target: Definition = POD) -> Object:
    """Apply a patch; neither it nor the object may be changed by that."""
    before = copy.deepcopy((obj, patch))
    result = strategic_merge_patch(target, obj, patch)
    assert (obj, patch) == before
    return result


def containers(*names: str) -> list[Object]:
    return [{"name": name, "image": f"{name}:1"} for name in names]


def spec(**fields: Any) -> Object:
    return {"spec": fields}


def finalizers(*names: str, **more: Any) -> Object:
    return {"metadata": {"finalizers": list(names), **more}}


# -- maps and plain values


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        pytest.param(spec(hostname="a"), spec(hostname="b"), spec(hostname="b"), id="a value"),
        pytest.param(spec(hostname="a", subdomain="s"), spec(hostname=None), spec(subdomain="s"), id="null deletes"),
        pytest.param(spec(hostname="a"), spec(subdomain=None), spec(hostname="a"), id="null of what is not there"),
        pytest.param({}, spec(dnsConfig={"options": None}), spec(dnsConfig={}), id="nulls are no values"),
        pytest.param(spec(hostname="a"), {}, spec(hostname="a"), id="nothing"),
        pytest.param(
            {"metadata": {"labels": {"a": "1", "b": "2"}}},
            {"metadata": {"labels": {"a": None, "c": "3"}}},
            {"metadata": {"labels": {"b": "2", "c": "3"}}},
            id="maps merge",
        ),
        pytest.param(
            spec(containers=[{"name": "c", "args": ["a", "b"]}]),
            spec(containers=[{"name": "c", "args": ["c"]}]),
            spec(containers=[{"name": "c", "args": ["c"]}]),
            id="lists without a strategy are replaced",
        ),
        pytest.param(
            spec(tolerations=[{"key": "a", "operator": "Exists"}]),
            spec(tolerations=[{"key": "b", "value": None}]),
            spec(tolerations=[{"key": "b"}]),
            id="so are lists of maps without one",
        ),
        pytest.param(spec(hostname="a"), spec(hostname={"x": 1}), spec(hostname={"x": 1}), id="another type"),
        pytest.param(
            spec(securityContext={"runAsUser": 1, "fsGroup": 2}),
            spec(securityContext={"$patch": "replace", "runAsUser": 3}),
            spec(securityContext={"runAsUser": 3}),
            id="replace a map",
        ),
        pytest.param(
            {}, spec(securityContext={"$patch": "replace", "runAsUser": 3}), spec(securityContext={"runAsUser": 3}),
            id="replace a map that is not there",
        ),
        pytest.param(spec(hostname="a"), {"$patch": "replace", **spec(nodeName="n")}, spec(nodeName="n"), id="the lot"),
        pytest.param(
            spec(hostname="a", affinity={"podAffinity": {}}), spec(affinity={"$patch": "delete"}), spec(hostname="a"),
            id="delete a map",
        ),
        pytest.param(
            {}, spec(affinity={"nodeAffinity": {"$patch": "delete"}}), spec(affinity={}),
            id="delete a map that is not there",
        ),
    ],
)  # fmt: skip
def test_maps(before: Object, patch: Object, after: Object) -> None:
    assert patched(before, patch) == after


# -- $retainKeys


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        pytest.param(
            spec(volumes=[{"name": "v", "emptyDir": {}}]),
            spec(volumes=[{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]),
            spec(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
            id="a union's other member goes",
        ),
        pytest.param(
            spec(volumes=[{"name": "v", "emptyDir": {"medium": "Memory"}}]),
            spec(volumes=[{"name": "v", "$retainKeys": ["name", "emptyDir"], "emptyDir": {"sizeLimit": "1Mi"}}]),
            spec(volumes=[{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]),
            id="what stays is merged",
        ),
        pytest.param(
            spec(volumes=[]),
            spec(volumes=[{"name": "v", "$retainKeys": ["name", "emptyDir"], "emptyDir": {}}]),
            spec(volumes=[{"name": "v", "emptyDir": {}}]),
            id="in an item that is new",
        ),
        pytest.param(
            spec(hostname="h", nodeName="n"), spec(**{"$retainKeys": ["nodeName"]}), spec(nodeName="n"),
            id="in any map",
        ),
        pytest.param(
            spec(hostname="h", nodeName="n"),
            spec(**{"$retainKeys": ["nodeName"], "hostname": None, "$setElementOrder/containers": []}),
            spec(nodeName="n"),
            id="nulls and directives need not be listed",
        ),
    ],
)  # fmt: skip
def test_retain_keys(before: Object, patch: Object, after: Object) -> None:
    assert patched(before, patch) == after


# -- lists that are merged by key


def names(pod: Object) -> list[str]:
    return [container["name"] for container in pod["spec"]["containers"]]


def test_items_are_merged_by_their_key() -> None:
    before = spec(containers=[{"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}, *containers("b")])
    patch = spec(
        containers=[{"name": "a", "image": "a:2", "env": [{"name": "Y", "value": None, "valueFrom": {"fieldRef": {}}}]}]
    )
    env = [{"name": "Y", "valueFrom": {"fieldRef": {}}}, {"name": "X", "value": "1"}]
    after = patched(before, patch)
    assert after["spec"]["containers"][0]["image"] == "a:2"
    assert sorted(map(str, after["spec"]["containers"][0]["env"])) == sorted(map(str, env))
    assert after["spec"]["containers"][1] is before["spec"]["containers"][1]


@pytest.mark.parametrize(
    ("live", "items", "after"),
    [
        # What the patch names stands in its order, the rest where it was in between.
        ("ab", "b", "ab"),
        ("ab", "c", "cab"),
        ("abc", "ca", "bca"),
        ("abc", "bx", "abxc"),
        ("abcd", "db", "acdb"),
        ("", "ba", "ba"),
    ],
)
def test_the_order_of_items_without_a_directive(live: str, items: str, after: str) -> None:
    patch = spec(containers=[{"name": name, "tty": True} for name in items])
    assert "".join(names(patched(spec(containers=containers(*live)), patch))) == after


@pytest.mark.parametrize(
    ("live", "items", "order", "after"),
    [
        ("abc", "", "cba", "cba"),
        ("abc", "", "bac", "bac"),
        ("abcd", "", "dc", "abdc"),
        ("ab", "c", "acb", "acb"),
        ("ab", "c", "cab", "cab"),
        ("ab", "c", "abc", "abc"),
        # What only the server has keeps its place between its neighbours.
        ("axb", "c", "abc", "axbc"),
        ("xab", "", "ba", "xba"),
        ("abx", "", "ba", "bax"),
        ("ab", "", "abz", "ab"),
        ("", "ba", "ab", None),
        ("", "ab", "ab", "ab"),
    ],
)
def test_set_element_order(live: str, items: str, order: str, after: str | None) -> None:
    said: Object = {"$setElementOrder/containers": [{"name": name} for name in order]}
    said |= {"containers": [{"name": name, "tty": True} for name in items]} if items else {}
    before = spec(containers=containers(*live)) if live else spec()
    if after is None:
        with pytest.raises(StatusError, match="The order in patch list") as raised:
            patched(before, {"spec": said})
        assert raised.value.code == 400
    else:
        assert "".join(names(patched(before, {"spec": said}))) == after


def test_an_order_for_a_list_that_is_nowhere_makes_none() -> None:
    assert patched(spec(hostname="a"), spec(**{"$setElementOrder/volumes": [{"name": "v"}]})) == spec(hostname="a")


def test_delete_items() -> None:
    before = spec(containers=containers("a", "b", "c"))
    delete = [{"name": "b", "$patch": "delete"}]
    assert names(patched(before, spec(containers=delete))) == ["a", "c"]
    assert names(patched(before, spec(containers=[*delete, *containers("d")]))) == ["d", "a", "c"]
    assert names(patched(before, spec(containers=[{"name": "z", "$patch": "delete"}]))) == ["a", "b", "c"]
    order = {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]}
    assert names(patched(before, spec(containers=delete, **order))) == ["c", "a"]
    assert patched(spec(), spec(containers=delete)) == spec(containers=[])
    twice = spec(containers=[{"name": "a", "ports": [{"containerPort": 1, "protocol": p} for p in ("TCP", "UDP")]}])
    gone = spec(containers=[{"name": "a", "ports": [{"containerPort": 1, "$patch": "delete"}]}])
    assert patched(twice, gone) == spec(containers=[{"name": "a", "ports": []}])


def test_replace_a_list() -> None:
    before = spec(containers=containers("a", "b"))
    items = [{"name": "b", "tty": True, "image": None}, {"$patch": "replace"}, {"name": "a", "$patch": "delete"}]
    assert patched(before, spec(containers=items)) == spec(containers=[{"name": "b", "tty": True}])
    assert patched(spec(), spec(containers=items)) == spec(containers=[{"name": "b", "tty": True}])
    assert patched(before, spec(containers=[{"$patch": "replace"}])) == spec(containers=[])


def test_a_key_is_not_another_of_the_same_look() -> None:
    before = spec(containers=[{"name": "a", "ports": [{"containerPort": 1, "name": "p"}]}])
    patch = spec(containers=[{"name": "a", "ports": [{"containerPort": True}, {"containerPort": "1"}]}])
    ports = patched(before, patch)["spec"]["containers"][0]["ports"]
    assert len(ports) == 3


def test_live_items_without_their_key_are_left_alone() -> None:
    before = spec(imagePullSecrets=[{}, {"name": "a"}])
    after = patched(before, spec(imagePullSecrets=[{"name": "b"}, {"name": "a", "$patch": "delete"}]))
    assert sorted(map(str, after["spec"]["imagePullSecrets"])) == ["{'name': 'b'}", "{}"]


# -- lists of values that are merged


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        ("ab", finalizers("c"), "cab"),
        ("ab", finalizers("b"), "ab"),
        ("", finalizers("b", "a"), "ba"),
        ("aba", finalizers("c"), "cab"),
        ("abcb", {"metadata": {"$deleteFromPrimitiveList/finalizers": ["b", "z"]}}, "ac"),
        ("abc", finalizers("d", **{"$deleteFromPrimitiveList/finalizers": ["b"]}), "dac"),
        ("abc", {"metadata": {"$setElementOrder/finalizers": ["b", "c", "a"]}}, "bca"),
        ("abc", finalizers("d", **{"$setElementOrder/finalizers": ["c", "d", "a"]}), "bcda"),
        (
            "abc",
            finalizers(
                "d",
                **{
                    "$setElementOrder/finalizers": ["d", "c", "a"],
                    "$deleteFromPrimitiveList/finalizers": ["b"],
                },
            ),
            "dca",
        ),
        ("ab", {"metadata": {"finalizers": None}}, None),
    ],
)
def test_lists_of_values(before: str, patch: Object, after: str | None) -> None:
    found = patched(finalizers(*before), patch)["metadata"].get("finalizers")
    assert found == (None if after is None else list(after))


def test_deleting_values_from_a_list_that_is_not_there_makes_none() -> None:
    assert patched({}, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}) == {"metadata": {}}
    assert patched({"metadata": {}}, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}) == {"metadata": {}}


# -- what is refused


@pytest.mark.parametrize(
    ("patch", "code", "words"),
    [
        ([], 400, "cannot unmarshal array into Go value of type map[string]interface {}"),
        (None, 400, "cannot unmarshal null"),
        ("x", 400, "cannot unmarshal string"),
        (7, 400, "cannot unmarshal number"),
        (spec(**{"$patch": "merge"}), 400, "unknown patch type: merge in map: map[$patch:merge]"),
        (spec(**{"$patch": 1}), 400, "unknown patch type: 1"),
        (spec(**{"$patch": ["replace"]}), 400, "unknown patch type: [replace]"),
        (spec(dnsConfig={"$patch": "x"}), 400, "unknown patch type: x"),
        (spec(containers=[{"name": "a", "$patch": "x"}]), 400, "unknown patch type: x in map: map[$patch:x name:a]"),
        (spec(containers=[{"name": "a", "$patch": "merge"}]), 400, "merging lists cannot yet be specified"),
        (spec(containers=[{"image": "i"}]), 400, "map: map[image:i] does not contain declared merge key: name"),
        (spec(containers=[{"$patch": "delete"}]), 400, "does not contain declared merge key: name"),
        (spec(containers=[{"name": ["a"]}]), 400, "merged by a key that is a []interface {}"),
        (spec(containers=["a"]), 400, "list element types are not identical: map[string]interface {}, string"),
        (spec(containers=[["a"]]), 422, "lists of lists are not supported"),
        (finalizers("a", 1), 400, "list element types are not identical: int64, string"),
        (finalizers({"a": "b"}), 400, "list element types are not identical"),
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": "a"}}, 400, "invalid patch format of primitive list"),
        ({"metadata": {"$deleteFromPrimitiveList": ["a"]}}, 400, "invalid patch format of primitive list"),
        (spec(**{"$deleteFromPrimitiveList/containers": [{"name": "a"}]}), 400, "patch format of primitive list"),
        (spec(**{"$deleteFromPrimitiveList/hostname": ["a"]}), 400, "invalid patch format of primitive list"),
        (spec(**{"$setElementOrder": []}), 400, "invalid patch format of setElementOrder list"),
        (spec(**{"$setElementOrder/": []}), 400, "invalid patch format of setElementOrder list"),
        (spec(**{"$setElementOrder/tolerations": []}), 400, "invalid patch format of setElementOrder list"),
        (spec(**{"$setElementOrder/containers": "a"}), 400, "expected a []interface {}, but received a string"),
        (spec(**{"$setElementOrder/containers": ["a"]}), 400, "list element types are not identical"),
        (spec(**{"$setElementOrder/containers": [{}]}), 400, "does not contain declared merge key: name"),
        (spec(**{"$setElementOrder/containers": [], "containers": None}), 400, "but received a <nil>"),
        (spec(**{"$retainKeys": "hostname"}), 400, "invalid patch format of retainKeys"),
        (spec(**{"$retainKeys": ["nodeName"], "hostname": "x"}), 400, "invalid patch format of retainKeys"),
    ],
)
def test_what_is_refused(patch: Any, code: int, words: str) -> None:
    before = {**finalizers("a"), **spec(containers=containers("a"), hostname="h", tolerations=[])}
    with pytest.raises(StatusError) as raised:
        patched(before, patch)
    assert raised.value.code == code
    assert words in raised.value.message


def test_a_patch_that_is_nested_without_end_is_a_bad_request() -> None:
    deep: Object = {}
    for _ in range(900):
        deep = {"a": [deep]}
    with pytest.raises(StatusError, match="nested more than") as raised:
        strategic_merge_patch(POD, {}, deep)
    assert raised.value.code == 400


def test_large_lists_take_no_more_than_their_share() -> None:
    many = [{"name": f"n{number}", "value": "x"} for number in range(20_000)]
    patch = spec(
        containers=[{"name": "a", "env": many, "$setElementOrder/env": [{"name": env["name"]} for env in many]}]
    )
    before = spec(containers=[{"name": "a", "env": list(reversed(many))}])
    assert patched(before, patch)["spec"]["containers"][0]["env"] == many


def test_values_are_printed_as_go_does() -> None:
    value = {"b": [1, True, None, "x y"], "a": {"c": {}}, "d": 1.5}
    assert go_text(value) == "map[a:map[c:map[]] b:[1 true <nil> x y] d:1.5]"


# -- a diff leads to what it was made for


def diff(old: Object, new: Object, type_: Definition) -> Object:
    """Two-way merge patch as a client makes it (kubectl apply: live to wanted), with an order for every merged list."""
    patch: Object = {name: None for name in old if name not in new}
    for name, value in new.items():
        before, field = old.get(name), type_.fields.get(name)
        if before == value:
            continue
        merged = field is not None and "merge" in field.patch_strategy
        reference = definition(field.reference) if field is not None and field.reference else None
        if isinstance(value, dict) and isinstance(before, dict):
            patch[name] = diff(before, value, reference or Definition("", {}))
        elif merged and before and isinstance(value, list):
            assert field is not None
            patch |= diff_lists(name, before, value, field.patch_merge_key, reference)
        else:
            patch[name] = value
    return patch


def diff_lists(name: str, old: list[Any], new: list[Any], key: str, type_: Definition | None) -> Object:
    if not key:
        added = [item for item in new if item not in old]
        patch: Object = {f"$setElementOrder/{name}": new} | ({name: added} if added else {})
        gone = [item for item in old if item not in new]
        return patch | ({f"$deleteFromPrimitiveList/{name}": gone} if gone else {})
    assert type_ is not None
    before = {item[key]: item for item in old}
    items: list[Object] = []
    for item in new:
        changed = diff(before[item[key]], item, type_) if item[key] in before else item
        if changed:
            items.append(changed | {key: item[key]})
    left = {item[key] for item in new}
    items += [{key: one, "$patch": "delete"} for one in before if one not in left]
    return {f"$setElementOrder/{name}": [{key: item[key]} for item in new]} | ({name: items} if items else {})


words = st.sampled_from(["a", "b", "c", "d", "e"])


def keyed(key: str, item: st.SearchStrategy[Object]) -> st.SearchStrategy[list[Object]]:
    """Lists of maps with distinct keys."""
    return st.dictionaries(words, item, max_size=4).map(
        lambda found: [{**value, key: name} for name, value in found.items()]
    )


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Object]:
    return st.fixed_dictionaries({}, optional=fields)


sources = st.one_of(
    st.just({}),
    some(emptyDir=some(medium=words, sizeLimit=words)),
    some(configMap=some(name=words, items=st.lists(some(key=words, path=words), max_size=2))),
)
container = some(
    image=words,
    args=st.lists(words, max_size=3),
    env=keyed("name", some(value=words, valueFrom=some(fieldRef=some(fieldPath=words)))),
    volumeMounts=keyed("mountPath", some(name=words, readOnly=st.booleans())),
    resources=some(limits=st.dictionaries(words, words, max_size=2)),
)
pods = st.fixed_dictionaries(
    {
        "metadata": some(
            labels=st.dictionaries(words, words, max_size=3), finalizers=st.lists(words, unique=True, max_size=4)
        ),
        "spec": some(
            containers=keyed("name", container),
            volumes=keyed("name", sources),
            tolerations=st.lists(some(key=words, value=words), max_size=3),
            hostname=words,
            securityContext=some(fsGroup=st.integers(0, 3), sysctls=st.lists(some(name=words), max_size=2)),
        ),
    }
)


def not_empty(value: Any) -> Any:
    """Without the empty lists and maps, as an object is stored."""
    if isinstance(value, dict):
        return {key: inner for key, item in value.items() if (inner := not_empty(item)) not in ({}, [])}
    return [not_empty(item) for item in value] if isinstance(value, list) else value


@FUZZ
@given(pods, pods)
def test_a_diff_applied_to_the_old_gives_the_new(old: Object, new: Object) -> None:
    assert not_empty(patched(old, diff(old, new, POD))) == not_empty(new)


@FUZZ
@given(pods, pods)
def test_applying_a_diff_twice_changes_nothing_more(old: Object, new: Object) -> None:
    patch = diff(old, new, POD)
    once = patched(old, patch)
    assert patched(once, patch) == once


directives = st.sampled_from(
    [
        *("$patch", "$retainKeys", "$setElementOrder", "$setElementOrder/containers", "$setElementOrder/finalizers"),
        *("$deleteFromPrimitiveList/finalizers", "containers", "env", "finalizers", "metadata", "name", "spec"),
    ]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | words | st.sampled_from(["replace", "delete", "merge"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(directives, inner, max_size=3),
    max_leaves=10,
)


@FUZZ
@given(pods, st.dictionaries(directives, anything, max_size=3))
def test_any_patch_gives_json_or_a_status(old: Object, patch: Object) -> None:
    try:
        after = patched(old, patch)
    except StatusError as error:
        assert error.code in (400, 422)
    else:
        assert json.loads(json.dumps(after)) == after
