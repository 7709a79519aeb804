"""Names, labels and annotations: what is accepted, and the sentence that refuses the rest."""

from __future__ import annotations

from typing import Any

import pytest

from podstead.objects import meta
from podstead.objects.meta import validate_object_meta, validate_object_meta_update

NAME = {"name": "web", "namespace": "default"}


def errors(metadata: dict[str, Any], namespaced: bool = True, rule: meta.NameRule = meta.subdomain_name) -> list[str]:
    return [str(error) for error in validate_object_meta(metadata, namespaced, rule)]


def test_a_name_that_is_no_subdomain_gets_kubernetes_sentence() -> None:
    assert errors({**NAME, "name": "Web_1"}) == [
        'metadata.name: Invalid value: "Web_1": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric '
        "characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
        "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    ]


def test_a_label_gets_its_own_sentence() -> None:
    assert errors({"name": "a.b"}, namespaced=False, rule=meta.label_name) == [
        'metadata.name: Invalid value: "a.b": must not contain dots'
    ]
    assert meta.dns_label_problems("Bad") == [
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    ]


@pytest.mark.parametrize("name", ["a", "a-b", "a.b", "0", "a" * 253, "1.2.3"])
def test_good_names_are_accepted(name: str) -> None:
    assert errors({**NAME, "name": name}) == []


@pytest.mark.parametrize("name", ["-a", "a-", "a..b", ".a", "a.", "ä", "a b", "a/b", "a\n", "a" * 254, "A"])
def test_bad_names_are_refused(name: str) -> None:
    assert errors({**NAME, "name": name})


def test_a_name_is_required_and_its_namespace_too() -> None:
    assert errors({}) == [
        "metadata.name: Required value: name or generateName is required",
        "metadata.namespace: Required value",
    ]
    assert errors(NAME, namespaced=False) == ["metadata.namespace: Forbidden: not allowed on this type"]


def test_a_generate_name_may_end_in_a_hyphen() -> None:
    assert errors({**NAME, "generateName": "web-"}) == []
    assert errors({**NAME, "generateName": "-"})


def test_generated_names_are_valid_and_fit_a_label() -> None:
    name = meta.generate_name("x" * 80)
    assert len(name) == 63
    assert meta.dns_label_problems(name) == []
    assert meta.generate_name("web-") != meta.generate_name("web-")


def test_labels_have_a_syntax() -> None:
    good = {"app": "web", "example.com/App_1.x": "", "a" * 63: "b" * 63}
    assert errors({**NAME, "labels": good}) == []
    wrong = errors({**NAME, "labels": {"a/b/c": "x", "/a": "x", "a" * 64: "x", "b": "-", "c": "x" * 64}})
    assert [line.split(": ")[0] for line in wrong] == ["metadata.labels"] * 5
    assert 'Invalid value: "/a": prefix part must be non-empty' in wrong[1]
    assert "name part must be no more than 63 characters" in wrong[2]
    assert "a valid label must be an empty string or consist of" in wrong[3]


def test_annotations_hold_any_text_up_to_a_size() -> None:
    assert errors({**NAME, "annotations": {"Example.COM/note": "any\ntext {}"}}) == []
    assert errors({**NAME, "annotations": {"a": "x" * (256 * 1024)}}) == [
        "metadata.annotations: Too long: may not be more than 262144 bytes"
    ]


def test_owner_references_name_one_controller() -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1", "controller": True}
    assert errors({**NAME, "ownerReferences": [owner, {**owner, "controller": False}]}) == []
    (error,) = errors({**NAME, "ownerReferences": [owner, {**owner, "name": "b"}]})
    assert "Only one reference can have Controller set to true" in error
    assert "metadata.ownerReferences.uid" in errors({**NAME, "ownerReferences": [{**owner, "uid": ""}]})[0]


def test_finalizers_are_label_keys() -> None:
    assert errors({**NAME, "finalizers": ["example.com/keep"]}) == []
    assert errors({**NAME, "finalizers": ["a b"]})
    assert "cannot be both set" in errors({**NAME, "finalizers": ["orphan", "foregroundDeletion"]})[0]


STORED = {**NAME, "uid": "1", "resourceVersion": "5", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 2}


def update_errors(changes: dict[str, Any], stored: dict[str, Any] | None = None) -> list[str]:
    stored = stored or STORED
    return [str(error) for error in validate_object_meta_update({**stored, **changes}, stored)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "b"}, 'metadata.name: Invalid value: "b": field is immutable'),
        ({"namespace": "b"}, 'metadata.namespace: Invalid value: "b": field is immutable'),
        ({"uid": "2"}, 'metadata.uid: Invalid value: "2": field is immutable'),
        ({"creationTimestamp": None}, "metadata.creationTimestamp: Invalid value: null: field is immutable"),
        ({"deletionTimestamp": "x"}, 'metadata.deletionTimestamp: Invalid value: "x": field is immutable'),
        ({"resourceVersion": ""}, 'metadata.resourceVersion: Invalid value: "": must be specified for an update'),
        ({"generation": 1}, "metadata.generation: Invalid value: 1: must not be decremented"),
    ],
)
def test_an_update_keeps_what_identifies_an_object(changes: dict[str, Any], message: str) -> None:
    assert update_errors(changes) == [message]


def test_an_update_may_change_labels() -> None:
    assert update_errors({"labels": {"a": "b"}, "annotations": {"a": "b"}, "resourceVersion": "4"}) == []


def test_no_finalizer_is_added_to_what_is_being_deleted() -> None:
    going = {**STORED, "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a.io/x"]}
    assert update_errors({"finalizers": []}, going) == []
    assert update_errors({"finalizers": ["a.io/x", "a.io/y"]}, going) == [
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
        'found new finalizers []string{"a.io/y"}'
    ]
