"""Validation of pods: the sentences a user sees for a manifest that is wrong."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from podstead.objects.kinds import by_resource
from podstead.objects.validation import validate_create

PODS = by_resource("pods")


def container(name: str = "c1", **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "image": "centos:7",
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "resources": {},
        **fields,
    }


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "sharevol", "namespace": "default"},
        "spec": {
            "containers": list(containers) or [container()],
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "terminationGracePeriodSeconds": 30,
            "schedulerName": "default-scheduler",
            "securityContext": {},
            **spec,
        },
    }


def errors(obj: dict[str, Any]) -> list[str]:
    before = copy.deepcopy(obj)
    found = [str(error) for error in validate_create(PODS, obj)]
    assert obj == before, "validation changed what it was given"
    return found


def test_the_recipe_is_valid() -> None:
    mounts = [[{"name": "xchange", "mountPath": path}] for path in ("/tmp/xchange", "/tmp/data")]
    recipe = pod(
        container("c1", volumeMounts=mounts[0]),
        container("c2", volumeMounts=mounts[1]),
        volumes=[{"name": "xchange", "emptyDir": {}}],
    )
    assert errors(recipe) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image": ""}, "spec.containers[0].image: Required value"),
        (
            {"image": " centos"},
            'spec.containers[0].image: Invalid value: " centos": must not have leading or trailing whitespace',
        ),
        ({"name": ""}, "spec.containers[0].name: Required value"),
        (
            {"imagePullPolicy": "Sometimes"},
            'spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": '
            'supported values: "Always", "IfNotPresent", "Never"',
        ),
        (
            {"terminationMessagePolicy": "Log"},
            'spec.containers[0].terminationMessagePolicy: Unsupported value: "Log": '
            'supported values: "File", "FallbackToLogsOnError"',
        ),
        ({"env": [{"name": ""}]}, "spec.containers[0].env[0].name: Required value"),
        (
            {"env": [{"name": "A=B"}]},
            'spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must consist only '
            "of printable ASCII characters other than '='",
        ),
        (
            {"ports": [{"containerPort": 0, "protocol": "TCP"}]},
            "spec.containers[0].ports[0].containerPort: Required value",
        ),
        (
            {"ports": [{"containerPort": 70000, "protocol": "TCP"}]},
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            {"ports": [{"containerPort": 80, "protocol": "HTTP"}]},
            'spec.containers[0].ports[0].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"',
        ),
        (
            {"ports": [{"containerPort": n, "protocol": "TCP", "name": "web"} for n in (80, 81)]},
            'spec.containers[0].ports[1].name: Duplicate value: "web"',
        ),
        (
            {"ports": [{"containerPort": 80, "protocol": "TCP", "name": "80"}]},
            'spec.containers[0].ports[0].name: Invalid value: "80": must contain at least one letter (a-z)',
        ),
        (
            {"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}},
            'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
        ),
        (
            {"resources": {"limits": {"memory": "-1"}}},
            'spec.containers[0].resources.limits[memory]: Invalid value: "-1": must be greater than or equal to 0',
        ),
        (
            {"resources": {"limits": {"a.io/gpu": "500m"}}},
            "spec.containers[0].resources.limits[a.io/gpu]: Invalid value: 500m: must be an integer",
        ),
        (
            {"resources": {"requests": {"a.io/gpu": "1"}}},
            "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
        ),
        (
            {"resources": {"limits": {"cpu": "one"}}},
            'spec.containers[0].resources.limits[cpu]: Invalid value: "one": quantities must match the regular '
            "expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            {"securityContext": {"runAsUser": -1}},
            "spec.containers[0].securityContext.runAsUser: Invalid value: -1: "
            "must be between 0 and 2147483647, inclusive",
        ),
        (
            {"securityContext": {"privileged": True, "allowPrivilegeEscalation": False}},
            'spec.containers[0].securityContext: Invalid value: {"privileged":true,"allowPrivilegeEscalation":false}: '
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ),
        (
            {"securityContext": {"seccompProfile": {"type": "Default"}}},
            'spec.containers[0].securityContext.seccompProfile.type: Unsupported value: "Default": '
            'supported values: "Localhost", "RuntimeDefault", "Unconfined"',
        ),
    ],
)
def test_a_wrong_container_is_named(fields: dict[str, Any], message: str) -> None:
    assert errors(pod(container(**fields))) == [message]


def test_a_pod_needs_containers_with_names_of_their_own() -> None:
    empty = pod()
    empty["spec"]["containers"] = []
    assert errors(empty) == ["spec.containers: Required value"]
    assert errors(pod(container("c1"), container("c1"))) == ['spec.containers[1].name: Duplicate value: "c1"']
    assert errors(pod(container("C1")))[0].startswith(
        'spec.containers[0].name: Invalid value: "C1": a lowercase RFC 1123 label must consist of'
    )


@pytest.mark.parametrize(
    ("volumes", "mounts", "messages"),
    [
        ([], [{"name": "xchange", "mountPath": "/a"}], ['volumeMounts[0].name: Not found: "xchange"']),
        (
            [{"name": "x", "emptyDir": {}}],
            [{"name": "", "mountPath": "/a"}],
            ["volumeMounts[0].name: Required value", 'volumeMounts[0].name: Not found: ""'],
        ),
        (
            [{"name": "x", "emptyDir": {}}],
            [{"name": "x", "mountPath": "/a"}, {"name": "x", "mountPath": "/a"}],
            ['volumeMounts[1].mountPath: Invalid value: "/a": must be unique'],
        ),
        ([{"name": "x", "emptyDir": {}}], [{"name": "x"}], ["volumeMounts[0].mountPath: Required value"]),
        (
            [{"name": "x", "emptyDir": {}}],
            [{"name": "x", "mountPath": "/a:b"}],
            ["volumeMounts[0].mountPath: Invalid value: \"/a:b\": must not contain ':'"],
        ),
    ],
)
def test_a_wrong_mount_is_named(
    volumes: list[dict[str, Any]], mounts: list[dict[str, Any]], messages: list[str]
) -> None:
    found = errors(pod(container(volumeMounts=mounts), volumes=volumes))
    assert found == [f"spec.containers[0].{message}" for message in messages]


@pytest.mark.parametrize(
    ("volumes", "messages"),
    [
        ([{"name": "x"}], ["spec.volumes[0]: Required value: must specify a volume type"]),
        (
            [{"name": "x", "emptyDir": {}, "hostPath": {"path": "/"}}],
            ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        ([{"name": "", "emptyDir": {}}], ["spec.volumes[0].name: Required value"]),
        ([{"name": "x", "emptyDir": {}}] * 2, ['spec.volumes[1].name: Duplicate value: "x"']),
        (
            [{"name": "x", "emptyDir": {"medium": "Memory", "sizeLimit": "-1"}}],
            ["spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"],
        ),
        (
            [{"name": "x", "emptyDir": {"medium": "memory"}}],
            ['spec.volumes[0].emptyDir.medium: Unsupported value: "memory": supported values: "", "Memory"'],
        ),
        (
            [{"name": "x", "emptyDir": {"mode": 5000}}],
            [
                "spec.volumes[0].emptyDir.mode: Invalid value: 5000: "
                "must be a number between 0 and 01777 (octal), both inclusive"
            ],
        ),
    ],
)
def test_a_wrong_volume_is_named(volumes: list[dict[str, Any]], messages: list[str]) -> None:
    assert errors(pod(volumes=volumes)) == messages


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"restartPolicy": "Maybe"},
            'spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"',
        ),
        (
            {"dnsPolicy": "Mine"},
            'spec.dnsPolicy: Unsupported value: "Mine": '
            'supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"',
        ),
        ({"dnsPolicy": "None"}, "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
        (
            {"dnsPolicy": "None", "dnsConfig": {}},
            "spec.dnsConfig.nameservers: Required value: "
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        ),
        (
            {"dnsConfig": {"nameservers": ["1.1.1.1"] * 4}},
            'spec.dnsConfig.nameservers: Invalid value: ["1.1.1.1","1.1.1.1","1.1.1.1","1.1.1.1"]: '
            "must not have more than 3 nameservers",
        ),
        (
            {"dnsConfig": {"nameservers": ["dns"]}},
            'spec.dnsConfig.nameservers[0]: Invalid value: "dns": '
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        ({"dnsConfig": {"options": [{"value": "2"}]}}, "spec.dnsConfig.options[0]: Required value: must not be empty"),
        (
            {"activeDeadlineSeconds": 0},
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            {"hostAliases": [{"ip": "here", "hostnames": []}]},
            'spec.hostAliases[0].ip: Invalid value: "here": '
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            {"tolerations": [{"operator": "Equal", "value": "x"}]},
            'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, '
            'which means "match all values and all keys"',
        ),
        (
            {"tolerations": [{"operator": "Exists", "effect": "Never"}]},
            'spec.tolerations[0].effect: Unsupported value: "Never": '
            'supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"',
        ),
        (
            {"securityContext": {"supplementalGroups": [1, -2]}},
            "spec.securityContext.supplementalGroups[1]: Invalid value: -2: "
            "must be between 0 and 2147483647, inclusive",
        ),
        ({"os": {"name": "plan9"}}, 'spec.os: Unsupported value: "plan9": supported values: "linux", "windows"'),
    ],
)
def test_a_wrong_field_of_the_spec_is_named(spec: dict[str, Any], message: str) -> None:
    assert errors(pod(**spec)) == [message]


@pytest.mark.parametrize("field", ["hostname", "nodeName", "serviceAccountName"])
def test_names_in_the_spec_have_a_syntax(field: str) -> None:
    (message,) = errors(pod(**{field: "Not_A_Name"}))
    assert message.startswith(f'spec.{field}: Invalid value: "Not_A_Name": a lowercase RFC 1123')


def test_a_line_break_gets_into_no_file_of_the_container() -> None:
    assert errors(pod(hostAliases=[{"ip": "10.0.0.1", "hostnames": ["a\n1.2.3.4 b"]}]))
    assert errors(pod(dnsConfig={"searches": ["a\nnameserver 1.2.3.4"]}))
    assert errors(pod(hostname="a\n"))


def test_searches_may_have_underscores_and_a_final_dot() -> None:
    assert errors(pod(dnsConfig={"searches": ["_ldap._tcp.example.com", "example.com.", "."]})) == []


def test_every_mistake_is_told_at_once() -> None:
    assert errors(pod(container(image=""), container("c1", image=""))) == [
        "spec.containers[0].image: Required value",
        "spec.containers[1].image: Required value",
        'spec.containers[1].name: Duplicate value: "c1"',
    ]
