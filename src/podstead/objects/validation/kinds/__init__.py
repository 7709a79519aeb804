"""Validation of the kinds beside pods and what podstead's own parts need: one module a kind, imported at first use.

A module has `validate(obj)` and `validate_update(new, old)`, and may have `validate_status_update(new, old)`. Metadata
is checked here, for every kind. A kind without a module has no rules but those of its metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Protocol

from podstead.objects import meta
from podstead.objects.errors import FieldError

Object = Mapping[str, Any]


class Kind(Protocol):
    """What is asked of a ResourceInfo here."""

    @property
    def group(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def namespaced(self) -> bool: ...


_RBAC = "rbac.authorization.k8s.io"
_MODULES: dict[tuple[str, str], str] = {
    ("", "Endpoints"): "endpoints",
    ("", "LimitRange"): "limitrange",
    ("", "PersistentVolume"): "persistentvolume",
    ("", "PersistentVolumeClaim"): "persistentvolumeclaim",
    ("", "PodTemplate"): "podtemplate",
    ("", "ReplicationController"): "replicationcontroller",
    ("", "ResourceQuota"): "resourcequota",
    ("", "Service"): "service",
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): "webhookconfiguration",
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): "webhookconfiguration",
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): "mutatingadmissionpolicy",
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): "mutatingadmissionpolicybinding",
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): "validatingadmissionpolicy",
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): "validatingadmissionpolicybinding",
    ("apiregistration.k8s.io", "APIService"): "apiservice",
    ("apps", "ControllerRevision"): "controllerrevision",
    ("apps", "DaemonSet"): "daemonset",
    ("apps", "Deployment"): "deployment",
    ("apps", "ReplicaSet"): "replicaset",
    ("apps", "StatefulSet"): "statefulset",
    ("autoscaling", "HorizontalPodAutoscaler"): "horizontalpodautoscaler",
    ("batch", "CronJob"): "cronjob",
    ("batch", "Job"): "job",
    ("certificates.k8s.io", "CertificateSigningRequest"): "certificatesigningrequest",
    ("certificates.k8s.io", "ClusterTrustBundle"): "clustertrustbundle",
    ("coordination.k8s.io", "Lease"): "lease",
    ("discovery.k8s.io", "EndpointSlice"): "endpointslice",
    ("events.k8s.io", "Event"): "event",
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): "flowschema",
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): "prioritylevelconfiguration",
    ("networking.k8s.io", "IPAddress"): "ipaddress",
    ("networking.k8s.io", "ServiceCIDR"): "servicecidr",
    ("networking.k8s.io", "Ingress"): "ingress",
    ("networking.k8s.io", "IngressClass"): "ingressclass",
    ("networking.k8s.io", "NetworkPolicy"): "networkpolicy",
    ("node.k8s.io", "RuntimeClass"): "runtimeclass",
    ("policy", "PodDisruptionBudget"): "poddisruptionbudget",
    (_RBAC, "ClusterRole"): "clusterrole",
    (_RBAC, "ClusterRoleBinding"): "clusterrolebinding",
    (_RBAC, "Role"): "role",
    (_RBAC, "RoleBinding"): "rolebinding",
    ("scheduling.k8s.io", "PriorityClass"): "priorityclass",
    ("storage.k8s.io", "CSIDriver"): "csidriver",
    ("storage.k8s.io", "CSINode"): "csinode",
    ("storage.k8s.io", "CSIStorageCapacity"): "csistoragecapacity",
    ("storage.k8s.io", "StorageClass"): "storageclass",
    ("storage.k8s.io", "VolumeAttachment"): "volumeattachment",
    ("storage.k8s.io", "VolumeAttributesClass"): "volumeattributesclass",
}


def _service_name(value: str, prefix: bool) -> list[str]:
    """A service's name is part of names in DNS and of environment variables: it begins with a letter."""
    return meta.dns_1035_label_problems(f"{value}a" if prefix else value)


def _address_name(value: str, prefix: bool) -> list[str]:
    problems: list[str] = import_module(f"{__name__}.ipaddress").name_problems(value)
    return problems


_NAME_RULES: dict[tuple[str, str], meta.NameRule] = {
    ("", "Service"): _service_name,
    ("apiregistration.k8s.io", "APIService"): meta.path_segment_name,
    ("certificates.k8s.io", "ClusterTrustBundle"): meta.path_segment_name,
    ("events.k8s.io", "Event"): meta.path_segment_name,
    ("networking.k8s.io", "IPAddress"): _address_name,
    (_RBAC, "ClusterRole"): meta.path_segment_name,
    (_RBAC, "ClusterRoleBinding"): meta.path_segment_name,
    (_RBAC, "Role"): meta.path_segment_name,
    (_RBAC, "RoleBinding"): meta.path_segment_name,
}


def validate(info: Kind, obj: Object) -> list[FieldError]:
    """What is wrong with an object to create."""
    rule = _NAME_RULES.get((info.group, info.kind), meta.subdomain_name)
    errors = meta.validate_object_meta(obj.get("metadata") or {}, namespaced=info.namespaced, name_rule=rule)
    own = _function(info, "validate")
    return [*errors, *own(obj)] if own is not None else errors


def validate_update(info: Kind, new: Object, old: Object, subresource: str) -> list[FieldError]:
    """What is wrong with `new` in place of `old`, through a subresource or (empty) the object itself."""
    errors = meta.validate_object_meta_update(new.get("metadata") or {}, old.get("metadata") or {})
    name = {"": "validate_update", "scale": "validate_update", "status": "validate_status_update"}.get(subresource)
    own = _function(info, name) if name is not None else None
    return [*errors, *own(new, old)] if own is not None else errors


def _function(info: Kind, name: str) -> Callable[..., Iterable[FieldError]] | None:
    module = _MODULES.get((info.group, info.kind))
    if module is None:
        return None
    function: Callable[..., Iterable[FieldError]] | None = getattr(import_module(f"{__name__}.{module}"), name, None)
    return function
