"""What a user is told of a body that is wrong, and what is left of one that is right."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podstead.objects import definitions, kinds, schema
from podstead.objects.errors import StatusError

PODS = kinds.by_resource("pods")
VALIDATIONS: tuple[schema.Validation, ...] = ("Ignore", "Warn", "Strict")
AS_POD = 'Pod in version "v1" cannot be handled as a Pod: '


def pod(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "c", "image": "i"}]} | spec,
    }


def refusal(target: schema.Target, obj: Any, validation: schema.Validation = "Strict", **more: Any) -> str:
    with pytest.raises(StatusError) as caught:
        schema.check(target, obj, validation=validation, **more)
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")
    return caught.value.message


def container(**fields: Any) -> dict[str, Any]:
    return pod(containers=[{"name": "c"} | fields])


def kept(**fields: Any) -> dict[str, Any]:
    checked, _ = schema.check(PODS, container(**fields))
    found: dict[str, Any] = checked["spec"]["containers"][0]
    return found


# Unknown and duplicate fields


def test_strict_names_each_unknown_field() -> None:
    obj = pod(foo=1)
    obj["spec"]["containers"][0]["bar"] = 2
    assert refusal(PODS, obj) == (
        AS_POD + 'strict decoding error: unknown field "spec.containers[0].bar", unknown field "spec.foo"'
    )


def test_warn_drops_unknown_fields_and_says_so() -> None:
    checked, warnings = schema.check(PODS, pod(foo=1), validation="Warn")
    assert warnings == ['unknown field "spec.foo"']
    assert checked == pod()


def test_ignore_drops_unknown_fields_in_silence() -> None:
    assert schema.check(PODS, pod(foo=1), validation="Ignore") == (pod(), [])


def test_field_names_are_case_sensitive() -> None:
    assert 'unknown field "spec.dnspolicy"' in refusal(PODS, pod(dnspolicy="Default"))


def test_duplicates_are_found_wherever_they_are() -> None:
    body = b'{"metadata":{"name":"a","name":"b"},"spec":{"containers":[{"name":"x"},{"image":"y","image":"z"}]}}'
    obj, duplicates = schema.decode_json(body)
    assert obj["metadata"]["name"] == "b"
    assert duplicates == ["metadata.name", "spec.containers[1].image"]
    assert refusal(PODS, obj, duplicates=duplicates) == (
        AS_POD + 'strict decoding error: duplicate field "metadata.name", duplicate field "spec.containers[1].image"'
    )


def test_a_field_that_is_unknown_and_twice_there_is_reported_once() -> None:
    obj, duplicates = schema.decode_json(b'{"spec":{"foo":{"a":1,"a":2},"foo":{"a":1,"a":2}}}')
    _, warnings = schema.check(PODS, obj, validation="Warn", duplicates=duplicates)
    assert warnings == ['unknown field "spec.foo"']


def test_no_duplicates_in_a_string_that_looks_like_it() -> None:
    assert schema.decode_json(b'{"a":"{\\"b\\":1,\\"b\\":2}","c":{"b":1},"d":{"b":1}}')[1] == []


def test_duplicates_are_not_looked_for_where_none_are_asked_for() -> None:
    assert schema.decode_json(b'{"a":1,"a":2}', duplicates=False) == ({"a": 2}, [])


def test_a_hundred_problems_are_enough() -> None:
    obj = pod(**{f"foo{number}": 1 for number in range(500)})
    assert len(schema.check(PODS, obj)[1]) == 100


def test_known_but_unusual_fields_stay() -> None:
    managed = [{"manager": "m", "operation": "Update", "fieldsV1": {"f:spec": {"anything": None}}}]
    obj = pod() | {"metadata": {"name": "a", "managedFields": managed}}
    assert schema.check(PODS, obj, validation="Strict") == (obj, [])


# Wrong types


@pytest.mark.parametrize(
    ("obj", "found", "field", "wanted"),
    [
        ({"metadata": {"name": 5}}, "number", "ObjectMeta.metadata.name", "string"),
        ({"kind": 5}, "number", "Pod.kind", "string"),
        ({"metadata": "x"}, "string", "Pod.metadata", "v1.ObjectMeta"),
        ({"metadata": {"labels": {"a": True}}}, "bool", "ObjectMeta.metadata.labels", "string"),
        ({"metadata": {"labels": []}}, "array", "ObjectMeta.metadata.labels", "map[string]string"),
        ({"spec": {"containers": {}}}, "object", "PodSpec.spec.containers", "[]v1.Container"),
        ({"spec": {"containers": ["c"]}}, "string", "PodSpec.spec.containers", "v1.Container"),
        ({"spec": {"hostNetwork": "yes"}}, "string", "PodSpec.spec.hostNetwork", "bool"),
        ({"spec": {"priority": "high"}}, "string", "PodSpec.spec.priority", "int32"),
        ({"spec": {"priority": 2**31}}, "number 2147483648", "PodSpec.spec.priority", "int32"),
        ({"spec": {"activeDeadlineSeconds": 1.5}}, "number 1.5", "PodSpec.spec.activeDeadlineSeconds", "int64"),
        ({"spec": {"containers": [{"command": ["a", 1]}]}}, "number", "Container.spec.containers.command", "string"),
        (
            {"spec": {"containers": [{"livenessProbe": {"tcpSocket": {"port": True}}}]}},
            "bool",
            "TCPSocketAction.spec.containers.livenessProbe.tcpSocket.port",
            "int32",
        ),
    ],
)
def test_wrong_types_are_told_in_gos_words(obj: dict[str, Any], found: str, field: str, wanted: str) -> None:
    told = f"{AS_POD}json: cannot unmarshal {found} into Go struct field {field} of type {wanted}"
    for validation in VALIDATIONS:
        assert refusal(PODS, obj, validation) == told


@pytest.mark.parametrize("obj", [None, 5, "x", [], True])
def test_a_body_that_is_no_object_is_refused(obj: Any) -> None:
    assert "the object provided is unrecognized (must be of type Pod)" in refusal(PODS, obj)


def test_boolean_is_no_number() -> None:
    assert "cannot unmarshal bool" in refusal(PODS, pod(priority=True))


# Values that are printed anew


@pytest.mark.parametrize(
    ("given", "printed"), [("1000m", "1"), (0.5, "500m"), (2, "2"), ("64Mi", "64Mi"), ("1e3", "1e3")]
)
def test_quantities_are_text_in_canonical_form(given: Any, printed: str) -> None:
    assert kept(resources={"limits": {"cpu": given}})["resources"]["limits"]["cpu"] == printed


@pytest.mark.parametrize("wrong", ["", "1x", "Mi", True, [], {}])
def test_quantities_that_are_none_are_refused(wrong: Any) -> None:
    assert refusal(PODS, container(resources={"limits": {"cpu": wrong}})).startswith(AS_POD)


@pytest.mark.parametrize("port", [80, "http"])
def test_int_or_string_takes_both(port: int | str) -> None:
    assert kept(livenessProbe={"tcpSocket": {"port": port}})["livenessProbe"]["tcpSocket"]["port"] == port


@pytest.mark.parametrize(
    ("given", "printed"),
    [
        ("2026-07-01T10:00:00Z", "2026-07-01T10:00:00Z"),
        ("2026-07-31T10:00:00.999Z", "2026-07-31T10:00:00Z"),
        ("2026-01-01T00:30:00+02:00", "2025-12-31T22:30:00Z"),
    ],
)
def test_times_are_printed_in_utc(given: str, printed: str) -> None:
    checked, _ = schema.check(PODS, {"status": {"startTime": given}})
    assert checked["status"]["startTime"] == printed


def test_micro_times_keep_six_digits() -> None:
    events = kinds.by_resource("events")
    checked, _ = schema.check(events, {"eventTime": "2026-07-01T10:00:00.1234567Z"})
    assert checked["eventTime"] == "2026-07-01T10:00:00.123456Z"
    checked, _ = schema.check(events, {"eventTime": "2026-07-01T10:00:00Z"})
    assert checked["eventTime"] == "2026-07-01T10:00:00.000000Z"


@pytest.mark.parametrize(
    "wrong", ["", "now", "2026-07-01", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-07-01T24:00:00Z"]
)
def test_times_that_are_none_are_refused(wrong: str) -> None:
    assert f'parsing time "{wrong}"' in refusal(PODS, {"metadata": {"creationTimestamp": wrong}})


SECRETS = kinds.by_resource("secrets")


def test_base64_is_accepted_and_line_breaks_are_dropped() -> None:
    checked, _ = schema.check(SECRETS, {"data": {"a": "aGVsbG8=", "b": "aGVs\nbG8=\n", "c": "", "d": None}})
    assert checked["data"] == {"a": "aGVsbG8=", "b": "aGVsbG8=", "c": "", "d": ""}


@pytest.mark.parametrize(
    ("wrong", "where"),
    [("aGVsbG8", 4), ("a$Vs", 1), ("=", 0), ("aGVs====", 4), ("aGVsbG8==", 8), ("aGVsbG8=x", 8), ("aGVs\n!", 5)],
)
def test_illegal_base64_is_refused_with_its_place(wrong: str, where: int) -> None:
    message = refusal(SECRETS, {"data": {"a": wrong}})
    assert message == (
        f'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte {where}'
    )


def test_nulls_are_as_if_left_out() -> None:
    obj = pod(nodeName=None, volumes=None) | {"status": None}
    obj["metadata"]["creationTimestamp"] = None
    assert schema.check(PODS, obj, validation="Strict") == (pod(), [])


def test_nulls_in_lists_and_maps_are_zero_values() -> None:
    checked, _ = schema.check(
        PODS, {"metadata": {"labels": {"a": None}}, "spec": {"containers": [None], "volumes": []}}
    )
    assert checked == {"metadata": {"labels": {"a": ""}}, "spec": {"containers": [{}]}}


def test_empty_lists_stay_only_where_required() -> None:
    checked, _ = schema.check(PODS, pod(containers=[], initContainers=[], nodeSelector={}))
    assert checked["spec"] == {"containers": []}


def test_empty_structs_stay() -> None:
    checked, _ = schema.check(PODS, pod(volumes=[{"name": "x", "emptyDir": {}}]))
    assert checked["spec"]["volumes"] == [{"name": "x", "emptyDir": {}}]


def test_the_object_given_is_not_touched() -> None:
    obj = pod(foo=1, volumes=[{"name": "x"}])
    before = json.dumps(obj)
    checked, _ = schema.check(PODS, obj)
    schema.default(PODS, checked)
    assert json.dumps(obj) == before


# Kinds


def test_kind_and_api_version_are_filled_in() -> None:
    obj: dict[str, Any] = {}
    schema.check_kind(PODS, obj)
    assert obj == {"apiVersion": "v1", "kind": "Pod"}


def other_kind(api_version: str, kind: str) -> str:
    with pytest.raises(StatusError) as caught:
        schema.check_kind(PODS, {"apiVersion": api_version, "kind": kind})
    assert caught.value.code == 400
    return caught.value.message


def test_another_kind_is_refused() -> None:
    assert other_kind("v1", "Secret") == (
        'Secret in version "v1" cannot be handled as a Pod: converting (v1.Secret) to (Pod): unknown conversion'
    )
    assert other_kind("v1", "Widget") == (
        'Widget in version "v1" cannot be handled as a Pod: no kind "Widget" is registered for version "v1"'
    )


def test_another_version_is_refused() -> None:
    assert other_kind("v2", "Pod") == ("the API version in the data (v2) does not match the expected API version (v1)")


def test_subresources_and_plain_definitions_are_checked_too() -> None:
    eviction = PODS.subresource("eviction")
    assert eviction is not None
    obj = {"kind": "Eviction", "apiVersion": "policy/v1", "deleteOptions": {"gracePeriodSeconds": 0}}
    schema.check_kind(eviction, obj)
    assert schema.check(eviction, obj, validation="Strict") == (obj, [])
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
    schema.check_kind(schema.DELETE_OPTIONS, options)
    assert schema.check(schema.DELETE_OPTIONS, options, validation="Strict") == (options, [])


# Bodies that are not JSON


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "unexpected end of JSON input (<empty>)"),
        (b'{"a":', 'unexpected end of JSON input ({"a":)'),
        (b'{"a":"b', 'unexpected end of JSON input ({"a":"b)'),
        (b"nope", "invalid character 'n' looking for beginning of value (6e6f7065)"),
        (b"{a:1}", "invalid character 'a' looking for beginning of object key string ({a:1})"),
        (b'{"a" 1}', "invalid character '1' after object key ({\"a\" 1})"),
        (b'{"a":1 "b"}', 'invalid character \'"\' after object key:value pair ({"a":1 "b"})'),
        (b'{"a":[1 2]}', "invalid character '2' after array element ({\"a\":[1 2]})"),
        (b'{"a":1} x', "invalid character 'x' after top-level value ({\"a\":1} x)"),
        (b'{"a":NaN}', "invalid character 'N' looking for beginning of value ({\"a\":NaN})"),
        (b'{"a":-Infinity}', "invalid character 'I' in numeric literal ({\"a\":-Infinity})"),
        (b"\xef\xbb\xbf{}", "invalid character 'ï' looking for beginning of value (efbbbf7b7d)"),
        (b'{"a":1e400}', 'json: cannot unmarshal number 1e400 into Go value of type float64 ({"a":1e400})'),
        (b"[" * 201 + b"]" * 201, f"exceeded max depth ({'5b' * 30} ...)"),
        (b"x" * 31, f"invalid character 'x' looking for beginning of value ({'78' * 30} ...)"),
    ],
)
def test_what_is_not_json_is_told_as_a_real_server_does(body: bytes, problem: str) -> None:
    with pytest.raises(StatusError) as caught:
        schema.decode_json(body, kind="Pod")
    assert caught.value.code == 400
    assert caught.value.message == (
        "the object provided is unrecognized (must be of type Pod): "
        f"couldn't get version/kind; json parse error: {problem}"
    )


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'"a\xff\xfeb"', "a\ufffd\ufffdb"),
        (b'"\xe2\x82"', "\ufffd\ufffd"),
        (rb'"\ud800"', "\ufffd"),
        (rb'"\udc00\ud83d\ude00\\ud800\ud83d"', "\ufffd\U0001f600\\ud800\ufffd"),
        (rb'{"\ud800":1}', {"\ufffd": 1}),
        (b"[" * 200 + b"]" * 200, None),
    ],
)
def test_what_is_no_character_is_replaced_as_go_does(body: bytes, value: Any) -> None:
    found, _ = schema.decode_json(body)
    assert value is None or found == value


@pytest.mark.parametrize(
    "body",
    [b"[" * 200_000, b'{"a":' * 200_000 + b"1" + b"}" * 200_000, b"\xff", b'{"a":NaN}', b'{"a":1}\x00'],
)
def test_hostile_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(StatusError) as caught:
        schema.decode_json(body)
    assert caught.value.code == 400


def test_huge_numbers_are_refused() -> None:
    obj, _ = schema.decode_json(b'{"spec":{"priority":' + b"9" * 100 + b"}}")
    assert "cannot unmarshal number" in refusal(PODS, obj)
    with pytest.raises(StatusError, match="cannot unmarshal number 9999"):
        schema.decode_json(b"9" * 10_000)


# Anything at all


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
TEXTS = st.sampled_from(["", "a", "Always", "1", "500m", "1Gi", "2026-07-01T10:00:00Z", "aGk=", "img:latest", "0.1u"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 2**33) | TEXTS
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def likely(draw: st.DrawFn, type_: str, depth: int = 0) -> Any:
    """A value that mostly fits a type."""
    if depth > 7 or draw(st.integers(0, 40)) == 0:
        return draw(SCALARS)
    if type_.startswith("[]"):
        return [draw(likely(type_[2:], depth + 1)) for _ in range(draw(st.integers(0, 2)))]
    if type_.startswith("map[string]"):
        return {key: draw(likely(type_[11:], depth + 1)) for key in draw(st.sets(TEXTS, max_size=2))}
    if type_[0] == "#":
        target = definitions.definition(type_[1:])
        if not target.leaf:
            names = draw(st.sets(st.sampled_from(sorted(target.fields)), max_size=4)) if target.fields else ()
            return {name: draw(likely(target.fields[name].type, depth + 1)) for name in names}
        type_ = target.leaf
    fitting = {"string": TEXTS, "bool": st.booleans(), "int32": st.integers(-9, 9), "int64": st.integers(-9, 9),
               "time": st.just("2026-07-01T10:00:00Z"), "quantity": st.sampled_from(["1", "500m", "1Gi", 2, 0.5]),
               "object": st.just({}), "bytes": st.just("aGk=")}  # fmt: skip
    return draw(fitting.get(type_, SCALARS))


@given(st.sampled_from(kinds.SERVED), JSON)
@FUZZ
def test_random_json_never_crashes(info: kinds.ResourceInfo, obj: Any) -> None:
    accept(info, obj)


@given(st.sampled_from(kinds.SERVED), st.data())
@FUZZ
def test_likely_objects_never_crash_and_settle(info: kinds.ResourceInfo, data: st.DataObject) -> None:
    name = definitions.definition_of(info.group, info.version, info.kind).name
    accept(info, data.draw(likely("#" + name)))


def accept(info: kinds.ResourceInfo, obj: Any) -> None:
    """Check and default an object: it is refused with a 400, or a second round changes nothing."""
    try:
        schema.check_kind(info, obj)
        checked, _ = schema.check(info, obj)
    except StatusError as error:
        assert error.code == 400
        return
    first = schema.default(info, checked)
    again, warnings = schema.check(info, first, validation="Strict")
    assert schema.default(info, again) == first
    assert warnings == []


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
@FUZZ
def test_random_bytes_never_crash(body: bytes) -> None:
    try:
        obj, duplicates = schema.decode_json(body, kind="Pod")
    except StatusError as error:
        assert error.code == 400
    else:
        assert duplicates == []
        assert obj == json.loads(body)
