"""YAML bodies: what plain words stand for, fields said twice, aliases, and what is refused; YAML answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from podstead.objects.errors import StatusError
from podstead.objects.yaml_text import decode_yaml, encode_yaml


def read(text: str | bytes) -> Any:
    return decode_yaml(text.encode() if isinstance(text, str) else text)[0]


def refused(text: str | bytes) -> str:
    with pytest.raises(StatusError) as caught:
        read(text)
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")
    return caught.value.message


# What Kubernetes' own library makes of each, as kubectl shows it.
@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("", None),
        ("~", None),
        ("Null", None),
        ("nUll", "nUll"),
        ("yes", True),
        ("Off", False),
        ("y", True),
        ("NO", False),
        ("yEs", "yEs"),
        ("0777", 511),
        ("0o17", 15),
        ("-0x1F", -31),
        ("0b11", 3),
        ("08", 8),
        ("0b2", "0b2"),
        ("0x", "0x"),
        ("1_000", 1000),
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("2001-12-14", "2001-12-14"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("1.0", 1),
        ("1e3", 1000),
        ("1.e3", 1000),
        (".5", 0.5),
        ("1e400", "1e400"),
        ("9223372036854775807", 2**63 - 1),
        ("18446744073709551616", 18446744073709551616),
        ("1" * 400, "1" * 400),
        ("1" * 5000, "1" * 5000),
        ("0x" + "f" * 17, "0x" + "f" * 17),
        ("1.2.3", "1.2.3"),
        ("10Gi", "10Gi"),
        ('"123"', "123"),
        ("'yes'", "yes"),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
        ("!!float 1", 1),
        ("!!binary aGk=", "hi"),
        ("! 5", "5"),
    ],
)
def test_words(word: str, value: Any) -> None:
    made = read(f"a: {word}\n")
    assert made == {"a": value} and type(made["a"]) is type(value)


def test_keys_are_text() -> None:
    assert read("1: a\ntrue: b\n0.5: c\n'2': d\n2001-12-14: e") == {
        **{"1": "a", "true": "b", "0.5": "c"},
        **{"2": "d", "2001-12-14": "e"},
    }


def test_json_is_yaml() -> None:
    obj = {"kind": "Pod", "spec": {"containers": [{"name": "c", "args": ["a\nb", ""]}], "x": None, "y": 1.5}}
    assert read(json.dumps(obj)) == obj


def test_an_empty_body_is_null() -> None:
    assert read("") is None and read("---\n...\n") is None


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("a: 1\na: 2", ["a"]),
        ("a:\n  b: 1\n  b: 2\n  b: 3", ["a.b"]),
        ("spec:\n  containers:\n  - name: x\n  - name: y\n    name: z", ["spec.containers[1].name"]),
        ("1: a\n'1': b", ["1"]),
        ("base: &b {x: 1}\na: {<<: *b, x: 2}", []),
    ],
)
def test_fields_said_twice(text: str, paths: list[str]) -> None:
    value, found = decode_yaml(text.encode())
    assert found == paths
    assert decode_yaml(text.encode(), duplicates=False) == (value, [])


def test_aliases_and_merges() -> None:
    made = read("base: &b {x: 1, z: [1]}\na: *b\nc: {<<: *b, x: 2}\nd: {<<: [{x: 9}, *b]}\n'<<': plain")
    assert made["a"] == {"x": 1, "z": [1]} and made["a"] is not made["base"]
    assert made["c"] == {"x": 2, "z": [1]}
    assert made["d"] == {"x": 9, "z": [1]}
    assert made["<<"] == "plain"


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: b: c", "yaml: line 1: mapping values are not allowed in this context"),
        ("a: [1", "yaml: line 2: did not find expected ',' or ']'"),
        ("\tb", "found character that cannot start any token"),
        ("a: .inf", "line 1: .inf is no value that JSON has"),
        ("x: 1\na: .nan", "line 2: .nan is no value"),
        ("a: 1\n---\nb: 2", "line 2: only one document is taken in a request"),
        ("a: *x", "unknown anchor 'x' referenced"),
        ("a: &x [*x]", "anchor 'x' value contains itself"),
        ("a: &x {b: {<<: *x}}", "anchor 'x' value contains itself"),
        (BOMB, "document contains excessive aliasing"),
        ("[" * 5000, "exceeded max depth"),
        ("? [a]\n: b", "a list or mapping cannot be a key"),
        ("~: b", "unsupported map key of type: null"),
        ("a: {<<: 1}", "map merge requires map"),
        ("a: !!python/object:os.system x", "unsupported tag tag:yaml.org,2002:python/object:os.system"),
        ("a: !own {b: 1}", "unsupported tag !own"),
        ("a: !!int x", "cannot decode `x` as a"),
        ("a: !!binary '*'", "!!binary value"),
        (b"a: \xff", "yaml: "),
        (b"a: \x00", "yaml: "),
    ],
)
def test_what_is_refused(text: str | bytes, words: str) -> None:
    assert words in refused(text)


def test_a_bomb_within_a_nest_ends_too() -> None:
    nest = "a: &a " + "[" * 150 + "]" * 150 + "\nb: " + "[" * 100 + "*a" + "]" * 100
    assert "excessive aliasing" in refused(nest)


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.text(max_size=8),
        st.sampled_from([0.5, -2.25, 1e30]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
WORDS = (
    "y no Null ~ 0777 0o17 1e3 1:30 2001-12-14 .5 08 1_0 - -- --- ... <<  = ? : # & * ! | > % @ ` a: a #b {} [] "
    "yes\n a\n\n \ta "
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(JSON_VALUES, st.dictionaries(st.sampled_from(WORDS.split(" ")), st.sampled_from(WORDS.split(" ")))))
def test_what_is_written_reads_back_the_same(value: Any) -> None:
    text = encode_yaml(value)
    assert decode_yaml(text) == (value, [])
    assert yaml.safe_load(text) == value  # by YAML 1.1 as Python reads it, too


def test_an_answer_is_made_to_be_read() -> None:
    obj = {"kind": "ConfigMap", "data": {"script": "#!/bin/sh\necho hi\n", "port": "80", "on": "true", "text": "x y"}}
    assert encode_yaml(obj).decode() == (
        'data:\n  "on": "true"\n  port: "80"\n  script: |\n    #!/bin/sh\n    echo hi\n  text: x y\nkind: ConfigMap\n'
    )


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text(st.sampled_from("ab:-[]{}&*!|> \n\t\"'#?,0.%~<"), max_size=60)))
def test_text_at_random_is_a_value_or_a_400(text: bytes | str) -> None:
    try:
        json.dumps(read(text), allow_nan=False)
    except StatusError as error:
        assert error.code == 400
