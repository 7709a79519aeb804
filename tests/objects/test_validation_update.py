"""Validation of updates to pods: what may change, what may not, and what a status may say."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from podstead.objects import schema
from podstead.objects.kinds import by_resource
from podstead.objects.validation import validate_update
from podstead.objects.validation.pod_update import validate_binding, validate_log_options

PODS = by_resource("pods")
POD: dict[str, Any] = schema.default(
    PODS,
    {
        "metadata": {"name": "web", "namespace": "default", "uid": "1", "resourceVersion": "5"},
        "spec": {
            "containers": [{"name": "c1", "image": "a:1"}, {"name": "c2", "image": "b:1"}],
            "restartPolicy": "Never",
            "nodeName": "n1",
            "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
            "activeDeadlineSeconds": 100,
            "terminationGracePeriodSeconds": 30,
        },
        "status": {"qosClass": "BestEffort"},
    },
)


def changed(path: str, value: Any) -> dict[str, Any]:
    pod = copy.deepcopy(POD)
    *parents, last = path.split(".")
    target: Any = pod
    for step in parents:
        target = target[int(step)] if step.isdigit() else target[step]
    if value is None:
        del target[last]
    else:
        target[int(last) if last.isdigit() else last] = value
    return pod


def errors(new: dict[str, Any], subresource: str = "", old: dict[str, Any] = POD) -> list[str]:
    return [str(error) for error in validate_update(PODS, new, old, subresource)]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.containers.0.image", "a:2"),
        ("spec.activeDeadlineSeconds", 50),
        ("spec.tolerations", [*POD["spec"]["tolerations"], {"key": "b", "operator": "Exists"}]),
        ("spec.tolerations.0.tolerationSeconds", 10),
        ("metadata.labels", {"a": "b"}),
    ],
)
def test_some_fields_may_change(path: str, value: Any) -> None:
    assert errors(changed(path, value)) == []


@pytest.mark.parametrize(
    ("path", "value", "lines"),
    [
        ("spec.containers.0.name", "other", ['- \t\t\tname: "c1",', '+ \t\t\tname: "other",']),
        ("spec.containers.1.command", ["sh"], ['+ \t\t\tcommand: ["sh"],']),
        ("spec.nodeName", "n2", ['- \tnodeName: "n1",', '+ \tnodeName: "n2",']),
        ("spec.restartPolicy", "Always", ['- \trestartPolicy: "Never",', '+ \trestartPolicy: "Always",']),
        (
            "spec.terminationGracePeriodSeconds",
            1,
            ["- \tterminationGracePeriodSeconds: 30,", "+ \tterminationGracePeriodSeconds: 1,"],
        ),
        ("spec.shareProcessNamespace", False, ["+ \tshareProcessNamespace: false,"]),
        ("spec.volumes", [{"name": "x", "emptyDir": {}}], ['+ \tvolumes: [{"name": "x", "emptyDir": {}}],']),
    ],
)
def test_the_rest_of_the_spec_is_fixed_and_the_change_is_shown(path: str, value: Any, lines: list[str]) -> None:
    (message,) = errors(changed(path, value))
    text, _, shown = message.partition("\n")
    assert text == (
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
        "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
    )
    assert shown.startswith("  core.PodSpec{\n") and shown.endswith("  }\n")
    assert [line for line in shown.splitlines() if line[0] in "+-"] == lines


def test_a_false_that_means_nothing_may_come_and_go() -> None:
    """Go's clients leave it out when they write what they have read."""
    assert errors(changed("spec.hostNetwork", False)) == []
    assert errors(changed("spec.containers.0.stdin", False)) == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "spec.containers",
            [POD["spec"]["containers"][0]],
            "spec.containers: Forbidden: pod updates may not add or remove containers",
        ),
        (
            "spec.activeDeadlineSeconds",
            200,
            "spec.activeDeadlineSeconds: Invalid value: 200: must be less than or equal to previous value",
        ),
        (
            "spec.activeDeadlineSeconds",
            None,
            "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value",
        ),
        (
            "spec.tolerations",
            [],
            "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
        ),
        ("metadata.uid", "2", 'metadata.uid: Invalid value: "2": field is immutable'),
        (
            "metadata.resourceVersion",
            "",
            'metadata.resourceVersion: Invalid value: "": must be specified for an update',
        ),
    ],
)
def test_a_change_that_may_not_be_is_answered_by_name(path: str, value: Any, message: str) -> None:
    assert errors(changed(path, value)) == [message]


def test_what_is_not_implemented_cannot_be_added_later() -> None:
    new = changed("metadata.annotations", {"container.apparmor.security.beta.kubernetes.io/c1": "localhost/x"})
    path = "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c1]"
    assert errors(new) == [f"{path}: Forbidden: may not add AppArmor annotations"]


def status(**fields: Any) -> dict[str, Any]:
    return {**POD, "status": {"qosClass": "BestEffort", **fields}}


def ended(exit_code: int) -> dict[str, Any]:
    return {"name": "c1", "state": {"terminated": {"exitCode": exit_code}}}


RUNNING = {"name": "c1", "state": {"running": {}}}


def test_a_status_may_say_what_happens() -> None:
    assert errors(status(phase="Running", podIPs=[{"ip": "10.0.0.1"}], containerStatuses=[RUNNING]), "status") == []


def test_a_container_that_ended_for_good_does_not_run_again() -> None:
    message = "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    new, old = status(containerStatuses=[RUNNING]), status(containerStatuses=[ended(1)])
    assert errors(new, "status", old) == [message]
    on_failure = {**old, "spec": {**POD["spec"], "restartPolicy": "OnFailure"}}
    assert errors({**new, "spec": on_failure["spec"]}, "status", on_failure) == []
    done = {**on_failure, "status": status(containerStatuses=[ended(0)])["status"]}
    assert errors({**new, "spec": on_failure["spec"]}, "status", done) == [message]


def test_a_status_does_not_move_a_pod() -> None:
    assert errors(changed("spec.nodeName", "n2"), "status") == [
        "status.nodeName: Forbidden: may not be changed directly"
    ]
    assert errors(changed("status.qosClass", "Guaranteed"), "status") == [
        'status.qosClass: Invalid value: "Guaranteed": field is immutable'
    ]
    assert errors(status(podIPs=[{"ip": "x"}]), "status")[0].startswith("status.podIPs[0]: Invalid value")


def test_a_binding_names_a_node() -> None:
    assert validate_binding({"target": {"kind": "Node", "name": "n1"}}) == []
    assert [str(error) for error in validate_binding({"target": {"kind": "Pod"}})] == [
        'target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>"',
        "target.name: Required value",
    ]


def test_the_options_of_a_log_are_checked() -> None:
    assert validate_log_options({"tailLines": 0, "limitBytes": 1, "sinceSeconds": 1}) == []
    assert [str(error) for error in validate_log_options({"tailLines": -1, "limitBytes": 0, "sinceSeconds": 0})] == [
        "tailLines: Invalid value: -1: must be greater than or equal to 0",
        "limitBytes: Invalid value: 0: must be greater than 0",
        "sinceSeconds: Invalid value: 0: must be greater than 0",
    ]
    assert validate_log_options({"sinceSeconds": 1, "sinceTime": "2026-01-01T00:00:00Z"})
