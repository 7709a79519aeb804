"""Struct fields that a Kubernetes object has even where nothing is in them.

They are structs and no pointers in the API's Go types, so that a live object has them as `{}`: setting something in
them does not add the field itself (no "." in its FieldsV1). metadata, spec and status of kinds, and required lists and
maps, are so too and not listed. Source: the types' reference, https://pkg.go.dev/k8s.io/api.
"""

from __future__ import annotations

ALWAYS = frozenset(
    {
        "Container.resources",
        "ContainerStatus.lastState",
        "ContainerStatus.state",
        "CronJobSpec.jobTemplate",
        "CustomResourceDefinitionSpec.names",
        "DaemonSetSpec.template",
        "DaemonSetSpec.updateStrategy",
        "DeploymentSpec.strategy",
        "DeploymentSpec.template",
        "EphemeralContainer.resources",
        "EphemeralVolumeSource.volumeClaimTemplate",
        "Endpoint.conditions",
        "HorizontalPodAutoscalerSpec.scaleTargetRef",
        "IngressServiceBackend.port",
        "IngressStatus.loadBalancer",
        "JobSpec.template",
        "JobTemplateSpec.metadata",
        "JobTemplateSpec.spec",
        "NodeDaemonEndpoints.kubeletEndpoint",
        "NodeStatus.daemonEndpoints",
        "NodeStatus.nodeInfo",
        "PersistentVolumeClaimSpec.resources",
        "PersistentVolumeClaimTemplate.metadata",
        "PersistentVolumeClaimTemplate.spec",
        "PodTemplate.template",
        "PodTemplateSpec.metadata",
        "PodTemplateSpec.spec",
        "ReplicaSetSpec.template",
        "ServiceStatus.loadBalancer",
        "StatefulSetSpec.template",
        "StatefulSetSpec.updateStrategy",
        "VolumeAttachmentSpec.source",
    }
)
