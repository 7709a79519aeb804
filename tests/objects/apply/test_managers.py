"""Who owns what after creates, updates and applies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podstead.objects import schema
from podstead.objects.apply import Manager, applied, created, updated
from podstead.objects.apply.always import ALWAYS
from podstead.objects.apply.configuration import configuration
from podstead.objects.apply.managers import ANCIENT, MAX_UPDATERS
from podstead.objects.apply.shapes import shape_of
from podstead.objects.definitions import definition, definition_names, definition_of
from podstead.objects.errors import StatusError

Object = dict[str, Any]


def who(name: str, second: int = 0, subresource: str = "") -> Manager:
    return Manager(name, "v1", subresource, f"2026-01-01T00:00:{second:02}Z")


def apply_to(live: Object | None, config: Object, name: str = "me", force: bool = False, second: int = 0) -> Object:
    group, _, version = config["apiVersion"].rpartition("/")
    found = definition_of(group, version, config["kind"])
    checked = configuration(found, config, group, version, config["kind"])
    return applied(shape_of(found.name), live, checked, who(name, second), force)


def config_map(data: dict[str, Any] | None = None, **more: Any) -> Object:
    metadata = {"name": "a", "namespace": "d", **more}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **({"data": data} if data else {})}


def pod(*containers: Object, **spec: Any) -> Object:
    metadata = {"name": "p", "namespace": "d"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": list(containers), **spec}}


def owned(obj: Object) -> dict[str, Any]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"].get("managedFields", ())}


def test_a_new_pods_fields_are_those_that_a_real_server_writes() -> None:
    new = pod({"name": "c", "image": "x", "ports": [{"containerPort": 80}]}, volumes=[{"name": "v", "emptyDir": {}}])
    new["metadata"]["labels"] = {"app": "x"}
    schema.default("io.k8s.api.core.v1.Pod", new)
    [entry] = created(shape_of("io.k8s.api.core.v1.Pod"), new, who("kubectl-create"))
    assert list(entry) == ["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1"]
    assert json.dumps(entry["fieldsV1"], separators=(",", ":")) == (
        '{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{\\"name\\":\\"c\\"}":{".":{},'
        '"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:ports":{".":{},'
        '"k:{\\"containerPort\\":80,\\"protocol\\":\\"TCP\\"}":{".":{},"f:containerPort":{},"f:protocol":{}}},'
        '"f:resources":{},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},'
        '"f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},'
        '"f:terminationGracePeriodSeconds":{},"f:volumes":{".":{},"k:{\\"name\\":\\"v\\"}":{".":{},"f:emptyDir":{},'
        '"f:name":{}}}}}'
    )


def test_an_update_takes_what_it_changes_and_drops_what_it_removes() -> None:
    shape = shape_of("io.k8s.api.core.v1.ConfigMap")
    live = config_map({"a": "1", "b": "1", "c": "1"})
    live["metadata"]["managedFields"] = created(shape, live, who("one"))
    new = config_map({"a": "1", "b": "2"}, managedFields=live["metadata"]["managedFields"])
    new["metadata"]["managedFields"] = updated(shape, live, new, who("two", 1))
    assert owned(new) == {"one": {"f:data": {".": {}, "f:a": {}}}, "two": {"f:data": {"f:b": {}}}}
    assert updated(shape, new, new, who("three", 2)) is new["metadata"]["managedFields"]


def test_a_client_may_reset_or_set_the_list_but_not_spoil_it() -> None:
    shape = shape_of("io.k8s.api.core.v1.ConfigMap")
    live = config_map({"a": "1"})
    live["metadata"]["managedFields"] = known = created(shape, live, who("one"))
    reset = config_map({"a": "1"}, managedFields=[{}])
    assert updated(shape, live, reset, who("two")) == []
    spoiled = config_map({"a": "1"}, managedFields=[{**known[0], "fieldsV1": {"nonsense": {}}}])
    assert updated(shape, live, spoiled, who("two")) == known
    given_over = config_map({"a": "1"}, managedFields=[{**known[0], "manager": "two"}])
    assert updated(shape, live, given_over, who("three")) == [{**known[0], "manager": "two"}]
    # Without a list nothing is tracked until somebody applies; then the rest has been there before.
    assert updated(shape, config_map({"a": "1"}), config_map({"a": "2"}), who("two")) == []
    after = apply_to(config_map({"a": "1"}), config_map({"b": "1"}))
    assert set(owned(after)) == {"me", "before-first-apply"}


def test_the_oldest_updates_are_merged() -> None:
    shape = shape_of("io.k8s.api.core.v1.ConfigMap")
    live = config_map({"k": "0"})
    live["metadata"]["managedFields"] = created(shape, live, who("m0"))
    for number in range(1, 15):
        new = config_map({**live["data"], f"k{number}": "1"}, managedFields=live["metadata"]["managedFields"])
        new["metadata"]["managedFields"] = updated(shape, live, new, who(f"m{number:02}", number))
        live = new
    entries = owned(live)
    assert len(entries) == MAX_UPDATERS and {"m05", "m06"} & set(entries) == {"m06"}
    assert set(entries[ANCIENT]["f:data"]) == {".", "f:k", *(f"f:k{number}" for number in range(1, 6))}


def test_an_apply_removes_what_only_it_owned() -> None:
    live = apply_to(None, config_map({"a": "1", "b": "1"}, labels={"x": "y"}))
    live = apply_to(live, config_map({"b": "1"}), "other")
    live = apply_to(live, config_map({"c": "1"}))
    assert live["data"] == {"b": "1", "c": "1"} and "labels" not in live["metadata"]
    assert live["metadata"]["name"] == "a"
    assert owned(live) == {"me": {"f:data": {"f:c": {}}}, "other": {"f:data": {"f:b": {}}}}


def test_an_apply_merges_lists_by_key_and_keeps_what_others_added() -> None:
    live = apply_to(None, pod({"name": "a", "image": "1"}, {"name": "b", "image": "1"}))
    shape = shape_of("io.k8s.api.core.v1.Pod")
    new = pod({"name": "a", "image": "1"}, {"name": "x", "image": "1"}, {"name": "b", "image": "1", "tty": True})
    new["metadata"]["managedFields"] = updated(shape, live, new, who("injector"))
    live = apply_to(new, pod({"name": "c", "image": "1"}, {"name": "b", "image": "1"}))
    # "a" is gone with its owner, "b" keeps what the injector set in it, "x" keeps its place.
    assert [each["name"] for each in live["spec"]["containers"]] == ["x", "c", "b"]
    assert live["spec"]["containers"][2] == {"name": "b", "image": "1", "tty": True}


def test_conflicts_name_the_owner_and_the_field() -> None:
    live = apply_to(None, config_map({"key": "1", "two": "1"}), "one")
    with pytest.raises(StatusError) as error:
        apply_to(live, config_map({"key": "2"}))
    assert error.value.message == 'Apply failed with 1 conflict: conflict with "one": .data.key'
    assert error.value.status()["details"] == {
        "causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.key"}]
    }
    shape = shape_of("io.k8s.api.core.v1.ConfigMap")
    live = config_map({"key": "1", "two": "1"})
    live["metadata"]["managedFields"] = created(shape, live, who("kubectl-client-side-apply"))
    with pytest.raises(StatusError) as error:
        apply_to(live, config_map({"key": "2", "two": "2"}))
    assert (error.value.code, error.value.reason) == (409, "Conflict")
    assert error.value.message == (
        'Apply failed with 2 conflicts: conflicts with "kubectl-client-side-apply" using v1:\n- .data.key\n- .data.two'
    )
    forced = apply_to(live, config_map({"key": "2", "two": "2"}), force=True)
    assert owned(forced)["kubectl-client-side-apply"] == {"f:data": {}}


def test_null_removes_a_value_and_conflicts_with_its_owner() -> None:
    live = apply_to(None, pod({"name": "c", "image": "1", "tty": True}), "one")
    nothing = pod({"name": "c", "image": "1", "tty": None})
    with pytest.raises(StatusError) as error:
        apply_to(live, nothing)
    assert error.value.message.endswith('.spec.containers[name="c"].tty')
    assert apply_to(live, nothing, force=True)["spec"]["containers"] == [{"name": "c", "image": "1"}]


def test_the_same_value_is_shared() -> None:
    live = apply_to(apply_to(None, config_map({"a": "1"}), "one"), config_map({"a": "1"}), "two")
    assert owned(live) == {"one": {"f:data": {"f:a": {}}}, "two": {"f:data": {"f:a": {}}}}
    with pytest.raises(StatusError):
        apply_to(live, config_map({"a": "2"}), "two")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            pod({"name": "c", "imag": "x"}),
            '(d/p; /v1, Kind=Pod): .spec.containers[name="c"].imag: field not declared in',
        ),
        (pod({"name": "c"}, {"name": "c"}), '.spec.containers: duplicate entries for key [name="c"]'),
        (pod({"image": "c"}), 'associative list with keys has an element that omits key field "name"'),
        (config_map(managedFields=[]), "metadata.managedFields must be nil"),
        ({**config_map(), "apiVersion": "v2"}, "Specified patch version: v2, expected: v1"),
        (
            config_map({"a": 7}),
            "failed to create typed patch object (d/a; /v1, Kind=ConfigMap): json: cannot unmarshal",
        ),
    ],
)
def test_what_cannot_be_applied(config: Object, words: str) -> None:
    found = definition_of("", "v1", config["kind"])
    with pytest.raises(StatusError) as error:
        configuration(found, config, "", "v1", config["kind"])
    assert error.value.code == 400 and words in error.value.message


_data = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["1", "2"]), max_size=4)


@given(_data, _data, _data)
def test_an_apply_again_changes_nothing(others: dict[str, str], first: dict[str, str], second: dict[str, str]) -> None:
    live = apply_to(None, config_map(others), "other")
    live = apply_to(live, config_map(first), force=True, second=1)
    live = apply_to(live, config_map(second), force=True, second=2)
    assert apply_to(live, config_map(second), second=3) == live
    assert second.items() <= live.get("data", {}).items()


@given(_data, _data, _data)
def test_disjoint_appliers_never_conflict(one: dict[str, str], two: dict[str, str], again: dict[str, str]) -> None:
    mine = {f"my-{key}": value for key, value in two.items()}
    live = apply_to(apply_to(None, config_map(one), "one"), config_map(mine), "two")
    live = apply_to(live, config_map(again), "one")
    assert live.get("data", {}) == {**again, **mine}


def test_every_field_that_is_always_there_exists() -> None:
    structs = {name.rpartition(".")[2]: name for name in definition_names()}
    for path in ALWAYS:
        struct, _, field = path.partition(".")
        assert field in definition(structs[struct]).fields, path
