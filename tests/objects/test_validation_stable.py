"""Validation of the kinds beside pods: what users meet most, at a create and at an update, in the server's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from podstead.objects import schema
from podstead.objects.kinds import by_resource
from podstead.objects.validation import validate_create, validate_update

LABELS = {"app": "a"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
ONCE = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
APP = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
UID = {"batch.kubernetes.io/controller-uid": "u"}
JOB = {"selector": {"matchLabels": UID}, "template": {**ONCE, "metadata": {"labels": UID}}}
PORT = {"port": 80}
VOLUME = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
BACKEND = {"service": {"name": "s", "port": {"number": 80}}}

PREFIX = {"pathType": "Prefix", "backend": BACKEND}
OTHER = {"spec": {**ONCE["spec"], "hostname": "h"}}

DEPLOYMENTS, SETS, JOBS = "deployments.apps", "statefulsets.apps", "jobs.batch"
INGRESSES, POLICIES = "ingresses.networking.k8s.io", "networkpolicies.networking.k8s.io"
SCALERS, BUDGETS = "horizontalpodautoscalers.autoscaling", "poddisruptionbudgets.policy"
ROLES, BINDINGS = "roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io"
CLASSES, PRIORITIES = "storageclasses.storage.k8s.io", "priorityclasses.scheduling.k8s.io"


def complete(resource: str, body: dict[str, Any]) -> dict[str, Any]:
    info = by_resource(resource)
    metadata = {
        "name": "x",
        "uid": "1",
        "resourceVersion": "5",
        **({"namespace": "default"} if info.namespaced else {}),
    }
    obj = {"metadata": metadata, **body}
    return schema.default(info, schema.check(info, json.loads(json.dumps(obj)))[0])


def create(resource: str, body: dict[str, Any]) -> list[str]:
    return [str(error) for error in validate_create(by_resource(resource), complete(resource, body))]


def update(resource: str, new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    objs = complete(resource, new), complete(resource, old)
    return [str(error) for error in validate_update(by_resource(resource), *objs)]


@pytest.mark.parametrize(
    ("resource", "body"),
    [
        (DEPLOYMENTS, {"spec": APP}),
        ("daemonsets.apps", {"spec": APP}),
        ("replicasets.apps", {"spec": APP}),
        (SETS, {"spec": {**APP, "serviceName": "s"}}),
        ("replicationcontrollers", {"spec": {"template": TEMPLATE}}),
        (JOBS, {"spec": JOB}),
        ("cronjobs.batch", {"spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": ONCE}}}}),
        ("services", {"spec": {"ports": [PORT]}}),
        ("services", {"spec": {"type": "ExternalName", "externalName": "a.example"}}),
        ("services", {"spec": {"clusterIP": "None"}}),
        ("persistentvolumes", {"spec": VOLUME}),
        ("persistentvolumeclaims", {"spec": CLAIM}),
        (CLASSES, {"provisioner": "a.io/b"}),
        (PRIORITIES, {"value": 5}),
        (ROLES, {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
        (BINDINGS, {"roleRef": ROLE, "subjects": [{"kind": "User", "name": "u"}]}),
        (INGRESSES, {"spec": {"defaultBackend": BACKEND}}),
        (POLICIES, {"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}}),
        (BUDGETS, {"spec": {"minAvailable": "50%", "selector": {}}}),
        (SCALERS, {"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}}),
        ("limitranges", {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}}),
        ("resourcequotas", {"spec": {"hard": {"pods": "3"}}}),
        ("leases.coordination.k8s.io", {"spec": {"leaseDurationSeconds": 5}}),
        ("runtimeclasses.node.k8s.io", {"handler": "runc"}),
        ("podtemplates", {"template": TEMPLATE}),
        ("endpoints", {"subsets": []}),
    ],
)
def test_what_is_right_is_taken_and_may_stay(resource: str, body: dict[str, Any]) -> None:
    assert create(resource, body) == []
    assert update(resource, body, body) == []


@pytest.mark.parametrize(
    ("resource", "body", "messages"),
    [
        (DEPLOYMENTS, {"spec": {"template": TEMPLATE}}, ["spec.selector: Required value"]),
        (DEPLOYMENTS, {"spec": {**APP, "selector": {}}},
         ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
        (DEPLOYMENTS, {"spec": {**APP, "selector": {"matchLabels": {"b": "c"}}}},
         ['spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`']),
        (DEPLOYMENTS, {"spec": {**APP, "template": ONCE}},
         ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"']),
        (DEPLOYMENTS, {"spec": {**APP, "replicas": -1}},
         ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        (DEPLOYMENTS, {"spec": {**APP, "strategy": {"type": "Recreate", "rollingUpdate": {}}}},
         ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"]),
        (DEPLOYMENTS, {"spec": {**APP, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}},
         ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"]),
        (JOBS, {"spec": {**JOB, "template": {**JOB["template"], "spec": TEMPLATE["spec"]}}},
         ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"']),
        ("cronjobs.batch", {"spec": {"schedule": "5 x", "jobTemplate": {"spec": {"template": ONCE}}}},
         ['spec.schedule: Invalid value: "5 x": expected exactly 5 fields, found 2: [5 x]']),
        ("services", {"spec": {}}, ["spec.ports: Required value"]),
        ("services", {"spec": {"ports": [{"port": 80}, {"port": 81, "name": "B"}]}},
         ["spec.ports[0].name: Required value", 'spec.ports[1].name: Invalid value: "B": a lowercase RFC 1123 label']),
        ("services", {"spec": {"ports": [{"port": 70000}]}},
         ["spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
          "spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive"]),
        ("services", {"metadata": {"name": "1x", "namespace": "default"}, "spec": {"ports": [PORT]}},
         ['metadata.name: Invalid value: "1x": a DNS-1035 label']),
        ("persistentvolumes", {"spec": {k: v for k, v in VOLUME.items() if k != "hostPath"}},
         ["spec: Required value: must specify a volume type"]),
        ("persistentvolumeclaims", {"spec": {"accessModes": ["ReadWriteOnce"]}},
         ["spec.resources[storage]: Required value"]),
        (CLASSES, {"provisioner": ""}, ["provisioner: Required value"]),
        (PRIORITIES, {"value": 2_000_000_000},
         ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]),
        (ROLES, {"rules": [{"verbs": [], "apiGroups": [""], "resources": ["pods"]}]},
         ["rules[0].verbs: Required value: verbs must contain at least one value"]),
        (BINDINGS, {"roleRef": {**ROLE, "kind": "Rule"}},
         ['roleRef.kind: Unsupported value: "Rule": supported values: "Role", "ClusterRole"']),
        (INGRESSES, {"spec": {}},
         ["spec: Invalid value: {}: either `defaultBackend` or `rules` must be specified"]),
        (INGRESSES, {"spec": {"rules": [{"http": {"paths": [{"path": "x", **PREFIX}]}}]}},
         ['spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path']),
        (POLICIES, {"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "x"}}]}]}},
         ['spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "x": must be a valid CIDR value']),
        (BUDGETS, {"spec": {"minAvailable": 1, "maxUnavailable": 1}},
         ['spec: Invalid value: {"minAvailable":1,"maxUnavailable":1}: minAvailable and maxUnavailable']),
        (SCALERS, {"spec": {"maxReplicas": 0, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}},
         ["spec.maxReplicas: Invalid value: 0: must be greater than 0",
          "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`"]),
        ("limitranges", {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}}]}},
         ['spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1']),
        ("runtimeclasses.node.k8s.io", {"handler": ""}, ["handler: Required value"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(resource: str, body: dict[str, Any], messages: list[str]) -> None:
    found = create(resource, body)
    assert [line.startswith(message) for line, message in zip(found, messages, strict=False)][: len(messages)] == [
        True
    ] * len(messages), found


@pytest.mark.parametrize(
    ("resource", "old", "new", "message"),
    [
        (DEPLOYMENTS, {"spec": APP},
         {"spec": {**APP, "selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}},
         'spec.selector: Invalid value: {"matchExpressions":[{"key":"app","operator":"Exists"}]}: field is immutable'),
        (SETS, {"spec": {**APP, "serviceName": "s"}}, {"spec": {**APP, "serviceName": "t"}},
         "spec: Forbidden: updates to statefulset spec for fields other than 'replicas'"),
        (JOBS, {"spec": JOB}, {"spec": {**JOB, "template": {**JOB["template"], **OTHER}}},
         "spec.template: Invalid value: "),
        ("services", {"spec": {"ports": [PORT], "clusterIP": "10.0.0.1"}}, {"spec": {"ports": [PORT]}},
         'spec.clusterIPs[0]: Invalid value: [""]: may not change once set'),
        ("persistentvolumes", {"spec": VOLUME}, {"spec": {**VOLUME, "hostPath": {"path": "/y"}}},
         "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"),
        ("persistentvolumeclaims", {"spec": CLAIM}, {"spec": {**CLAIM, "accessModes": ["ReadWriteMany"]}},
         "spec: Forbidden: spec is immutable after creation except resources.requests"),
        (CLASSES, {"provisioner": "a.io/b"}, {"provisioner": "a.io/b", "parameters": {"a": "b"}},
         "parameters: Forbidden: updates to parameters are forbidden."),
        (PRIORITIES, {"value": 5}, {"value": 6}, "value: Forbidden: may not be changed in an update."),
        (BINDINGS, {"roleRef": ROLE}, {"roleRef": {**ROLE, "name": "s"}},
         'roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"s"}: cannot change'),
        ("runtimeclasses.node.k8s.io", {"handler": "a"}, {"handler": "b"},
         'handler: Invalid value: "b": field is immutable'),
        ("controllerrevisions.apps", {"revision": 1, "data": {"a": 1}}, {"revision": 1, "data": {"a": 2}},
         'data: Invalid value: {"a":2}: field is immutable'),
    ],
)  # fmt: skip
def test_what_cannot_change_stays(resource: str, old: dict[str, Any], new: dict[str, Any], message: str) -> None:
    assert create(resource, old) == []
    found = update(resource, new, old)
    assert found
    assert found[-1].startswith(message), found
