"""Whatever a pod holds, it is answered with causes: never with an exception of another kind."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podstead.objects import errors, schema
from podstead.objects.definitions import definition
from podstead.objects.errors import StatusError
from podstead.objects.validation import validate_create, validate_update
from support.manifests import PODS, pod

TEXTS = st.sampled_from(["", "a", "A_b", "/a/../b", "..x", "1", "Always", "In", "a.b/c", "é\n", "x" * 300, "-1"])
LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, 1, 80, -1, 512]),
    "int64": st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 30, -1]),
    "quantity": st.sampled_from(["0", "1", "-1", "100m", "1Gi", "1e3", "3n", "9999999999999999999E", 1, 0.5]),
    "time": st.just("2026-01-01T00:00:00Z"),
    "microtime": st.just("2026-01-01T00:00:00.000000Z"),
    "intorstring": st.integers(-1, 70000) | TEXTS,
    "object": st.just({}),
    "any": st.none(),
}
WRONG = st.none() | st.booleans() | st.integers() | TEXTS | st.lists(st.none(), max_size=2) | st.just({"x": 1})


@cache
def values(type_: str, depth: int) -> st.SearchStrategy[Any]:
    """Values of a type of the schema, structs to a depth of `depth`."""
    if type_.startswith("[]"):
        return st.lists(values(type_[2:], depth), max_size=2)
    if type_.startswith("map[string]"):
        keys = st.sampled_from(["", "cpu", "memory", "hugepages-2Mi", "a.io/b", "storage", "A b"])
        return st.dictionaries(keys, values(type_[11:], depth), max_size=2)
    if type_[0] != "#":
        return LEAVES[type_]
    target = definition(type_[1:])
    if target.leaf:
        return LEAVES[target.leaf]
    if depth == 0:
        return st.just({})
    fields = {name: values(field.type, depth - 1) for name, field in target.fields.items()}
    return st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: fields[name] for name in names})
    )


def answered(obj: dict[str, Any]) -> None:
    """Take a pod the way of a request, through a create and through updates of one that is right."""
    try:
        checked, _ = schema.prune(PODS, obj)
    except StatusError as error:
        assert error.code == 400
        return
    new = schema.default(PODS, checked)
    before = copy.deepcopy(new)
    for causes in (
        validate_create(PODS, new),
        *(validate_update(PODS, new, GOOD, part) for part in ("", "status", "ephemeralcontainers")),
        *(validate_update(PODS, GOOD, new, part) for part in ("", "status", "ephemeralcontainers")),
    ):
        if causes:
            found = errors.invalid("Pod", "web", causes)
            assert found.code == 422 and all(cause["field"] for cause in found.status()["details"]["causes"])
    assert new == before, "validation changed what it was given"


GOOD = pod({"ports": [{"containerPort": 80}]}, volumes=[{"name": "v", "emptyDir": {}}])
SETTINGS = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@SETTINGS
@given(part=values("#io.k8s.api.core.v1.PodSpec", 5), status=values("#io.k8s.api.core.v1.PodStatus", 4))
def test_any_spec_of_the_right_types_is_answered(part: dict[str, Any], status: dict[str, Any]) -> None:
    answered({**GOOD, "spec": {**GOOD["spec"], **part}, "status": status})


@SETTINGS
@given(part=values("#io.k8s.api.core.v1.Container", 5), volume=values("#io.k8s.api.core.v1.Volume", 6))
def test_any_container_and_volume_of_the_right_types_are_answered(part: dict[str, Any], volume: dict[str, Any]) -> None:
    containers = [{"name": "c", "image": "a", **part}]
    answered({**GOOD, "spec": {"containers": containers, "initContainers": containers, "volumes": [volume]}})


@SETTINGS
@given(data=st.data())
def test_any_change_of_a_good_pod_is_answered(data: st.DataObject) -> None:
    """Parts are replaced by whatever JSON has, dropped or repeated."""
    obj: Any = copy.deepcopy(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = obj
        while True:
            keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and data.draw(st.booleans()):
                place = place[key]
                continue
            how = data.draw(st.sampled_from(["replace", "drop", "repeat"]))
            if how == "replace":
                place[key] = data.draw(WRONG)
            elif how == "drop":
                del place[key]
            elif isinstance(place, list):
                place.append(copy.deepcopy(place[key]))
            break
    answered(obj)
