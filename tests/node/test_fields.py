"""What the downward API says of a pod."""

from __future__ import annotations

from typing import Any

import pytest

from podstead.node.fields import metadata_text, quoted, resource_text
from podstead.objects.pod import from_object


def test_labels_are_lines_in_the_order_of_their_keys() -> None:
    pod = from_object({"metadata": {"labels": {"b": "2", "a": 'x "y"'}, "annotations": {"n": "two\nlines", "k": ""}}})
    assert metadata_text(pod, "metadata.labels") == 'a="x \\"y\\""\nb="2"'
    assert metadata_text(pod, "metadata.annotations") == 'k=""\nn="two\\nlines"'
    assert metadata_text(pod, "metadata.annotations['n']") == "two\nlines"
    assert metadata_text(pod, "metadata.labels['c']") == ""
    with pytest.raises(ValueError, match="unsupported fieldPath: spec"):
        metadata_text(pod, "spec")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain é 漢", '"plain é 漢"'),
        ('a"b\\c', r'"a\"b\\c"'),
        ("\a\b\f\n\r\t\v", r'"\a\b\f\n\r\t\v"'),
        ("\0\x7f\x1b", r'"\x00\x7f\x1b"'),
        ("\u00a0\u2028\U000e0001", r'"\u00a0\u2028\U000e0001"'),
    ],
)
def test_values_are_quoted_as_go_does(text: str, written: str) -> None:
    assert quoted(text) == written


@pytest.mark.parametrize(
    ("resource", "divisor", "text"),
    [
        ("limits.cpu", "0", "2"),
        ("limits.cpu", "1m", "1500"),
        ("requests.cpu", "1m", "0"),
        ("limits.memory", "1Mi", "7630"),
        ("requests.memory", "1Mi", "65"),
        ("requests.memory", "1", "67633153"),
        ("limits.ephemeral-storage", "1", "5"),
    ],
)
def test_resources_are_counted_in_units_and_rounded_up(resource: str, divisor: Any, text: str) -> None:
    resources = {"limits": {"cpu": "1500m"}, "requests": {"memory": "67633153"}}
    pod = from_object({"spec": {"initContainers": [{"name": "c", "resources": resources}]}})
    assert resource_text(pod, "c", resource, divisor, {"memory": "8G", "ephemeral-storage": 5, "cpu": 9}) == text


def test_a_container_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="container x not found"):
        resource_text(from_object({}), "x", "limits.cpu", 0, {})
