"""Nothing is accepted and then ignored: every field of the schema is implemented, or refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import msgspec
import pytest

from podstead.objects import environ, lifecycle, volumes
from podstead.objects import pod as typed
from podstead.objects import probe as probes
from podstead.objects.kinds import by_resource
from podstead.objects.validation import validate_create
from podstead.objects.validation.unsupported import NOT_YET, TABLE, Row, refusals

CORE = "io.k8s.api.core.v1."
META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

# Refused fields all of whose values are without effect here.
HARMLESS: set[tuple[str, str]] = set()
# Implemented fields that are made of parts, every part of which is implemented or looked at by the row's check.
WHOLE = {
    ("ClusterTrustBundleProjection", "labelSelector"),
    ("Container", "resizePolicy"),
    ("PodSpec", "affinity"),
    ("PodSpec", "topologySpreadConstraints"),
    ("ObjectMeta", "managedFields"),
    ("PodMeta", "managedFields"),
    ("ObjectMeta", "ownerReferences"),
    ("PodMeta", "ownerReferences"),
    ("ServiceAccount", "secrets"),
    ("Pod", "status"),
    ("Node", "status"),
    ("Namespace", "status"),
}
# Implemented without the node's reading them: another name for a field, and what only validation looks at.
UNREAD = {
    ("PodSpec", "serviceAccount"),
    ("PodSpec", "os"),
    ("PodSpec", "priorityClassName"),
}
TYPED: dict[str, type[msgspec.Struct]] = {
    "PodSpec": typed.PodSpec,
    "Container": typed.Container,
    "EnvVar": environ.EnvVar,
    "EnvVarSource": environ.EnvVarSource,
    "ConfigMapKeySelector": environ.KeySelector,
    "SecretKeySelector": environ.KeySelector,
    "EnvFromSource": environ.EnvFromSource,
    "ConfigMapEnvSource": environ.EnvSource,
    "SecretEnvSource": environ.EnvSource,
    "Sysctl": environ.Sysctl,
    "ContainerPort": environ.ContainerPort,
    "SeccompProfile": typed.SeccompProfile,
    "ResourceRequirements": typed.ResourceRequirements,
    "SecurityContext": typed.SecurityContext,
    "PodSecurityContext": typed.PodSecurityContext,
    "Capabilities": typed.Capabilities,
    "VolumeMount": typed.VolumeMount,
    "Volume": typed.Volume,
    "EmptyDirVolumeSource": volumes.EmptyDir,
    "ConfigMapVolumeSource": volumes.ConfigMapVolume,
    "SecretVolumeSource": volumes.SecretVolume,
    "DownwardAPIVolumeSource": volumes.DownwardAPIVolume,
    "DownwardAPIVolumeFile": volumes.DownwardAPIFile,
    "ResourceFieldSelector": volumes.ResourceFieldSelector,
    "KeyToPath": volumes.KeyToPath,
    "ProjectedVolumeSource": volumes.Projected,
    "VolumeProjection": volumes.VolumeProjection,
    "ConfigMapProjection": volumes.ConfigMapProjection,
    "SecretProjection": volumes.SecretProjection,
    "ServiceAccountTokenProjection": volumes.ServiceAccountTokenProjection,
    "ClusterTrustBundleProjection": volumes.ClusterTrustBundleProjection,
    "HostAlias": typed.HostAlias,
    "PodDNSConfig": typed.DNSConfig,
    "PodDNSConfigOption": typed.DNSOption,
    "Toleration": typed.Toleration,
    "Probe": probes.Probe,
    "GRPCAction": probes.GRPCAction,
    "PodReadinessGate": probes.PodReadinessGate,
    "Lifecycle": lifecycle.Lifecycle,
    "LifecycleHandler": lifecycle.LifecycleHandler,
    "ExecAction": lifecycle.ExecAction,
    "HTTPGetAction": lifecycle.HTTPGetAction,
    "HTTPHeader": lifecycle.HTTPHeader,
    "SleepAction": lifecycle.SleepAction,
    "TCPSocketAction": lifecycle.TCPSocketAction,
    "ContainerRestartRule": lifecycle.RestartRule,
    "ContainerRestartRuleOnExitCodes": lifecycle.RestartRuleOnExitCodes,
}


@cache
def schema() -> dict[str, Any]:
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / "v1.37.0-local"
    definitions: dict[str, Any] = json.loads((folder / "_definitions.json").read_bytes())["$defs"]
    return definitions


def properties(row: str) -> dict[str, Any]:
    name = META if row in ("ObjectMeta", "PodMeta") else CORE + row
    found: dict[str, Any] = schema()[name]["properties"]
    return found


def reference(prop: dict[str, Any]) -> str:
    """The definition that a property, or each item of it, is; empty for a plain value."""
    target = prop.get("$ref") or (prop.get("items") or {}).get("$ref") or ""
    name = target.rpartition("/")[2]
    return name if name and "properties" in schema()[name] else ""


def probe(prop: dict[str, Any], neutral: tuple[object, ...]) -> Any:
    """A value that is not neutral."""
    kind = prop.get("type") or ("object" if "$ref" in prop else "string")
    kinds = [kind] if isinstance(kind, str) else kind
    if "array" in kinds:
        return [{"x": "y"}] if reference(prop) else ["x"]
    if "boolean" in kinds:
        return next(value for value in (True, False) if value not in neutral)
    if "integer" in kinds:
        return 7
    return {"x": "y"} if "object" in kinds else "x"


def rows() -> list[tuple[str, Row]]:
    return sorted(TABLE.items())


@pytest.mark.parametrize(("name", "row"), rows())
def test_the_table_names_only_what_the_schema_has(name: str, row: Row) -> None:
    known = set(properties(name))
    named = [*row.implemented, *row.parts, *row.neutral]
    assert set(named) <= known
    assert len(named) == len(set(named)), "a field is either implemented, or made of parts, or refused"
    assert set(row.refused) <= row.implemented


@pytest.mark.parametrize(("name", "row"), rows())
def test_every_field_of_the_schema_is_implemented_or_refused_by_name(name: str, row: Row) -> None:
    for field, prop in properties(name).items():
        if field in row.implemented or field in row.parts or (name, field) in HARMLESS:
            continue
        asked = {field: probe(prop, row.neutral.get(field, ()))}
        if name == "Volume":
            asked["name"] = "x"
        assert refused(name, asked) == [f"{field}: Forbidden: {NOT_YET}"]


def refused(name: str, part: dict[str, Any]) -> list[str]:
    return [str(error) for error in refusals(name, part)]


@pytest.mark.parametrize(("name", "row"), rows())
def test_what_is_made_of_parts_is_looked_into(name: str, row: Row) -> None:
    for field, prop in properties(name).items():
        definition = reference(prop)
        if field in row.implemented and (name, field) not in WHOLE:
            assert not definition, f"{name}.{field} is accepted whole"
        if field in row.parts:
            part = row.parts[field]
            assert definition == (META if part in ("ObjectMeta", "PodMeta") else CORE + part)


@pytest.mark.parametrize(("name", "struct"), TYPED.items())
def test_what_is_implemented_for_pods_is_read(name: str, struct: type[msgspec.Struct]) -> None:
    read = {field.encode_name for field in msgspec.structs.fields(struct)}
    row = TABLE[name]
    unread = {field for field in (*row.implemented, *row.parts) if (name, field) not in UNREAD} - read
    assert not unread


def test_every_row_is_reached() -> None:
    def reach(name: str) -> Iterator[str]:
        yield name
        for part in TABLE[name].parts.values():
            yield from reach(part)

    kinds = ["Pod", "Node", "Namespace", "ConfigMap", "Secret", "ServiceAccount"]
    assert {found for kind in kinds for found in reach(kind)} == set(TABLE)


def pod(spec: dict[str, Any], container: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "terminationGracePeriodSeconds": 30,
            "containers": [
                {
                    "name": "c1",
                    "image": "a",
                    "imagePullPolicy": "Always",
                    "terminationMessagePolicy": "File",
                    **container,
                }
            ],
            **spec,
        },
    }


def errors(spec: dict[str, Any], container: dict[str, Any]) -> list[str]:
    return [str(error) for error in validate_create(by_resource("pods"), pod(spec, container))]


ISCSI = {"targetPortal": "10.0.0.1", "iqn": "iqn.2001-04.com.example:storage", "lun": 0}


@pytest.mark.parametrize(
    ("spec", "container", "path"),
    [
        ({"volumes": [{"name": "x", "iscsi": ISCSI}]}, {}, "spec.volumes[0].iscsi"),
        (
            {
                "volumes": [
                    {
                        "name": "x",
                        "projected": {
                            "sources": [
                                {"podCertificate": {"signerName": "a.example/b", "keyType": "ED25519", "keyPath": "k"}}
                            ]
                        },
                    }
                ]
            },
            {},
            "spec.volumes[0].projected.sources[0].podCertificate",
        ),
        ({"hostUsers": False}, {}, "spec.hostUsers"),
        (
            {},
            {"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "a", "key": "B"}}}]},
            "spec.containers[0].env[0].valueFrom.fileKeyRef",
        ),
        (
            {},
            {"securityContext": {"seLinuxOptions": {"level": "s0"}}},
            "spec.containers[0].securityContext.seLinuxOptions",
        ),
        (
            {},
            {"resources": {"limits": {"ephemeral-storage": "1Gi"}}},
            "spec.containers[0].resources.limits[ephemeral-storage]",
        ),
    ],
)
def test_a_user_is_told_which_field_is_not_implemented(
    spec: dict[str, Any], container: dict[str, Any], path: str
) -> None:
    assert errors(spec, container) == [f"{path}: Forbidden: {NOT_YET}"]


@pytest.mark.parametrize(
    ("spec", "container", "message"),
    [
        (
            {"volumes": [{"name": "x", "emptyDir": {"sizeLimit": "1Gi"}}]},
            {},
            f"spec.volumes[0].emptyDir.sizeLimit: Forbidden: {NOT_YET}, except with medium Memory",
        ),
        (
            {"volumes": [{"name": "x", "emptyDir": {"medium": "HugePages-2Mi"}}]},
            {},
            f'spec.volumes[0].emptyDir.medium: Forbidden: "HugePages-2Mi" is {NOT_YET}',
        ),
        (
            {},
            {
                "restartPolicy": "Never",
                "restartPolicyRules": [
                    {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}
                ],
            },
            f'spec.containers[0].restartPolicyRules[0].action: Forbidden: "RestartAllContainers" is {NOT_YET}',
        ),
        ({"os": {"name": "windows"}}, {}, f'spec.os.name: Forbidden: "windows" is {NOT_YET}'),
    ],
)
def test_a_user_is_told_which_value_is_not_implemented(
    spec: dict[str, Any], container: dict[str, Any], message: str
) -> None:
    assert errors(spec, container) == [message]


def test_values_that_change_nothing_are_accepted() -> None:
    """As a manifest has them that was read back from a real cluster."""
    spec = {
        "affinity": {},
        "enableServiceLinks": True,
        "ephemeralContainers": [],
        "hostIPC": False,
        "hostNetwork": False,
        "hostPID": False,
        "hostUsers": True,
        "imagePullSecrets": [],
        "initContainers": None,
        "os": {"name": "linux"},
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 1000,
        "priorityClassName": "high",
        "schedulerName": "default-scheduler",
        "securityContext": {"supplementalGroupsPolicy": "Merge"},
        "serviceAccount": "default",
        "serviceAccountName": "default",
        "shareProcessNamespace": False,
        "subdomain": "",
        "volumes": [{"name": "x", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi", "mode": 0o777}}],
    }
    container = {
        "lifecycle": {},
        "ports": [{"containerPort": 80, "protocol": "TCP", "hostPort": 0}],
        "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
        "resources": {"requests": {"ephemeral-storage": "1Gi"}},
        "securityContext": {"procMount": "Default", "seccompProfile": {"type": "RuntimeDefault"}},
        "volumeMounts": [
            {"name": "x", "mountPath": "/a", "mountPropagation": "None", "recursiveReadOnly": "Disabled", "subPath": ""}
        ],
    }
    assert errors(spec, container) == []


def test_a_field_that_is_newer_than_the_table_is_refused() -> None:
    assert errors({"brandNewField": {"a": 1}}, {}) == [f"spec.brandNewField: Forbidden: {NOT_YET}"]


def test_other_kinds_have_refusals_too() -> None:
    account = {"metadata": {"name": "a", "namespace": "b"}, "imagePullSecrets": [{"name": "x", "kind": "y"}]}
    assert [str(error) for error in validate_create(by_resource("serviceaccounts"), account)] == [
        f"imagePullSecrets[0].kind: Forbidden: {NOT_YET}"
    ]
    assert refused("Secret", {"type": "kubernetes.io/service-account-token"}) == [
        f'type: Forbidden: "kubernetes.io/service-account-token" is {NOT_YET}'
    ]
    assert refused("Node", {"spec": {"configSource": {"configMap": {}}}}) == [
        f"spec.configSource: Forbidden: {NOT_YET}"
    ]


def test_annotations_that_ask_for_a_feature_are_refused() -> None:
    key = "container.apparmor.security.beta.kubernetes.io/c1"
    assert refused("Pod", {"metadata": {"annotations": {key: "runtime/default"}}}) == [
        f"metadata.annotations[{key}]: Forbidden: {NOT_YET}"
    ]
    assert refused("Pod", {"metadata": {"annotations": {key: "unconfined", "note": "x"}}}) == []
