"""Objects in protobuf: the table of field numbers against the schema, and bodies good, bad and hostile."""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podstead.objects import kinds, protobuf, schema
from podstead.objects.definitions import OBJECT_META, definition, definition_names
from podstead.objects.errors import StatusError
from podstead.objects.wire import encode_field, encode_varint

POD = "io.k8s.api.core.v1.Pod"
GROUPS_WITHOUT = ("io.k8s.apiextensions-apiserver.", "io.k8s.kube-aggregator.")
"""What kubectl has no types of."""
NO_MESSAGES = {"io.k8s.apimachinery.pkg.version.Info"}
"""What is told in JSON only."""


def body(raw: bytes, api_version: str = "v1", kind: str = "ConfigMap", **more: Any) -> bytes:
    """An envelope around a message."""
    type_meta = encode_field(1, api_version) + encode_field(2, kind)
    extra = b"".join(encode_field(int(number[1:]), value) for number, value in more.items())
    return protobuf.MAGIC + encode_field(1, type_meta) + encode_field(2, raw) + extra


def decode(data: bytes) -> dict[str, Any]:
    return protobuf.decode(data, api_version="v1", kind="ConfigMap")


def refused(data: bytes) -> str:
    with pytest.raises(StatusError) as caught:
        decode(data)
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")
    return caught.value.message


# -- the table


def test_every_definition_has_a_message_with_all_its_fields() -> None:
    names = [name for name in definition_names() if not name.startswith(GROUPS_WITHOUT) and name not in NO_MESSAGES]
    wanted = {name for name in names if not definition(name).leaf}
    assert wanted <= set(protobuf.message_names())
    for name in wanted:
        assert set(definition(name).fields) - told(name, name) <= {"apiVersion", "kind"}, name


def told(name: str, owner: str) -> set[str]:
    """The names of a message's fields. A name that the schema has not is a KeyError."""
    fields = protobuf.message(name, owner).fields.values()
    plain = {field.name for field in fields if not field.inlined and not field.removed}
    return plain.union(*(told(field.name, owner) for field in fields if field.inlined))


def test_what_is_served_can_be_sent() -> None:
    for info in kinds.DISCOVERED:
        name = schema.definition_of(info.group, info.version, info.kind).name
        assert name.startswith(GROUPS_WITHOUT) or protobuf.message(name).fields


@pytest.mark.parametrize(
    ("name", "number", "field"),
    [
        # From kubernetes/api's and apimachinery's generated.proto.
        (OBJECT_META, 1, "name"),
        (OBJECT_META, 8, "creationTimestamp"),
        (OBJECT_META, 17, "managedFields"),
        (POD, 2, "spec"),
        ("io.k8s.api.core.v1.PodSpec", 2, "containers"),
        ("io.k8s.api.core.v1.PodSpec", 20, "initContainers"),
        ("io.k8s.api.core.v1.Container", 10, "livenessProbe"),
        ("io.k8s.api.core.v1.Secret", 4, "stringData"),
        ("io.k8s.api.apps.v1.DeploymentSpec", 9, "progressDeadlineSeconds"),
        ("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", 4, "propagationPolicy"),
    ],
)
def test_some_numbers_by_hand(name: str, number: int, field: str) -> None:
    assert protobuf.message(name).fields[number].name == field


# -- bodies


def test_an_object_with_its_kind() -> None:
    meta = encode_field(1, "cm") + encode_field(3, "") + encode_field(8, b"") + encode_field(15, "")
    data = b"".join(
        encode_field(2, encode_field(1, key) + encode_field(2, value)) for key, value in (("a", "1"), ("b", ""))
    )
    binary = encode_field(3, encode_field(1, "raw") + encode_field(2, b"\0\xff"))
    assert decode(body(encode_field(1, meta) + data + binary)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "cm"},
        "data": {"a": "1", "b": ""},
        "binaryData": {"raw": "AP8="},
    }


def test_a_body_without_kind_is_what_was_expected() -> None:
    assert decode(protobuf.MAGIC) == {"apiVersion": "v1", "kind": "ConfigMap"}


def test_what_go_sends_for_unset_is_left_out_and_pointers_to_zero_are_kept() -> None:
    context = encode_field(4, 0) + encode_field(2, 0)  # runAsUser and privileged are pointers in Go
    container = encode_field(1, "c") + encode_field(2, "") + encode_field(5, "") + encode_field(15, context)
    spec = (
        encode_field(2, container)
        + encode_field(3, "")
        + encode_field(11, 0)
        + encode_field(13, 0)
        + encode_field(4, 0)
    )
    told = decode(body(encode_field(2, spec), kind="Pod"))["spec"]
    assert told == {
        "containers": [{"name": "c", "securityContext": {"runAsUser": 0, "privileged": False}}],
        "terminationGracePeriodSeconds": 0,
    }


def test_fields_of_an_inlined_message_are_the_outer_ones() -> None:
    handler = encode_field(2, encode_field(1, "/x") + encode_field(2, encode_field(1, 1) + encode_field(3, "web")))
    probe = encode_field(1, handler) + encode_field(2, 5)
    spec = encode_field(2, encode_field(1, "c") + encode_field(10, probe))
    container = decode(body(encode_field(2, spec), kind="Pod"))["spec"]["containers"][0]
    assert container["livenessProbe"] == {"httpGet": {"path": "/x", "port": "web"}, "initialDelaySeconds": 5}


@pytest.mark.parametrize("packed", [True, False])
def test_numbers_of_a_list_are_packed_or_not(packed: bool) -> None:
    groups = (1, 300, 2**40)
    listed = (
        encode_field(4, b"".join(map(encode_varint, groups)))
        if packed
        else b"".join(encode_field(4, x) for x in groups)
    )
    spec = encode_field(14, listed)
    assert decode(body(encode_field(2, spec), kind="Pod"))["spec"]["securityContext"] == {
        "supplementalGroups": [*groups]
    }


def test_a_message_that_comes_twice_is_one() -> None:
    parts = encode_field(1, encode_field(1, "a")) + encode_field(1, encode_field(1, "b") + encode_field(3, "ns"))
    assert decode(body(parts))["metadata"] == {"name": "b", "namespace": "ns"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_700_000_000, "2023-11-14T22:13:20Z"),
        (-62_135_596_800 + (1 << 64), "0001-01-01T00:00:00Z"),
    ],
)
def test_times(seconds: int, text: str) -> None:
    meta = encode_field(8, encode_field(1, seconds) + encode_field(2, 5))
    assert decode(body(encode_field(1, meta)))["metadata"] == {"creationTimestamp": text}


def test_negative_numbers_are_signed() -> None:
    container = encode_field(2, encode_field(1, "c"))
    below = encode_field(25, (1 << 64) - 7)
    assert decode(body(encode_field(2, container + below), kind="Pod"))["spec"]["priority"] == -7


def test_json_within_protobuf() -> None:
    fields = encode_field(1, json.dumps({"f:data": {}}).encode())
    entry = encode_field(1, "kubectl") + encode_field(7, fields)
    meta = decode(body(encode_field(1, encode_field(17, entry))))["metadata"]
    assert meta == {"managedFields": [{"manager": "kubectl", "fieldsV1": {"f:data": {}}}]}


def test_an_object_within_an_object_may_be_protobuf_too() -> None:
    inner = body(encode_field(1, encode_field(1, "cm")))
    items = encode_field(2, encode_field(1, inner))
    told = protobuf.decode(
        body(items, "apps/v1", "ControllerRevision"), api_version="apps/v1", kind="ControllerRevision"
    )
    assert told["data"] == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}}


# -- what is refused


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "expected prefix [107, 56, 115, 0] (<empty>)"),
        (b"{}", "expected prefix"),
        (b"k8s\x01", "expected prefix"),
        (body(encode_field(99, "x")), "unknown field number 99 of ConfigMap"),
        (body(encode_field(1, encode_field(77, 1))), 'unknown field number 77 of ObjectMeta at "metadata"'),
        (body(encode_field(1, encode_field(15, "far"))), 'field "metadata.clusterName" (number 15 of ObjectMeta)'),
        (body(encode_field(1, 5)), 'wrong wire type (varint) for field "metadata"'),
        (body(encode_field(4, "x")), 'wrong wire type (length-delimited) for field "immutable"'),
        (body(encode_field(1, encode_field(1, b"\xff"))), 'invalid UTF-8 in field "metadata.name"'),
        (
            body(encode_field(2, encode_field(1, "k") + encode_field(3, "x"))),
            'unknown field number 3 of an entry of "data"',
        ),
        (body(b"\x0b"), "illegal wire type 3 of field 1"),
        (body(b"\x02\x00"), "illegal field number 0"),
        (body(b"\x0a\x7f"), "unexpected EOF"),
        (body(b"\xff" * 11), "a number is longer than 64 bits"),
        (body(b"", kind="Widget"), 'no kind "Widget" is registered for version "v1"'),
        (body(b"", "apps/v1", "Pod"), 'no kind "Pod" is registered for version "apps/v1"'),
        (body(b"", _3="gzip"), 'encoding "gzip" within protobuf is not supported'),
        (body(b"", _4="application/json"), 'type "application/json"'),
        (body(encode_field(1, encode_field(8, encode_field(1, 1 << 62)))), "is out of range"),
        (
            body(encode_field(1, encode_field(8, encode_field(5, 1)))),
            'unknown field number 5 at "metadata.creationTimestamp"',
        ),
        (body(encode_field(1, encode_field(17, encode_field(7, encode_field(1, "{"))))), "is not JSON"),
        (protobuf.MAGIC + encode_field(9, "x"), "runtime.Unknown has no field 9"),
    ],
)
def test_a_bad_body_is_told_why(data: bytes, words: str) -> None:
    assert words in refused(data)


def test_a_number_beyond_its_type() -> None:
    assert "out of range of int32" in refused(body(encode_field(2, encode_field(25, 1 << 40)), kind="Pod"))


def test_objects_within_objects_have_an_end() -> None:
    inner = body(b"")
    for _ in range(300):
        inner = body(encode_field(2, encode_field(1, inner)), "apps/v1", "ControllerRevision")
    assert "exceeded max depth" in refused(inner)


# -- at random


def message_of(name: str, obj: dict[str, Any], owner: str = "") -> bytes:
    """Encode an object by the table: the way back."""
    parts = []
    for number, field in protobuf.message(name, owner).fields.items():
        if field.inlined:
            inner = message_of(field.name, obj, owner or name)
            parts += [encode_field(number, inner)] if inner else []
        elif field.name in obj and not field.removed:
            value = obj[field.name]
            if field.is_map:
                pairs = ((key, _values(field, item)) for key, item in value.items())
                parts += [encode_field(number, encode_field(1, key) + b"".join(items)) for key, items in pairs]
            else:
                parts += [_renumbered(number, part) for part in _values(field, value)]
    return b"".join(parts)


def _values(field: Any, value: Any) -> list[bytes]:
    """A value's parts, each a field 2."""
    if field.is_list and field.wrapped:
        return [encode_field(2, b"".join(_renumbered(1, _value(field.type, each)) for each in value))]
    return [_value(field.type, each) for each in (value if field.is_list else [value])]


def _renumbered(number: int, part: bytes) -> bytes:
    return encode_varint(number << 3 | part[0] & 7) + part[1:]


def _value(type_: str, value: Any) -> bytes:
    if type_ == "bytes":
        return encode_field(2, b64decode(value))
    if type_ == "float64":
        return b"\x11" + struct.pack("<d", value)
    if type_[0] != "#":
        return encode_field(2, value % (1 << 64) if type_ in ("int32", "int64") else value)
    match definition(type_[1:]).leaf:
        case "":
            return encode_field(2, message_of(type_[1:], value))
        case "quantity":
            return encode_field(2, encode_field(1, value))
        case "intorstring" if isinstance(value, str):
            return encode_field(2, encode_field(1, 1) + encode_field(3, value))
        case "intorstring":
            return encode_field(2, encode_field(2, value % (1 << 64)))
        case "object":
            return encode_field(2, encode_field(1, json.dumps(value)))
        case _:
            moment = datetime.fromisoformat(value)
            return encode_field(
                2, encode_field(1, int(moment.timestamp())) + encode_field(2, moment.microsecond * 1000)
            )


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "bytes": st.sampled_from(["AA==", "aGk="]),
    "bool": st.just(True),
    "int32": st.integers(-(2**31), 2**31 - 1).filter(bool),
    "int64": st.integers(-(2**63), 2**63 - 1).filter(bool),
    "float64": st.floats(allow_nan=False).filter(bool),
    "quantity": st.sampled_from(["1", "100m", "5Gi"]),
    "intorstring": st.one_of(st.integers(1, 65535), TEXT),
    "object": st.sampled_from([{"a": [1, None]}, {"f:x": {}}]),
    "time": st.sampled_from(["2026-11-22T01:02:03Z"]),
    "microtime": st.sampled_from(["2026-11-22T01:02:03.000456Z"]),
}


@st.composite
def objects(draw: st.DrawFn, name: str, depth: int = 0) -> dict[str, Any]:
    """An object with some of a definition's fields."""
    fields = [field for field in definition(name).fields.values() if field.name not in ("apiVersion", "kind")]
    chosen = draw(st.lists(st.sampled_from(fields), max_size=3, unique_by=lambda field: field.name)) if fields else []
    made = {}
    for field in chosen:
        value = draw(values(field.element, depth))
        if field.type.startswith("map[string][]"):
            made[field.name] = {draw(TEXT): [value]}
        elif field.type.startswith("map[string]"):
            made[field.name] = {draw(TEXT): value}
        else:
            made[field.name] = [value, value] if field.type.startswith("[]") else value
    return made


def values(type_: str, depth: int) -> st.SearchStrategy[Any]:
    if type_[0] != "#":
        return LEAVES[type_]
    leaf = definition(type_[1:]).leaf
    return LEAVES[leaf] if leaf else objects(type_[1:], depth + 1) if depth < 5 else st.just({})


KINDS = sorted(
    (kind, name)
    for name in definition_names()
    if name in protobuf.message_names()
    for kind in definition(name).kinds[:1]
    if not kind[2].endswith(("List", "Options")) and "metadata" in definition(name).fields
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), objects(kind[1]))))
def test_every_object_comes_back_as_it_was(made: tuple[Any, dict[str, Any]]) -> None:
    ((group, version, kind), name), obj = made
    api_version = f"{group}/{version}" if group else version
    told = protobuf.decode(body(message_of(name, obj), api_version, kind), api_version="v1", kind="ConfigMap")
    assert without_empty(told) == without_empty({"apiVersion": api_version, "kind": kind, **obj})


def without_empty(value: Any) -> Any:
    """An inlined message with nothing set cannot be told from none."""
    if isinstance(value, dict):
        return {key: kept for key, each in value.items() if (kept := without_empty(each)) != {}}
    return [without_empty(each) for each in value] if isinstance(value, list) else value


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["ConfigMap", "Pod", "Secret", "Node", "Event"]))
def test_bytes_at_random_are_an_object_or_a_400(raw: bytes, kind: str) -> None:
    an_object_or_a_400(body(raw, kind=kind))
    an_object_or_a_400(protobuf.MAGIC + raw)


@settings(max_examples=100, deadline=None)
@given(objects(POD), st.data())
def test_a_damaged_object_is_an_object_or_a_400(obj: dict[str, Any], data: st.DataObject) -> None:
    whole = bytearray(body(message_of(POD, obj), kind="Pod"))
    place = data.draw(st.integers(4, len(whole) - 1))
    an_object_or_a_400(bytes(whole[:place]))
    whole[place] = data.draw(st.integers(0, 255))
    an_object_or_a_400(bytes(whole))


def an_object_or_a_400(data: bytes) -> None:
    try:
        assert isinstance(decode(data), dict)
    except StatusError as error:
        assert error.code == 400
