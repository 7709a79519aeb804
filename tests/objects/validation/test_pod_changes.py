"""What may follow a pod that exists: updates, its status, a resize; and what a lease may say."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from podstead.objects.validation import validate_update
from podstead.objects.validation.lease import validate as validate_lease
from podstead.objects.validation.pod import validate_template
from support.manifests import PODS, completed, pod


def changed(old: dict[str, Any], spec: dict[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    new = copy.deepcopy(old)
    new["spec"] |= spec or {}
    return completed(new | rest)


def errors(new: dict[str, Any], old: dict[str, Any], subresource: str = "") -> list[str]:
    return [str(error) for error in validate_update(PODS, new, old, subresource)]


OLD = pod(metadata={"resourceVersion": "1"}, nodeName="n")
GATED = pod(
    metadata={"resourceVersion": "1"},
    schedulingGates=[{"name": "a"}, {"name": "b"}],
    nodeSelector={"disk": "ssd"},
)


def test_of_a_gated_pod_gates_go_and_the_choice_of_nodes_becomes_narrower() -> None:
    narrower = changed(GATED, {"schedulingGates": [{"name": "b"}], "nodeSelector": {"disk": "ssd", "zone": "z"}})
    # That gates are not implemented is another matter.
    assert [line for line in errors(narrower, GATED) if "not implemented" not in line] == []
    wider = changed(GATED, {"schedulingGates": [{"name": "c"}], "nodeSelector": {"zone": "z"}})
    assert [line for line in errors(wider, GATED) if "not implemented" not in line] == [
        "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'c'",
        'spec.nodeSelector: Invalid value: {"zone":"z"}: '
        "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
    ]


def test_a_fault_is_told_by_each_rule_that_finds_it() -> None:
    new = changed(OLD)
    new["spec"]["containers"][0]["image"] = ""
    assert errors(new, OLD) == ["spec.containers[0].image: Required value"] * 2


def test_a_negative_grace_may_become_one_second() -> None:
    old = pod(metadata={"resourceVersion": "1"}, terminationGracePeriodSeconds=-5)
    assert errors(changed(old, {"terminationGracePeriodSeconds": 1}), old) == []
    assert len(errors(changed(old, {"terminationGracePeriodSeconds": 2}), old)) == 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (
            {"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.2"}]},
            ['status.hostIPs[0].ip: Invalid value: "10.0.0.2": must be equal to `hostIP`'],
        ),
        (
            {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]},
            [
                'status.podIPs: Invalid value: [{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}]: '
                "may specify no more than one IP for each IP family"
            ],
        ),
        ({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}, []),
        (
            {"resourceClaimStatuses": [{"name": "a"}]},
            [
                'status.resourceClaimStatuses[0].name: Invalid value: "a": '
                "must match the name of an entry in `spec.resourceClaims`"
            ],
        ),
        (
            {"containerStatuses": [{"name": "c0", "user": {"linux": {"uid": -1, "gid": 0}}}]},
            ["status.containerStatuses[0].linux.uid: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
        ),
        (
            {"ephemeralContainerStatuses": [{"name": "e", "allocatedResourcesStatus": [{"name": "x"}]}]},
            [
                "status.ephemeralContainerStatuses[0].allocatedResourcesStatus: Forbidden: "
                "must not be specified in container status"
            ],
        ),
    ],
)
def test_a_status_is_held_to_its_rules(status: dict[str, Any], expected: list[str]) -> None:
    assert errors(changed(OLD, status=status), OLD, "status") == expected


def test_a_container_with_a_policy_of_its_own_may_run_again() -> None:
    def told(state: dict[str, Any], **container: Any) -> dict[str, Any]:
        status = {"containerStatuses": [{"name": "c0", "state": state}]}
        made = pod(container, metadata={"resourceVersion": "1"}, restartPolicy="Never")
        return changed(made, status=status)

    ended, running = {"terminated": {"exitCode": 1}}, {"running": {}}
    assert len(errors(told(running), told(ended), "status")) == 1
    assert errors(told(running, restartPolicy="OnFailure"), told(ended, restartPolicy="OnFailure"), "status") == []


def sized(cpu: str, **more: Any) -> dict[str, Any]:
    requests = {"cpu": cpu} if cpu else {"memory": "1Mi"}
    return pod({"resources": {"requests": {**requests, **more}}}, metadata={"resourceVersion": "1"})


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (sized("2"), []),
        (sized(""), ["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"]),
        (
            sized("2", **{"ephemeral-storage": "1"}),
            ["spec: Forbidden: only cpu and memory resources are mutable"],
        ),
    ],
)
def test_a_resize_changes_cpu_and_memory_alone(new: dict[str, Any], expected: list[str]) -> None:
    assert errors(new, sized("1"), "resize") == expected


def test_a_lease_lasts() -> None:
    spec = {"leaseDurationSeconds": 0, "leaseTransitions": -1, "preferredHolder": "a"}
    lease = {"metadata": {"name": "l", "namespace": "default"}, "spec": spec}
    assert [str(error) for error in validate_lease(lease)] == [
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
        "spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined",
    ]


def test_a_template_has_its_own_leniencies() -> None:
    spec = pod({"image": " ", "ports": [{"containerPort": 80, "hostPort": 0}]})["spec"] | {"hostNetwork": True}
    assert validate_template({"spec": spec}, "template") == []
    spec["ephemeralContainers"] = [{**spec["containers"][0], "name": "e", "ports": None, "image": "a"}]
    assert [str(error) for error in validate_template({"spec": spec}, "template")] == [
        "template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"
    ]
