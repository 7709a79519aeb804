"""Computed defaults of the kinds beside pods and nodes: those that depend on another field of the same object.

Each function fills in one definition in place, before the plain defaults of the reviewed data. Source of all: the
"default" sentences of the API reference (https://kubernetes.io/docs/reference/kubernetes-api/).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Object = dict[str, Any]

_CORE = "io.k8s.api.core.v1."
_APPS = "io.k8s.api.apps.v1."
_MAX_INT32 = 2**31 - 1
_RBAC = "rbac.authorization.k8s.io"
_AFFINITY_SECONDS = 10_800
_CPU_UTILIZATION = 80
"""Percent: what an autoscaler without metrics aims at."""


def _service(service: Object) -> None:
    spec = service.get("spec") or {}
    if spec.get("type") == "LoadBalancer":
        for ingress in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
            if ingress.get("ip") and ingress.get("ipMode") is None:
                ingress["ipMode"] = "VIP"


def _service_spec(spec: Object) -> None:
    kind = spec.get("type") or "ClusterIP"
    if spec.get("sessionAffinity") == "ClientIP":
        if (spec.get("sessionAffinityConfig") or {}).get("clientIP", {}).get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": _AFFINITY_SECONDS}}
    elif spec.get("sessionAffinity", "None") in ("", "None"):
        spec.pop("sessionAffinityConfig", None)
    outside = kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and spec.get("externalIPs"))
    if outside and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _service_port(port: Object) -> None:
    if port.get("targetPort") in (None, 0, "") and "port" in port:
        port["targetPort"] = port["port"]


def _limit_range_item(item: Object) -> None:
    """Of containers: the maximum is the default limit, that the default request, and the minimum what is left."""
    if item.get("type") != "Container":
        return
    limits = {**(item.get("max") or {}), **(item.get("default") or {})}
    requests = {**(item.get("min") or {}), **limits, **(item.get("defaultRequest") or {})}
    for field, amounts in (("default", limits), ("defaultRequest", requests)):
        if amounts:
            item[field] = amounts


def _template_labels(owner: Object) -> Object | None:
    template = (owner.get("spec") or {}).get("template") or {}
    return (template.get("metadata") or {}).get("labels") or None


def _replication_controller(controller: Object) -> None:
    """Selector and labels are those of the template where they are left out."""
    labels = _template_labels(controller)
    if labels is not None:
        if not controller["spec"].get("selector"):
            controller["spec"]["selector"] = dict(labels)
        _labelled(controller, labels)


def _labelled(obj: Object, labels: Object) -> None:
    metadata = obj.setdefault("metadata", {})
    if not metadata.get("labels"):
        metadata["labels"] = dict(labels)


def _rolling(strategy: Object) -> None:
    """The part `rollingUpdate` is there exactly where the type says so; its own fields are plain defaults."""
    if strategy.get("type") in (None, "", "RollingUpdate"):
        strategy.setdefault("rollingUpdate", {})


def _stateful_set_spec(spec: Object) -> None:
    for claim in spec.get("volumeClaimTemplates") or ():
        claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
        claim.setdefault("spec", {})
        claim.setdefault("status", {})


def _job(job: Object) -> None:
    spec = job.setdefault("spec", {})
    if spec.get("parallelism") is None:
        spec["parallelism"] = 1
        if spec.get("completions") is None:
            spec["completions"] = 1
    if spec.get("backoffLimit") is None:
        spec["backoffLimit"] = 6 if spec.get("backoffLimitPerIndex") is None else _MAX_INT32
    if spec.get("completionMode") is None:
        spec["completionMode"] = "NonIndexed"
    if spec.get("suspend") is None:
        spec["suspend"] = False
    if spec.get("manualSelector") is None:
        spec["manualSelector"] = False
    if spec.get("podReplacementPolicy") is None:
        spec["podReplacementPolicy"] = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    labels = _template_labels(job)
    if labels is not None:
        _labelled(job, labels)


def _autoscaler(autoscaler: Object) -> None:
    spec = autoscaler.setdefault("spec", {})
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": _CPU_UTILIZATION}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _behavior(behavior: Object) -> None:
    """Up: four pods or all again in 15 s, whichever is more, at once. Down: all in 15 s."""
    percent = {"type": "Percent", "value": 100, "periodSeconds": 15}
    up = {"stabilizationWindowSeconds": 0, "selectPolicy": "Max"}
    policies = [{"type": "Pods", "value": 4, "periodSeconds": 15}, percent]
    behavior["scaleUp"] = {**up, "policies": policies, **(behavior.get("scaleUp") or {})}
    behavior["scaleDown"] = {"selectPolicy": "Max", "policies": [dict(percent)], **(behavior.get("scaleDown") or {})}


def _network_policy_spec(spec: Object) -> None:
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _subject(subject: Object) -> None:
    if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
        subject["apiGroup"] = _RBAC


def _role_ref(reference: Object) -> None:
    if not reference.get("apiGroup"):
        reference["apiGroup"] = _RBAC


def _device_request(request: Object) -> None:
    if request.get("allocationMode") in (None, "", "ExactCount") and not request.get("count"):
        request["count"] = 1


COMPUTED: Mapping[str, Callable[[Object], None]] = {
    _CORE + "Service": _service,
    _CORE + "ServiceSpec": _service_spec,
    _CORE + "ServicePort": _service_port,
    _CORE + "LimitRangeItem": _limit_range_item,
    _CORE + "ReplicationController": _replication_controller,
    _APPS + "DeploymentStrategy": _rolling,
    _APPS + "DaemonSetUpdateStrategy": _rolling,
    _APPS + "StatefulSetUpdateStrategy": _rolling,
    _APPS + "StatefulSetSpec": _stateful_set_spec,
    "io.k8s.api.batch.v1.Job": _job,
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler": _autoscaler,
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerBehavior": _behavior,
    "io.k8s.api.networking.v1.NetworkPolicySpec": _network_policy_spec,
    "io.k8s.api.rbac.v1.Subject": _subject,
    "io.k8s.api.rbac.v1.RoleRef": _role_ref,
    "io.k8s.api.resource.v1.ExactDeviceRequest": _device_request,
    "io.k8s.api.resource.v1.DeviceSubRequest": _device_request,
}
