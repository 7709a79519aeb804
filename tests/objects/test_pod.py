"""Typed pods: what the node reads of an object, and what it writes back."""

from __future__ import annotations

from typing import Any

import pytest

from podstead.objects.pod import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStatus,
    Pod,
    PodCondition,
    PodIP,
    PodStatus,
    effective_security_context,
    from_object,
    pod_requests,
    qos_class,
    to_object,
)

RECIPE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "sharevol", "namespace": "default", "uid": "u", "somethingNew": {"a": 1}},
    "spec": {
        "containers": [
            {
                "name": "c1",
                "image": "centos:7",
                "command": ["bin/bash", "-c", "sleep 10000"],
                "volumeMounts": [{"name": "xchange", "mountPath": "/tmp/xchange"}],
                "securityContext": {"runAsUser": 5, "seccompProfile": {"type": "RuntimeDefault"}},
            },
            {"name": "c2", "image": "centos:7", "volumeMounts": [{"name": "xchange", "mountPath": "/tmp/data"}]},
        ],
        "volumes": [{"name": "xchange", "emptyDir": {}}],
        "securityContext": {"runAsUser": 7, "runAsGroup": 8},
    },
}


def pod(**resources: dict[str, Any]) -> Pod:
    containers = [{"name": name, "resources": amounts} for name, amounts in resources.items()]
    return from_object({"spec": {"containers": containers}})


def test_a_pod_is_read_with_its_volumes_and_mounts() -> None:
    read = from_object(RECIPE)
    assert read.full_name == "default/sharevol"
    assert read.spec.volumes[0].empty_dir is not None
    assert [container.volume_mounts[0].mount_path for container in read.spec.containers] == [
        "/tmp/xchange",
        "/tmp/data",
    ]
    assert read.spec.containers[0].command == ("bin/bash", "-c", "sleep 10000")
    assert read.spec.restart_policy == "Always"


def test_a_pod_is_read_only() -> None:
    with pytest.raises(AttributeError):
        from_object(RECIPE).spec.node_name = "n"  # type: ignore[misc]


def test_null_is_absent() -> None:
    read = from_object(
        {"metadata": {"name": "a", "labels": None, "creationTimestamp": None}, "spec": {"volumes": None}}
    )
    assert read.metadata.labels == {}
    assert read.spec.volumes == ()


def test_what_is_no_pod_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="not a pod"):
        from_object({"spec": {"containers": 7}})


def test_a_containers_security_context_falls_back_to_the_pods() -> None:
    read = from_object(RECIPE)
    first, second = (effective_security_context(read, container) for container in read.spec.containers)
    assert (first.run_as_user, first.run_as_group) == (5, 8)
    assert first.seccomp_profile is not None
    assert (second.run_as_user, second.seccomp_profile) == (7, None)


def test_a_status_is_written_with_the_apis_names_and_without_empty_fields() -> None:
    status = PodStatus(
        phase="Running",
        conditions=(PodCondition(type="Ready", status="True", last_transition_time="2026-01-01T00:00:00Z"),),
        host_ip="10.0.0.1",
        pod_ip="10.1.0.2",
        pod_ips=(PodIP(ip="10.1.0.2"),),
        container_statuses=(
            ContainerStatus(
                name="c1",
                ready=False,
                restart_count=0,
                image="centos:7",
                image_id="",
                started=False,
                container_id="runc://1",
                state=ContainerState(running=ContainerStateRunning(started_at="2026-01-01T00:00:00Z")),
                last_state=ContainerState(terminated=ContainerStateTerminated(exit_code=0, reason="Completed")),
            ),
        ),
    )
    assert to_object(status) == {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        "hostIP": "10.0.0.1",
        "podIP": "10.1.0.2",
        "podIPs": [{"ip": "10.1.0.2"}],
        "containerStatuses": [
            {
                "name": "c1",
                "ready": False,
                "restartCount": 0,
                "image": "centos:7",
                "imageID": "",
                "started": False,
                "containerID": "runc://1",
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                "lastState": {"terminated": {"exitCode": 0, "reason": "Completed"}},
            }
        ],
    }
    assert from_object({"status": to_object(status)}).status == status
    assert status.container("c1") is status.container_statuses[0]
    assert status.condition("Ready") is status.conditions[0]
    assert status.container("c2") is None


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"c": {}}, "BestEffort"),
        ({"c": {"requests": {"cpu": "0"}}}, "BestEffort"),
        ({"c": {"requests": {"ephemeral-storage": "1Gi"}}}, "BestEffort"),
        ({"c": {"requests": {"cpu": "1"}}}, "Burstable"),
        ({"c": {"limits": {"cpu": "1"}}}, "Burstable"),
        ({"c": {"limits": {"cpu": "1", "memory": "1Gi"}}}, "Guaranteed"),
        (
            {"c": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}},
            "Guaranteed",
        ),
        ({"c": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}, "Burstable"),
        ({"c": {"limits": {"cpu": "1", "memory": "1Gi"}}, "d": {}}, "Burstable"),
    ],
)
def test_the_qos_class_follows_the_documented_rules(resources: dict[str, Any], expected: str) -> None:
    assert qos_class(pod(**resources)) == expected


def test_a_pod_asks_for_the_sum_of_its_containers() -> None:
    asked = pod_requests(pod(a={"requests": {"cpu": "100m"}}, b={"limits": {"cpu": "1", "memory": "1Gi"}}))
    assert {name: amount.canonical() for name, amount in asked.items()} == {"cpu": "1100m", "memory": "1Gi"}


def test_an_empty_dirs_limit_is_in_bytes() -> None:
    volumes = [{"name": "a", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}, {"name": "b", "emptyDir": {}}]
    sizes = [
        volume.empty_dir.size_bytes
        for volume in from_object({"spec": {"volumes": volumes}}).spec.volumes
        if volume.empty_dir
    ]
    assert sizes == [64 * 2**20, 0]


def test_a_status_that_was_patched_to_nonsense_is_still_a_pods() -> None:
    status = {"containerStatuses": [{}], "conditions": [{}], "podIPs": [{}]}
    assert from_object({"spec": {"containers": [{}]}, "status": status}).status.container_statuses[0].name == ""


def test_what_the_api_requires_of_a_status_is_written_though_empty() -> None:
    written = to_object(ContainerStatus(name="c"))
    assert written["ready"] is False
    assert (written["restartCount"], written["image"], written["imageID"]) == (0, "", "")
    assert to_object(ContainerStateTerminated()) == {"exitCode": 0}
