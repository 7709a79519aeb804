"""One strategy a kind, for what differs; kinds that do not differ have the generic one."""

from __future__ import annotations

from podstead.objects.kinds import ResourceInfo
from podstead.registry.strategies import generic
from podstead.registry.strategies.base import Strategy
from podstead.registry.strategies.events import EventStrategy, NewEventStrategy
from podstead.registry.strategies.namespaces import NamespaceStrategy
from podstead.registry.strategies.nodes import NodeStrategy
from podstead.registry.strategies.pods import PodStrategy
from podstead.registry.strategies.secrets import SecretStrategy

_STRATEGIES: dict[str, type[Strategy]] = {
    "events": EventStrategy,
    "events.events.k8s.io": NewEventStrategy,
    "namespaces": NamespaceStrategy,
    "nodes": NodeStrategy,
    "pods": PodStrategy,
    "secrets": SecretStrategy,
    "apiservices.apiregistration.k8s.io": generic.APIServices,
    "certificatesigningrequests.certificates.k8s.io": generic.SigningRequests,
    "deployments.apps": generic.Deployments,
    "jobs.batch": generic.Jobs,
    "replicasets.apps": generic.ReplicaSets,
    "replicationcontrollers": generic.ReplicaSets,
    "services": generic.Services,
    "statefulsets.apps": generic.Scalable,
}
_STRATEGIES |= dict.fromkeys(
    (
        "clusterrolebindings.rbac.authorization.k8s.io",
        "clusterroles.rbac.authorization.k8s.io",
        "endpoints",
        "leases.coordination.k8s.io",
        "limitranges",
        "rolebindings.rbac.authorization.k8s.io",
        "roles.rbac.authorization.k8s.io",
    ),
    generic.Upserted,
)
_STRATEGIES |= dict.fromkeys(
    (
        "cronjobs.batch",
        "daemonsets.apps",
        "deviceclasses.resource.k8s.io",
        "endpointslices.discovery.k8s.io",
        "flowschemas.flowcontrol.apiserver.k8s.io",
        "ingressclasses.networking.k8s.io",
        "ingresses.networking.k8s.io",
        "mutatingadmissionpolicies.admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "networkpolicies.networking.k8s.io",
        "poddisruptionbudgets.policy",
        "podtemplates",
        "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
        "resourceslices.resource.k8s.io",
        "validatingadmissionpolicies.admissionregistration.k8s.io",
        "validatingadmissionpolicybindings.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
    ),
    generic.Generational,
)


def strategy_for(info: ResourceInfo) -> Strategy:
    return _STRATEGIES.get(info.resource, Strategy)(info)
