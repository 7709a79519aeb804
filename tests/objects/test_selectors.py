"""Label and field selectors: what they select, and what is said of one that is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podstead.objects.selectors import (
    escape_field_value,
    label_selector_from_object,
    parse_field_selector,
    parse_label_selector,
)

WEB = {"app": "web", "tier": "front", "version": "10"}


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "app=web",
        "app==web",
        " app = web , tier!=back ",
        "app in (web, api)",
        "app notin (db)",
        "other notin (db)",
        "other!=x",
        "app",
        "!other",
        "! other",
        "version>9",
        "version<11",
        "!in",
        "app in (,web)",
    ],
)
def test_a_selector_selects(selector: str) -> None:
    assert parse_label_selector(selector).matches(WEB)


@pytest.mark.parametrize(
    "selector",
    [
        "app=db",
        "app!=web",
        "other",
        "!app",
        "app in (db)",
        "app in ()",
        "other in (web)",
        "app notin (web)",
        "version>10",
        "version<10",
        "app>1",
        "other>1",
        "app=web,tier=back",
        "app=",
    ],
)
def test_a_selector_leaves_out(selector: str) -> None:
    assert not parse_label_selector(selector).matches(WEB)


def test_an_empty_value_is_a_value() -> None:
    for selector in ("a=", "a in (,)", "a in ()", "a,a="):
        assert parse_label_selector(selector).matches({"a": ""})
        assert not parse_label_selector(selector).matches({})


def test_only_the_empty_selector_is_empty() -> None:
    assert parse_label_selector("").empty
    assert parse_label_selector("  ").empty
    assert not parse_label_selector("a").empty
    assert label_selector_from_object({}).empty


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("(a)", "found '(', expected: !, identifier, or 'end of string'"),
        ("a=b,", "found '', expected: identifier after ','"),
        ("a=b,,c", "found ',', expected: identifier after ','"),
        ("a==b==c", "found '==', expected: ',' or 'end of string'"),
        ("!a in (b)", "found 'in', expected: ',' or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("/x", 'unable to parse requirement: <nil>: Invalid value: "/x": prefix part must be non-empty'),
        (
            "a>b",
            'unable to parse requirement: values[0]: Invalid value: "b": '
            "for 'Gt', 'Lt' operators, the value must be an integer",
        ),
    ],
)
def test_a_wrong_selector_is_answered_in_kubernetes_words(selector: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_label_selector(selector)
    assert str(raised.value) == message


def test_a_value_that_no_label_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r'values\[0\]\[a\]: Invalid value: "-": a valid label must be'):
        parse_label_selector("a=-")


def test_a_selector_object_joins_labels_and_expressions() -> None:
    selector = label_selector_from_object(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front"]},
                {"key": "old", "operator": "DoesNotExist"},
                {"key": "version", "operator": "Exists"},
                {"key": "app", "operator": "NotIn", "values": ["db"]},
            ],
        }
    )
    assert selector.matches(WEB)
    assert not selector.matches({**WEB, "old": "yes"})
    assert str(selector) == "app in (web),tier in (front),!old,version,app notin (db)"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({"key": "a", "operator": "Near"}, '"Near" is not a valid label selector operator'),
        ({"key": "a", "operator": "In"}, "for 'in', 'notin' operators, values set can't be empty"),
        ({"key": "a", "operator": "Exists", "values": ["b"]}, "values set must be empty for exists and does not exist"),
    ],
)
def test_a_wrong_expression_is_refused(expression: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label_selector_from_object({"matchExpressions": [expression]})


def test_field_selectors_compare_fields() -> None:
    selector = parse_field_selector("metadata.name=web,status.phase!=Running,spec.nodeName==n1")
    assert selector.requirements == (
        ("metadata.name", "=", "web"),
        ("status.phase", "!=", "Running"),
        ("spec.nodeName", "=", "n1"),
    )
    assert selector.matches({"metadata.name": "web", "status.phase": "Pending", "spec.nodeName": "n1"})
    assert not selector.matches({"metadata.name": "web", "status.phase": "Running", "spec.nodeName": "n1"})


def test_a_field_that_is_not_there_is_empty() -> None:
    assert parse_field_selector("spec.nodeName=").matches({})
    assert not parse_field_selector("spec.nodeName!=").matches({})
    assert parse_field_selector(",,").empty


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("foo", "invalid selector: 'foo'; can't understand 'foo'"),
        ("a=b,foo", "invalid selector: 'a=b,foo'; can't understand 'foo'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
        ("a=\\", "invalid field selector: invalid escape sequence: \\"),
    ],
)
def test_a_wrong_field_selector_is_answered_in_kubernetes_words(selector: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_field_selector(selector)
    assert str(raised.value) == message


labels = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "x", "y", "7"]))
requirement = st.one_of(
    st.builds("{}={}".format, st.sampled_from("abc"), st.sampled_from(["", "x", "7"])),
    st.builds("{}!={}".format, st.sampled_from("abc"), st.sampled_from(["", "x"])),
    st.builds("{} in ({})".format, st.sampled_from("abc"), st.sampled_from(["x", "x,y", ",y"])),
    st.builds("{} notin ({})".format, st.sampled_from("abc"), st.sampled_from(["x", "x,y"])),
    st.builds("{}>{}".format, st.sampled_from("abc"), st.sampled_from(["5", "9"])),
    st.sampled_from(["a", "!b", "c"]),
)


@given(st.lists(requirement, max_size=4), labels)
def test_a_selector_is_the_conjunction_of_its_parts_and_prints_as_one(parts: list[str], found: dict[str, str]) -> None:
    selector = parse_label_selector(",".join(parts))
    assert selector.matches(found) == all(parse_label_selector(part).matches(found) for part in parts)
    assert parse_label_selector(str(selector)) == selector


@given(st.text(max_size=20))
def test_any_text_is_a_selector_or_a_value_error(text: str) -> None:
    for parse in (parse_label_selector, parse_field_selector):
        try:
            parse(text)
        except ValueError:
            pass


@given(st.text())
def test_an_escaped_value_is_read_back(value: str) -> None:
    selector = parse_field_selector(f"metadata.name={escape_field_value(value)}")
    assert selector.requirements == (("metadata.name", "=", value),)
