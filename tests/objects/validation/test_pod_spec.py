"""A pod's containers and spec: fragment, and the API server's causes in its order."""

from __future__ import annotations

from typing import Any

import pytest

from support.manifests import causes, pod

KEY = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
ENV_FIELDS = (
    '"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", '
    '"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"'
)
PROBE = {"exec": {"command": ["true"]}}


def env(**source: Any) -> dict[str, Any]:
    return {"env": [{"name": "A", "valueFrom": source}]}


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (env(fieldRef={"fieldPath": "metadata.annotations['a.b/C']"}), []),
        (env(fieldRef={"fieldPath": ""}), ["env[0].valueFrom.fieldRef.fieldPath: Required value"]),
        (
            env(fieldRef={"fieldPath": "metadata.labels"}),
            [
                'env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": '
                f"supported values: {ENV_FIELDS}"
            ],
        ),
        (
            env(fieldRef={"fieldPath": "spec.hostname"}),
            [
                'env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.hostname": '
                "error converting fieldPath: field label not supported: spec.hostname"
            ],
        ),
        (
            env(fieldRef={"fieldPath": "metadata.name", "apiVersion": "v2"}),
            [
                'env[0].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.name": '
                "error converting fieldPath: unsupported pod version: v2"
            ],
        ),
        (
            env(resourceFieldRef={"resource": "cpu"}),
            [
                'env[0].valueFrom.resourceFieldRef.resource: Unsupported value: "cpu": supported values: "limits.cpu", '
                '"limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", '
                '"requests.memory"'
            ],
        ),
        (env(configMapKeyRef={"name": "m", "key": ""}), ["env[0].valueFrom.configMapKeyRef.key: Required value"]),
        (
            env(secretKeyRef={"name": "", "key": ".."}),
            [
                f'env[0].valueFrom.secretKeyRef.name: Invalid value: "": {SUBDOMAIN}',
                "env[0].valueFrom.secretKeyRef.key: Invalid value: \"..\": must not be '..'",
            ],
        ),
        (
            {"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
            ['env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
        ),
        (
            env(fieldRef={"fieldPath": "metadata.name"}, configMapKeyRef={"name": "m", "key": "k"}),
            ['env[0].valueFrom: Invalid value: "": may not have more than one field specified at a time'],
        ),
        ({"env": [{"name": "1 2"}, {"name": "a:b"}]}, []),
        ({"envFrom": [{}]}, ['envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`']),
        (
            {"envFrom": [{"prefix": "a=", "secretRef": {}}]},
            [
                'envFrom[0].prefix: Invalid value: "a=": a valid environment variable name must consist only of '
                "printable ASCII characters other than '='",
                "envFrom[0].secretRef.name: Required value",
            ],
        ),
        ({"livenessProbe": {}}, ["livenessProbe: Required value: must specify a handler type"]),
        (
            {"livenessProbe": {**PROBE, "tcpSocket": {"port": 1}, "successThreshold": 2}},
            [
                "livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
                "livenessProbe.successThreshold: Invalid value: 2: must be 1",
            ],
        ),
        (
            {"readinessProbe": {**PROBE, "terminationGracePeriodSeconds": 0, "periodSeconds": -1}},
            [
                "readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
                "readinessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
                "readinessProbe.terminationGracePeriodSeconds: Invalid value: 0: must not be set for readinessProbes",
            ],
        ),
        (
            {
                "startupProbe": {
                    "httpGet": {"port": "Web", "scheme": "FTP", "httpHeaders": [{"name": "a b", "value": ""}]}
                }
            },
            [
                'startupProbe.httpGet.port: Invalid value: "Web": '
                "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                'startupProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"',
                'startupProbe.httpGet.httpHeaders: Invalid value: "a b": a valid HTTP header must consist of '
                "alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
            ],
        ),
        (
            {"livenessProbe": {"grpc": {"port": 0}}},
            ["livenessProbe.grpc.port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        ({"lifecycle": {"postStart": {"exec": {}}}}, ["lifecycle.postStart.exec.command: Required value"]),
        (
            {"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}},
            [
                "lifecycle.preStop.sleep: Invalid value: 31: "
                "must be non-negative and less than terminationGracePeriodSeconds (30)"
            ],
        ),
        (
            {"resources": {"limits": {"disk": "1"}}},
            [
                f'resources.{kind}[disk]: Invalid value: "disk": {text}'
                for kind in ("limits", "requests")
                for text in (
                    "must be a standard resource type or fully qualified",
                    "must be a standard resource for containers",
                )
            ],
        ),
        (
            {"resources": {"limits": {"pods": "1"}, "requests": {"pods": "1"}}},
            [
                'resources.limits[pods]: Invalid value: "pods": must be a standard resource for containers',
                'resources.requests[pods]: Invalid value: "pods": must be a standard resource for containers',
            ],
        ),
        (
            {"resources": {"limits": {"a.b/gpu": "2"}, "requests": {"a.b/gpu": "1"}}},
            ['resources.requests: Invalid value: "1": must be equal to a.b/gpu limit of 2'],
        ),
        (
            {"resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "2048Mi"}}},
            ['resources.requests: Invalid value: "2Gi": must be less than or equal to memory limit of 1Gi'],
        ),
        (
            {"resources": {"limits": {"hugepages-2Mi": "3Mi"}}},
            [
                'resources.limits[hugepages-2Mi]: Invalid value: "3Mi": '
                "3Mi is not positive integer multiple of hugepages-2Mi",
                'resources.requests[hugepages-2Mi]: Invalid value: "3Mi": '
                "3Mi is not positive integer multiple of hugepages-2Mi",
                "resources: Forbidden: HugePages require cpu or memory",
            ],
        ),
        (
            {"resources": {"claims": [{"name": "gpu"}]}},
            [
                'resources.claims[0]: Not found: "gpu": '
                "must be one of the names in pod.spec.resourceClaims which is empty"
            ],
        ),
        (
            {"resizePolicy": [{"resourceName": "disk", "restartPolicy": "Never"}]},
            [
                'resizePolicy: Unsupported value: "disk": supported values: "cpu", "memory"',
                'resizePolicy: Unsupported value: "Never": supported values: "NotRequired", "RestartContainer"',
            ],
        ),
        (
            {"restartPolicyRules": [{"action": "Stop"}]},
            [
                "restartPolicy: Required value: must specify restartPolicy when restart rules are used",
                'restartPolicyRules[0].action: Unsupported value: "Stop": '
                'supported values: "Restart", "RestartAllContainers"',
                "restartPolicyRules[0].exitCodes: Required value: must be specified",
            ],
        ),
        (
            {
                "restartPolicy": "Never",
                "restartPolicyRules": [
                    {"action": "Restart", "exitCodes": {"operator": "In", "values": list(range(256))}}
                ],
            },
            ["restartPolicyRules[0].exitCodes.values: Too many: 256: must have at most 255 items"],
        ),
        (
            {"ports": [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 80}]},
            ['ports[1].hostPort: Duplicate value: "TCP//80"'],
        ),
        (
            {"securityContext": {"procMount": "Unmasked"}},
            ['securityContext.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`'],
        ),
        (
            {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "/a/../b"}}},
            [
                'securityContext.seccompProfile.localhostProfile: Invalid value: "/a/../b": must be a relative path',
                "securityContext.seccompProfile.localhostProfile: Invalid value: \"/a/../b\": must not contain '..'",
            ],
        ),
        (
            {"securityContext": {"appArmorProfile": {"type": "Localhost", "localhostProfile": " "}}},
            [
                'securityContext.appArmorProfile.localhostProfile: Invalid value: " ": '
                "must not be padded with whitespace"
            ],
        ),
        (
            {"securityContext": {"windowsOptions": {"runAsUserName": "a\\b\\c", "gmsaCredentialSpec": ""}}},
            [
                'securityContext.windowsOptions.gmsaCredentialSpec: Invalid value: "": '
                "gmsaCredentialSpec cannot be an empty string",
                'securityContext.windowsOptions.runAsUserName: Invalid value: "a\\\\b\\\\c": '
                "runAsUserName cannot contain more than one backslash",
            ],
        ),
    ],
)
def test_a_container_is_held_to_its_rules(container: dict[str, Any], expected: list[str]) -> None:
    assert causes(pod(container)) == [f"spec.containers[0].{line}" for line in expected]


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"name": "c0"}, ['name: Duplicate value: "c0"']),
        (
            {"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}, "livenessProbe": PROBE},
            [
                "lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
                "livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
            ],
        ),
        ({"restartPolicy": "Always", "livenessProbe": PROBE}, []),
        (
            {"restartPolicy": "Sometimes"},
            ['restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"'],
        ),
        ({"image": " a"}, ['image: Invalid value: " a": must not have leading or trailing whitespace']),
    ],
)
def test_an_init_container_is_held_to_its_rules(container: dict[str, Any], expected: list[str]) -> None:
    found = causes(pod(initContainers=[{"name": "i", "image": "a", **container}]))
    assert found == [f"spec.initContainers[0].{line}" for line in expected]


REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def node_affinity(**requirement: Any) -> dict[str, Any]:
    return {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}}}}


TERM = f"affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}},
            [f"{TERM}: Required value: must have at least one node selector term"],
        ),
        (
            node_affinity(key="a", operator="In"),
            [
                f"{TERM}[0].matchExpressions[0].values: Required value: "
                "must be specified when `operator` is 'In' or 'NotIn'"
            ],
        ),
        (
            node_affinity(key="a", operator="Gt", values=["1", "2"]),
            [
                f"{TERM}[0].matchExpressions[0].values: Required value: "
                "must be specified single value when `operator` is 'Lt' or 'Gt'"
            ],
        ),
        (
            node_affinity(key="", operator="Is"),
            [
                f'{TERM}[0].matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator',
                f'{TERM}[0].matchExpressions[0].key: Invalid value: "": name part must be non-empty',
                f'{TERM}[0].matchExpressions[0].key: Invalid value: "": name part {KEY}',
            ],
        ),
        (
            {"affinity": {"podAffinity": {PREFERRED: [{"weight": 0, "podAffinityTerm": {"topologyKey": "zone"}}]}}},
            [f"affinity.podAffinity.{PREFERRED}[0].weight: Invalid value: 0: must be in the range 1-100"],
        ),
        (
            {"affinity": {"podAntiAffinity": {REQUIRED: [{"topologyKey": "zone", "matchLabelKeys": ["a"]}]}}},
            [
                f"affinity.podAntiAffinity.{REQUIRED}[0].matchLabelKeys: Forbidden: "
                "must not be specified when labelSelector is not set"
            ],
        ),
        (
            {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Wait"}]},
            [
                "topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                "topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
                'topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Wait": '
                'supported values: "DoNotSchedule", "ScheduleAnyway"',
            ],
        ),
        (
            {
                "topologySpreadConstraints": [
                    {"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": domains}
                    for domains in (None, 2)
                ]
            },
            [
                'topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: "{a, ScheduleAnyway}"',
                "topologySpreadConstraints[1].minDomains: Invalid value: 2: "
                "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
            ],
        ),
        (
            {"tolerations": [{"key": "a", "operator": "Lt", "value": "010"}]},
            ['tolerations[0].value: Invalid value: "010": must be a valid decimal integer in canonical form'],
        ),
        (
            {"tolerations": [{"key": "a", "operator": "Exists", "value": "b", "tolerationSeconds": 1}]},
            [
                'tolerations[0].effect: Invalid value: "": '
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
                "tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
            ],
        ),
        (
            {"schedulingGates": [{"name": "a"}, {"name": "a"}], "nodeName": "n"},
            [
                'schedulingGates[1]: Duplicate value: "a"',
                "nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
            ],
        ),
        (
            {"readinessGates": [{"conditionType": "a b"}]},
            [f'readinessGates[0].conditionType: Invalid value: "a b": name part {KEY}'],
        ),
        (
            {"resourceClaims": [{"name": "a"}]},
            [
                'resourceClaims[0]: Invalid value: {"name":"a"}: '
                "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            ],
        ),
        ({"runtimeClassName": ""}, [f'runtimeClassName: Invalid value: "": {SUBDOMAIN}']),
        (
            {"securityContext": {"sysctls": [{"name": "a b", "value": "1"}]}},
            [
                'securityContext.sysctls[0].name: Invalid value: "a b": must have at most 253 characters and match '
                r"regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            ],
        ),
        (
            {"securityContext": {"sysctls": [{"name": "net/core.x", "value": "1"}]}, "hostNetwork": True},
            [
                'securityContext.sysctls[0].name: Invalid value: "net/core.x": '
                "may not be specified when 'hostNetwork' is true"
            ],
        ),
        (
            {"shareProcessNamespace": True, "hostPID": True},
            [
                "securityContext.shareProcessNamespace: Invalid value: true: "
                "ShareProcessNamespace and HostPID cannot both be enabled"
            ],
        ),
        (
            {"hostUsers": False, "hostNetwork": True, "hostIPC": True},
            [
                "hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false",
                "HostIPC: Forbidden: when `pod.Spec.HostUsers` is false",
            ],
        ),
        (
            {"securityContext": {"fsGroupChangePolicy": "Never"}},
            [
                'securityContext.fsGroupChangePolicy: Unsupported value: "Never": '
                'supported values: "Always", "OnRootMismatch"'
            ],
        ),
        ({"hostnameOverride": f"{'a' * 60}.example"}, ["hostnameOverride: Too long: may not be more than 64 bytes"]),
        ({"os": {"name": ""}}, ["os.name: Required value: cannot be empty"]),
        (
            {"os": {"name": "linux"}, "securityContext": {"windowsOptions": {}}},
            ["securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod"],
        ),
        (
            {"os": {"name": "windows"}, "hostUsers": True, "securityContext": {"fsGroup": 1}},
            [
                "hostUsers: Forbidden: cannot be set for a windows pod",
                "securityContext.fsGroup: Forbidden: cannot be set for a windows pod",
            ],
        ),
        (
            {"overhead": {"cpu": "-1"}},
            ['overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0'],
        ),
        (
            {"resources": {"limits": {"storage": "1"}}},
            [
                'resources.limits[storage]: Unsupported value: "storage": '
                'supported values: "cpu", "hugepages-", "memory"'
            ],
        ),
        (
            {"nodeSelector": {"a": "-"}},
            [
                'nodeSelector: Invalid value: "-": a valid label must be an empty string or consist of alphanumeric '
                "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue', "
                " or 'my_value',  or '12345', regex used for validation is "
                "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            ],
        ),
    ],
)
def test_a_spec_is_held_to_its_rules(spec: dict[str, Any], expected: list[str]) -> None:
    assert causes(pod(**spec)) == [f"spec.{line}" for line in expected]


def test_ports_of_the_hosts_network_are_the_containers_own() -> None:
    ports = [{"containerPort": 80, "hostPort": 81}]
    assert causes(pod({"ports": ports}, hostNetwork=True)) == [
        "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"
    ]


def test_a_pods_own_resources_cover_its_containers() -> None:
    containers = [{"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}}} for _ in range(2)]
    resources = {"requests": {"cpu": "1500m"}, "limits": {"cpu": "2"}}
    assert causes(pod(*containers, resources=resources)) == [
        'spec.resources.requests[cpu]: Invalid value: "1500m": '
        "must be greater than or equal to aggregate container requests of 2",
        *(
            f'spec.resources.containers[{index}][cpu].limits: Invalid value: "3": '
            "must be less than or equal to pod limits of 2"
            for index in range(2)
        ),
    ]


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        (
            {"kubernetes.io/config.mirror": "x"},
            [
                'metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": '
                "must set spec.nodeName if mirror pod annotation is set"
            ],
        ),
        (
            {"controller.kubernetes.io/pod-deletion-cost": "+1"},
            [
                'metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "+1": '
                "must be a 32bit integer"
            ],
        ),
        (
            {"seccomp.security.alpha.kubernetes.io/pod": "x"},
            [
                'metadata.annotations.seccomp.security.alpha.kubernetes.io/pod: Invalid value: "x": '
                "must be a valid seccomp profile"
            ],
        ),
        ({"a": "x" * (256 * 1024)}, ["metadata.annotations: Too long: may not be more than 262144 bytes"]),
    ],
)
def test_annotations_that_mean_something_are_read(annotations: dict[str, str], expected: list[str]) -> None:
    assert causes(pod(metadata={"annotations": annotations})) == expected


def test_a_finalizer_has_a_domain_or_is_a_known_one() -> None:
    text = "name is neither a standard finalizer name nor is it fully qualified"
    assert causes(pod(metadata={"finalizers": ["orphan", "mine"]})) == [
        f'metadata.finalizers[1]: Invalid value: "mine": {text}'
    ]
