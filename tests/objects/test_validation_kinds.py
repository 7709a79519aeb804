"""Validation of namespaces, nodes, config maps, secrets, service accounts and events."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from podstead.objects.kinds import by_resource
from podstead.objects.validation import validate_create, validate_update

META = {"name": "web", "namespace": "default", "uid": "1", "resourceVersion": "5"}
CLUSTER = {"name": "web", "uid": "1", "resourceVersion": "5"}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def create(resource: str, **fields: Any) -> list[str]:
    cluster = resource in ("namespaces", "nodes")
    obj = {"metadata": CLUSTER if cluster else META, **fields}
    return [str(error) for error in validate_create(by_resource(resource), obj)]


def update(resource: str, new: dict[str, Any], old: dict[str, Any], subresource: str = "") -> list[str]:
    cluster = resource in ("namespaces", "nodes")
    base = {"metadata": CLUSTER if cluster else META}
    return [str(error) for error in validate_update(by_resource(resource), base | new, base | old, subresource)]


def test_a_namespace_is_named_by_a_label() -> None:
    assert create("namespaces") == []
    assert create("namespaces", metadata={"name": "a.b"}) == [
        'metadata.name: Invalid value: "a.b": must not contain dots'
    ]


def test_a_namespaces_finalizers_are_known_or_qualified() -> None:
    assert create("namespaces", spec={"finalizers": ["kubernetes", "a.io/x"]}) == []
    assert create("namespaces", spec={"finalizers": ["mine"]}) == [
        'spec.finalizers: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified'
    ]
    assert update("namespaces", {"spec": {"finalizers": ["mine"]}}, {}, "finalize")


def test_a_namespace_is_terminating_exactly_while_it_is_deleted() -> None:
    going = {"metadata": {**CLUSTER, "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert update("namespaces", going | {"status": {"phase": "Terminating"}}, going, "status") == []
    assert update("namespaces", going | {"status": {"phase": "Active"}}, going, "status") == [
        "status.Phase: Invalid value: \"Active\": may only be 'Terminating' if `deletionTimestamp` is not empty"
    ]
    assert update("namespaces", {"status": {"phase": "Terminating"}}, {}, "status") == [
        "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
    ]


def test_a_nodes_taints_are_checked() -> None:
    assert create("nodes", spec={"taints": [{"key": "a.io/x", "effect": "NoExecute"}]}) == []
    assert create("nodes", spec={"taints": [{"key": "a", "effect": "Go"}, {"key": "b"}]}) == [
        'metadata.taints[0].effect: Unsupported value: "Go": '
        'supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"',
        "metadata.taints[1].effect: Required value",
    ]
    assert (
        "taints must be unique by key and effect pair"
        in create("nodes", spec={"taints": [{"key": "a", "effect": "NoExecute"}] * 2})[0]
    )


def test_a_node_may_be_cordoned_labelled_and_tainted() -> None:
    old = {"spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]}}
    new = {"spec": {**old["spec"], "unschedulable": True, "taints": [{"key": "a", "effect": "NoSchedule"}]}}
    assert update("nodes", new, old) == []
    assert update("nodes", {"spec": {"podCIDRs": ["10.0.1.0/24"]}}, old) == [
        'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid'
    ]
    assert update("nodes", {"spec": {**old["spec"], "externalID": "x"}}, old)[0].startswith(
        "[]: Forbidden: node updates may only change labels, taints, or capacity"
    )


def test_a_nodes_capacity_is_made_of_quantities() -> None:
    assert create("nodes", status={"capacity": {"cpu": "2", "memory": "1Gi", "pods": "110"}}) == []
    assert create("nodes", status={"capacity": {"cpu": "-2", "pods": "1500m"}}) == [
        'status.capacity.cpu: Invalid value: "-2": must be greater than or equal to 0',
        "status.capacity.pods: Invalid value: 1500m: must be an integer",
    ]


def test_a_config_maps_keys_can_be_file_names() -> None:
    assert create("configmaps", data={"a.conf": "x", ".b": ""}, binaryData={"c": b64(b"x")}) == []
    wrong = create("configmaps", data={"a/b": "x", "..": "x", "..data": "x", "c": "x"}, binaryData={"c": ""})
    assert [line.split(": ", 2)[2] for line in wrong[1:]] == [
        "\"..\": must not be '..'",
        "\"..data\": must not start with '..'",
        '"c": duplicate of key present in binaryData',
    ]
    assert wrong[0].startswith('data[a/b]: Invalid value: "a/b": a valid config key must consist of alphanumeric')


def test_a_config_map_and_a_secret_hold_a_mebibyte() -> None:
    half = "x" * (512 * 1024)
    assert create("configmaps", data={"a": half}, binaryData={"b": b64(half.encode())}) == []
    assert create("configmaps", data={"a": half + "x"}, binaryData={"b": b64(half.encode())}) == [
        "[]: Too long: may not be more than 1048576 bytes"
    ]
    assert create("secrets", data={"a": b64(half.encode() * 2 + b"x")}) == [
        "data: Too long: may not be more than 1048576 bytes"
    ]


@pytest.mark.parametrize("resource", ["configmaps", "secrets"])
def test_what_is_immutable_stays(resource: str) -> None:
    old = {"immutable": True, "data": {"a": "eA=="}}
    assert update(resource, old, old) == []
    assert update(resource, {"data": {"a": "eQ=="}}, old) == [
        "immutable: Forbidden: field is immutable when `immutable` is set",
        "data: Forbidden: field is immutable when `immutable` is set",
    ]
    assert update(resource, {"data": {"a": "eQ=="}}, {"data": {"a": "eA=="}}) == []


def test_a_secret_keeps_its_type() -> None:
    assert update(
        "secrets", {"type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": ""}}, {"type": "Opaque"}
    ) == ['type: Invalid value: "kubernetes.io/tls": field is immutable']


@pytest.mark.parametrize(
    ("kind", "data", "messages"),
    [
        ("kubernetes.io/tls", {"tls.crt": ""}, ["data[tls.key]: Required value"]),
        ("kubernetes.io/ssh-auth", {}, ["data[ssh-privatekey]: Required value"]),
        ("kubernetes.io/basic-auth", {}, ["data[username]: Required value", "data[password]: Required value"]),
        ("kubernetes.io/basic-auth", {"password": ""}, []),
        ("kubernetes.io/dockerconfigjson", {}, ["data[.dockerconfigjson]: Required value"]),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": b64(b'{"auths":{}}')}, []),
        ("example.com/mine", {}, []),
    ],
)
def test_a_typed_secret_holds_what_its_type_says(kind: str, data: dict[str, str], messages: list[str]) -> None:
    assert create("secrets", type=kind, data=data) == messages


def test_a_secrets_data_is_never_shown() -> None:
    (message,) = create(
        "secrets", type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": b64(b"top secret")}
    )
    assert "secret contents redacted" in message
    assert "top secret" not in message


def test_service_accounts_are_created_and_updated() -> None:
    assert create("serviceaccounts", automountServiceAccountToken=False) == []
    assert update("serviceaccounts", {"metadata": {**META, "labels": {"a": "b"}}}, {}) == []


def test_an_event_lies_in_the_namespace_of_what_it_speaks_of() -> None:
    assert create("events", metadata={**META, "name": "web.17A_x"}, involvedObject={"namespace": "default"}) == []
    assert create("events", involvedObject={"kind": "Node", "name": "n1"}) == []
    assert create("events", involvedObject={"namespace": "other"}) == [
        'involvedObject.namespace: Invalid value: "other": does not match event.namespace'
    ]
    assert create("events", metadata={**META, "name": "a/b"}, involvedObject={"namespace": "default"}) == [
        "metadata.name: Invalid value: \"a/b\": may not contain '/'"
    ]


def test_an_event_with_a_time_says_who_reports_it() -> None:
    bare = create("events", eventTime="2026-01-01T00:00:00.000000Z", involvedObject={"namespace": "default"})
    assert [line for line in bare if line.endswith("Required value")] == [
        f"{field}: Required value" for field in ("reportingController", "reportingInstance", "action", "reason")
    ]
    complete = {"reportingComponent": "a.io/b", "reportingInstance": "b-1", "action": "Start", "reason": "Started"}
    obj = {"eventTime": "2026-01-01T00:00:00.000000Z", "involvedObject": {"namespace": "default"}, **complete}
    assert create("events", **obj) == []
    assert create("events", **obj | {"reason": "x" * 129}) == [
        'reason: Invalid value: "": can have at most 128 characters'
    ]
    assert update("events", obj | {"message": "x" * 1025}, obj) == [
        'message: Invalid value: "": can have at most 1024 characters'
    ]
