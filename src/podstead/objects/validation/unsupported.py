"""What podstead does not implement yet: one table, and a refusal by name of everything that is not in it.

A field is implemented, or made of parts that have their own row, or refused unless its value changes nothing (is empty
or the default). A field that the table does not know at all is refused too, so that a newer schema adds no field that
is accepted and then ignored. Rows are named after the definitions of the schema; a test walks both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.quantity import Quantity

Object = Mapping[str, Any]

NOT_YET = "not implemented by podstead yet"


@dataclass(frozen=True, slots=True)
class Row:
    """One definition of the schema. `parts` maps a field (an object, or a list of them) to the row for it; `neutral`
    a refused field to the values that change nothing; `refused` an implemented field to values that are not.
    """

    implemented: frozenset[str] = frozenset()
    parts: Mapping[str, str] = field(default_factory=dict)
    neutral: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    check: Callable[[Object, str], Iterator[FieldError]] | None = None
    """For what depends on more than one field."""


def refusals(kind: str, obj: Object, prefix: str = "") -> Iterator[FieldError]:
    """Yield an error for each field of an object (after defaulting) that asks for something not implemented.

    `prefix` is the path to a part of an object, with its dot.
    """
    if kind in TABLE:
        yield from _refusals(TABLE[kind], obj, prefix)


def _refusals(row: Row, obj: Object, prefix: str) -> Iterator[FieldError]:
    for name, value in obj.items():
        path = prefix + name
        if value is None:
            continue
        if name in row.parts:
            yield from _parts(TABLE[row.parts[name]], value, path)
        elif name not in row.implemented:
            if value not in ("", []) and value not in row.neutral.get(name, ()):
                yield meta.forbidden(path, NOT_YET)
        elif name in row.refused and value in row.refused[name]:
            yield meta.forbidden(path, f"{meta.quoted(value)} is {NOT_YET}")
    if row.check is not None:
        yield from row.check(obj, prefix)


def _parts(row: Row, value: Any, path: str) -> Iterator[FieldError]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _refusals(row, item, f"{path}[{index}].")
    else:
        yield from _refusals(row, value, f"{path}.")


def _pod_spec(spec: Object, prefix: str) -> Iterator[FieldError]:
    # The old name of serviceAccountName; defaulting makes them one.
    if spec.get("serviceAccount") not in (None, "", spec.get("serviceAccountName")):
        yield meta.forbidden(f"{prefix}serviceAccount", f"other than serviceAccountName, {NOT_YET}")


def _resources(resources: Object, prefix: str) -> Iterator[FieldError]:
    for name in resources.get("limits") or {}:
        if name == "ephemeral-storage" or name.startswith("hugepages-"):
            yield meta.forbidden(f"{prefix}limits[{name}]", NOT_YET)
    for name in resources.get("requests") or {}:
        if name.startswith("hugepages-"):
            yield meta.forbidden(f"{prefix}requests[{name}]", NOT_YET)


def _empty_dir(source: Object, prefix: str) -> Iterator[FieldError]:
    medium, limit = source.get("medium") or "", source.get("sizeLimit")
    if medium.startswith("HugePages"):
        yield meta.forbidden(f"{prefix}medium", f"{meta.quoted(medium)} is {NOT_YET}")
    elif medium == "" and limit is not None and _is_positive(limit):
        yield meta.forbidden(f"{prefix}sizeLimit", f"{NOT_YET}, except with medium Memory")


def _is_positive(text: Any) -> bool:
    try:
        return Quantity.parse(text).nanos > 0
    except ValueError:
        return True


def _pod_annotations(metadata: Object, prefix: str) -> Iterator[FieldError]:
    for key, value in (metadata.get("annotations") or {}).items():
        if key == "kubernetes.io/config.mirror" or (
            key.startswith("container.apparmor.security.beta.kubernetes.io/") and value != "unconfined"
        ):
            yield meta.forbidden(f"{prefix}annotations[{key}]", NOT_YET)


_OBJECT = frozenset({"apiVersion", "kind", "status"})
_METADATA = frozenset(
    {
        "annotations",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "labels",
        "managedFields",  # kept by the server, whatever a client sends
        "name",
        "namespace",
        "ownerReferences",
        "resourceVersion",
        "selfLink",  # deprecated, set by nobody, means nothing
        "uid",
    }
)
_CONTAINER = frozenset(
    {
        "args",
        "command",
        "image",
        "imagePullPolicy",
        "name",
        "stdin",
        "stdinOnce",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "tty",
        "workingDir",
    }
)

TABLE: Mapping[str, Row] = {
    "Pod": Row(_OBJECT, {"metadata": "PodMeta", "spec": "PodSpec"}),
    "PodMeta": Row(_METADATA, check=_pod_annotations),
    "ObjectMeta": Row(_METADATA),
    "PodSpec": Row(
        frozenset(
            {
                "activeDeadlineSeconds",
                "affinity",
                "automountServiceAccountToken",
                "dnsPolicy",
                "enableServiceLinks",
                "hostIPC",
                "hostNetwork",
                "hostPID",
                "hostname",
                "hostnameOverride",
                "nodeName",
                "nodeSelector",
                "overhead",
                "restartPolicy",
                "runtimeClassName",
                "priority",
                "priorityClassName",
                "schedulerName",
                "serviceAccount",
                "serviceAccountName",
                "setHostnameAsFQDN",
                "shareProcessNamespace",
                "subdomain",
                "terminationGracePeriodSeconds",
                "topologySpreadConstraints",
            }
        ),
        parts={
            "containers": "Container",
            "initContainers": "Container",
            "dnsConfig": "PodDNSConfig",
            # Only the subresource adds some; a create with them is refused by its own rule.
            "ephemeralContainers": "EphemeralContainer",
            "hostAliases": "HostAlias",
            "imagePullSecrets": "LocalObjectReference",
            "os": "PodOS",
            "readinessGates": "PodReadinessGate",
            "resources": "ResourceRequirements",
            "securityContext": "PodSecurityContext",
            "tolerations": "Toleration",
            "volumes": "Volume",
        },
        neutral={
            "hostUsers": (True,),
            # The priority orders the scheduler's queue; no pod is ended yet for the sake of another.
            "preemptionPolicy": ("PreemptLowerPriority", "Never"),
        },
        check=_pod_spec,
    ),
    "Container": Row(
        _CONTAINER | {"resizePolicy", "restartPolicy"},
        parts={
            "env": "EnvVar",
            "envFrom": "EnvFromSource",
            "lifecycle": "Lifecycle",
            "livenessProbe": "Probe",
            "ports": "ContainerPort",
            "readinessProbe": "Probe",
            "resources": "ResourceRequirements",
            "restartPolicyRules": "ContainerRestartRule",
            "securityContext": "SecurityContext",
            "startupProbe": "Probe",
            "volumeMounts": "VolumeMount",
        },
    ),
    "EphemeralContainer": Row(
        _CONTAINER | {"targetContainerName"},
        parts={
            "env": "EnvVar",
            "envFrom": "EnvFromSource",
            "securityContext": "SecurityContext",
            "volumeMounts": "VolumeMount",
        },
        # Refused for every ephemeral container, with a reason of their own.
        neutral={"lifecycle": ({},), "resources": ({},)},
    ),
    "Probe": Row(
        frozenset(
            {
                "failureThreshold",
                "initialDelaySeconds",
                "periodSeconds",
                "successThreshold",
                "terminationGracePeriodSeconds",
                "timeoutSeconds",
            }
        ),
        parts={
            "exec": "ExecAction",
            "grpc": "GRPCAction",
            "httpGet": "HTTPGetAction",
            "tcpSocket": "TCPSocketAction",
        },
    ),
    "GRPCAction": Row(frozenset({"port", "service"})),
    "PodReadinessGate": Row(frozenset({"conditionType"})),
    "Lifecycle": Row(frozenset({"stopSignal"}), parts={"postStart": "LifecycleHandler", "preStop": "LifecycleHandler"}),
    "LifecycleHandler": Row(
        parts={
            "exec": "ExecAction",
            "httpGet": "HTTPGetAction",
            "sleep": "SleepAction",
            # As in Kubernetes a hook may have it, and fails.
            "tcpSocket": "TCPSocketAction",
        }
    ),
    "ExecAction": Row(frozenset({"command"})),
    "HTTPGetAction": Row(frozenset({"host", "path", "port", "scheme"}), parts={"httpHeaders": "HTTPHeader"}),
    "HTTPHeader": Row(frozenset({"name", "value"})),
    "SleepAction": Row(frozenset({"seconds"})),
    "TCPSocketAction": Row(frozenset({"host", "port"})),
    "ContainerRestartRule": Row(
        frozenset({"action"}),
        parts={"exitCodes": "ContainerRestartRuleOnExitCodes"},
        refused={"action": ("RestartAllContainers",)},
    ),
    "ContainerRestartRuleOnExitCodes": Row(frozenset({"operator", "values"})),
    "EnvVar": Row(frozenset({"name", "value"}), parts={"valueFrom": "EnvVarSource"}),
    "EnvVarSource": Row(
        parts={
            "configMapKeyRef": "ConfigMapKeySelector",
            "fieldRef": "ObjectFieldSelector",
            "resourceFieldRef": "ResourceFieldSelector",
            "secretKeyRef": "SecretKeySelector",
        }
    ),
    "ConfigMapKeySelector": Row(frozenset({"key", "name", "optional"})),
    "SecretKeySelector": Row(frozenset({"key", "name", "optional"})),
    "EnvFromSource": Row(
        frozenset({"prefix"}), parts={"configMapRef": "ConfigMapEnvSource", "secretRef": "SecretEnvSource"}
    ),
    "ConfigMapEnvSource": Row(frozenset({"name", "optional"})),
    "SecretEnvSource": Row(frozenset({"name", "optional"})),
    "ContainerPort": Row(frozenset({"containerPort", "hostIP", "hostPort", "name", "protocol"})),
    "ResourceRequirements": Row(frozenset({"limits", "requests"}), check=_resources),
    "SecurityContext": Row(
        frozenset(
            {
                "allowPrivilegeEscalation",
                "privileged",
                "readOnlyRootFilesystem",
                "runAsGroup",
                "runAsNonRoot",
                "runAsUser",
            }
        ),
        parts={"capabilities": "Capabilities", "seccompProfile": "SeccompProfile"},
        neutral={"procMount": ("Default",), "seLinuxOptions": ({},)},
    ),
    "PodSecurityContext": Row(
        frozenset(
            {
                "fsGroup",
                "fsGroupChangePolicy",
                "runAsGroup",
                "runAsNonRoot",
                "runAsUser",
                "supplementalGroups",
                "supplementalGroupsPolicy",
            }
        ),
        parts={"seccompProfile": "SeccompProfile", "sysctls": "Sysctl"},
        neutral={"seLinuxOptions": ({},)},
    ),
    "Sysctl": Row(frozenset({"name", "value"})),
    "Capabilities": Row(frozenset({"add", "drop"})),
    "SeccompProfile": Row(frozenset({"localhostProfile", "type"})),
    "VolumeMount": Row(
        frozenset(
            {
                "bindMountOptions",
                "mountPath",
                "mountPropagation",
                "name",
                "readOnly",
                "recursiveReadOnly",
                "subPath",
                "subPathExpr",
            }
        ),
    ),
    "Volume": Row(
        frozenset({"name"}),
        parts={
            "configMap": "ConfigMapVolumeSource",
            # No driver can register: a pod waits for it, as where it is not installed.
            "csi": "CSIVolumeSource",
            "downwardAPI": "DownwardAPIVolumeSource",
            "emptyDir": "EmptyDirVolumeSource",
            "hostPath": "HostPathVolumeSource",
            "image": "ImageVolumeSource",
            "nfs": "NFSVolumeSource",
            "projected": "ProjectedVolumeSource",
            "secret": "SecretVolumeSource",
        },
    ),
    "CSIVolumeSource": Row(
        frozenset({"driver", "fsType", "readOnly", "volumeAttributes"}),
        parts={"nodePublishSecretRef": "LocalObjectReference"},
    ),
    "ConfigMapVolumeSource": Row(frozenset({"defaultMode", "name", "optional"}), parts={"items": "KeyToPath"}),
    "SecretVolumeSource": Row(frozenset({"defaultMode", "optional", "secretName"}), parts={"items": "KeyToPath"}),
    "DownwardAPIVolumeSource": Row(frozenset({"defaultMode"}), parts={"items": "DownwardAPIVolumeFile"}),
    "ProjectedVolumeSource": Row(frozenset({"defaultMode"}), parts={"sources": "VolumeProjection"}),
    "VolumeProjection": Row(
        parts={
            "clusterTrustBundle": "ClusterTrustBundleProjection",
            "configMap": "ConfigMapProjection",
            "downwardAPI": "DownwardAPIProjection",
            "secret": "SecretProjection",
            "serviceAccountToken": "ServiceAccountTokenProjection",
        }
    ),
    "ClusterTrustBundleProjection": Row(frozenset({"labelSelector", "name", "optional", "path", "signerName"})),
    "ConfigMapProjection": Row(frozenset({"name", "optional"}), parts={"items": "KeyToPath"}),
    "SecretProjection": Row(frozenset({"name", "optional"}), parts={"items": "KeyToPath"}),
    "KeyToPath": Row(frozenset({"key", "mode", "path"})),
    "DownwardAPIProjection": Row(parts={"items": "DownwardAPIVolumeFile"}),
    "DownwardAPIVolumeFile": Row(
        frozenset({"mode", "path"}),
        parts={"fieldRef": "ObjectFieldSelector", "resourceFieldRef": "ResourceFieldSelector"},
    ),
    "ResourceFieldSelector": Row(frozenset({"containerName", "divisor", "resource"})),
    "ObjectFieldSelector": Row(frozenset({"apiVersion", "fieldPath"})),
    "ServiceAccountTokenProjection": Row(frozenset({"audience", "expirationSeconds", "path"})),
    "EmptyDirVolumeSource": Row(frozenset({"medium", "mode", "sizeLimit"}), check=_empty_dir),
    "HostPathVolumeSource": Row(frozenset({"path", "type"})),
    "ImageVolumeSource": Row(frozenset({"pullPolicy", "reference"})),
    "NFSVolumeSource": Row(frozenset({"path", "readOnly", "server"})),
    "HostAlias": Row(frozenset({"hostnames", "ip"})),
    "PodDNSConfig": Row(frozenset({"nameservers", "searches"}), parts={"options": "PodDNSConfigOption"}),
    "PodDNSConfigOption": Row(frozenset({"name", "value"})),
    "LocalObjectReference": Row(frozenset({"name"})),
    "PodOS": Row(frozenset({"name"}), refused={"name": ("windows",)}),
    "Toleration": Row(
        frozenset({"effect", "key", "operator", "tolerationSeconds", "value"}), refused={"operator": ("Gt", "Lt")}
    ),
    "Node": Row(_OBJECT, {"metadata": "ObjectMeta", "spec": "NodeSpec"}),
    "NodeSpec": Row(frozenset({"podCIDR", "podCIDRs", "providerID", "unschedulable"}), parts={"taints": "Taint"}),
    "Taint": Row(frozenset({"effect", "key", "timeAdded", "value"})),
    "Namespace": Row(_OBJECT, {"metadata": "ObjectMeta", "spec": "NamespaceSpec"}),
    "NamespaceSpec": Row(frozenset({"finalizers"})),
    "ConfigMap": Row(frozenset({"apiVersion", "binaryData", "data", "immutable", "kind"}), {"metadata": "ObjectMeta"}),
    "Secret": Row(
        frozenset({"apiVersion", "data", "immutable", "kind", "stringData", "type"}),
        {"metadata": "ObjectMeta"},
        refused={"type": ("kubernetes.io/service-account-token",)},
    ),
    "ServiceAccount": Row(
        frozenset({"apiVersion", "automountServiceAccountToken", "kind", "secrets"}),
        {"imagePullSecrets": "LocalObjectReference", "metadata": "ObjectMeta"},
    ),
}
