"""Validation of admission policies, flow control, the kinds of CSI, API services, and times of cron jobs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from podstead.objects import schema
from podstead.objects.kinds import by_resource
from podstead.objects.validation import validate_create, validate_update
from podstead.objects.validation.kinds import cronjob

POLICIES = "validatingadmissionpolicies.admissionregistration.k8s.io"
BINDINGS = "validatingadmissionpolicybindings.admissionregistration.k8s.io"
MUTATIONS = "mutatingadmissionpolicies.admissionregistration.k8s.io"
MUTATION_BINDINGS = "mutatingadmissionpolicybindings.admissionregistration.k8s.io"
FLOWS, LEVELS = "flowschemas.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io"
DRIVERS, NODES = "csidrivers.storage.k8s.io", "csinodes.storage.k8s.io"
CAPACITIES, ATTACHMENTS = "csistoragecapacities.storage.k8s.io", "volumeattachments.storage.k8s.io"
CLASSES, SERVICES = "volumeattributesclasses.storage.k8s.io", "apiservices.apiregistration.k8s.io"

RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
POLICY = {"matchConstraints": {"resourceRules": [RULE]}, "validations": [{"expression": "true"}]}
PATCH = {"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}
MUTATION = {"matchConstraints": {"resourceRules": [RULE]}, "mutations": [PATCH], "reinvocationPolicy": "Never"}
SUBJECT = {"kind": "User", "user": {"name": "u"}}
URLS = {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/a/*"]}
PODS = {"verbs": ["*"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]}
FLOW = {
    "priorityLevelConfiguration": {"name": "l"},
    "rules": [{"subjects": [SUBJECT], "nonResourceRules": [URLS], "resourceRules": [PODS]}],
}
QUEUE = {"type": "Queue", "queuing": {}}
LEVEL = {"type": "Limited", "limited": {"limitResponse": QUEUE}}
ATTACHMENT = {"attacher": "d.example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}}
DRIVER = {"name": "d.example.com", "nodeID": "i", "topologyKeys": ["example.com/zone"]}
SERVICE = {"group": "example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 15}
REMOTE = {"namespace": "n", "name": "s"}


def _complete(resource: str, body: dict[str, Any]) -> dict[str, Any]:
    info = by_resource(resource)
    name = "v1.example.com" if resource == SERVICES else "x"
    metadata = {"name": name, "uid": "1", "resourceVersion": "5"}
    obj = {"metadata": metadata | ({"namespace": "default"} if info.namespaced else {}), **body}
    return schema.default(info, schema.check(info, json.loads(json.dumps(obj)))[0])


def _create(resource: str, spec: dict[str, Any]) -> list[str]:
    body = spec if resource in (CAPACITIES, CLASSES) else {"spec": spec}
    return [str(error) for error in validate_create(by_resource(resource), _complete(resource, body))]


@pytest.mark.parametrize(
    ("resource", "spec"),
    [
        (POLICIES, POLICY),
        (POLICIES, {**POLICY, "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}),
        (BINDINGS, {"policyName": "p", "validationActions": ["Deny", "Audit"]}),
        (MUTATIONS, MUTATION),
        (MUTATION_BINDINGS, {"policyName": "p", "paramRef": {"name": "c", "parameterNotFoundAction": "Deny"}}),
        (FLOWS, FLOW),
        (LEVELS, LEVEL),
        (LEVELS, {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}),
        (DRIVERS, {}),
        (NODES, {"drivers": [DRIVER]}),
        (CAPACITIES, {"storageClassName": "c", "capacity": "1Gi"}),
        (ATTACHMENTS, ATTACHMENT),
        (CLASSES, {"driverName": "d.example.com", "parameters": {"iops": "1"}}),
        (SERVICES, SERVICE),
        (SERVICES, {**SERVICE, "service": REMOTE}),
    ],
)
def test_what_is_right(resource: str, spec: dict[str, Any]) -> None:
    assert _create(resource, spec) == []


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"matchConstraints": None}, ["spec.matchConstraints: Required value"]),
        ({"matchConstraints": {}}, ["spec.matchConstraints.resourceRules: Required value"]),
        (
            {"validations": []},
            [
                "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
                "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
            ],
        ),
        (
            {"failurePolicy": "X"},
            ['spec.failurePolicy: Unsupported value: "X": supported values: "Fail", "Ignore"'],
        ),
        (
            {"validations": [{"expression": " ", "message": "a\nb", "reason": "X"}]},
            [
                "spec.validations[0].expression: Required value: expression is not specified",
                'spec.validations[0].message: Invalid value: "a\\nb": message must not contain line breaks',
                'spec.validations[0].reason: Unsupported value: "X": supported values: "Forbidden", "Invalid", '
                '"RequestEntityTooLarge", "Unauthorized"',
            ],
        ),
        (
            {"variables": [{"name": "in", "expression": "1"}]},
            ['spec.variables[0].name: Invalid value: "in": name is not a valid CEL identifier'],
        ),
        (
            {"paramKind": {"apiVersion": "a/b/c"}},
            [
                'spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c',
                "spec.paramKind.kind: Required value",
            ],
        ),
        (
            {"matchConditions": [{"name": "a", "expression": ""}]},
            ["spec.matchConditions[0].expression: Required value"],
        ),
        (
            {"auditAnnotations": [{"key": "k", "valueExpression": "'a'"}, {"key": "k", "valueExpression": "'b'"}]},
            ['spec.auditAnnotations[1].key: Duplicate value: "k"'],
        ),
    ],
)
def test_policies(changes: dict[str, Any], wrong: list[str]) -> None:
    assert _create(POLICIES, {**POLICY, **changes}) == wrong


@pytest.mark.parametrize(
    ("resource", "spec", "wrong"),
    [
        (BINDINGS, {"policyName": "", "validationActions": ["Deny"]}, "spec.policyName: Required value"),
        (
            BINDINGS,
            {"policyName": "p", "validationActions": []},
            "spec.validationActions: Required value: at least one validation action is required",
        ),
        (
            BINDINGS,
            {"policyName": "p", "validationActions": ["Deny"], "paramRef": {"parameterNotFoundAction": "Deny"}},
            "spec.paramRef: Required value: one of name or selector must be specified",
        ),
        (
            MUTATIONS,
            {**MUTATION, "mutations": []},
            "spec.mutations: Required value: mutations must contain at least one item",
        ),
        (
            MUTATIONS,
            {**MUTATION, "mutations": [{**PATCH, "patchType": "ApplyConfiguration", "jsonPatch": None}]},
            "spec.mutations[0].applyConfiguration: Required value: "
            "must be specified when patchType is ApplyConfiguration",
        ),
        (MUTATIONS, {**MUTATION, "reinvocationPolicy": None}, "spec.reinvocationPolicy: Required value"),
        (
            FLOWS,
            {**FLOW, "matchingPrecedence": -1},
            "spec.matchingPrecedence: Invalid value: -1: must be a positive value",
        ),
        (
            FLOWS,
            {**FLOW, "matchingPrecedence": 1},
            "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
        ),
        (
            FLOWS,
            {**FLOW, "rules": [{"subjects": [SUBJECT]}]},
            "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
        ),
        (
            FLOWS,
            {**FLOW, "rules": [{"subjects": [{"kind": "User"}], "resourceRules": [PODS]}]},
            "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
        ),
        (
            FLOWS,
            {**FLOW, "rules": [{"subjects": [{**SUBJECT, "group": {"name": "g"}}], "resourceRules": [PODS]}]},
            "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
        ),
        (
            FLOWS,
            {**FLOW, "rules": [{"subjects": [SUBJECT], "nonResourceRules": [{**URLS, "nonResourceURLs": ["/a*"]}]}]},
            'spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "/a*": '
            "wildcard can only do suffix matching",
        ),
        (
            LEVELS,
            {"type": "Exempt"},
            "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'",
        ),
        (LEVELS, {"type": "Limited"}, "spec.limited: Required value: must not be empty when type is Limited"),
        (
            LEVELS,
            {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {"queues": 4}}}},
            "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: should not be greater than queues (4)",
        ),
        (
            LEVELS,
            {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {"handSize": 11}}}},
            "spec.limited.limitResponse.queuing.handSize: Invalid value: 11: "
            "required entropy bits of deckSize 64 and handSize 11 should not be greater than 60",
        ),
        (
            DRIVERS,
            {"tokenRequests": [{"audience": "a", "expirationSeconds": 1}]},
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: "
            "may not specify a duration less than 10 minutes",
        ),
        (
            DRIVERS,
            {"volumeLifecycleModes": ["X"]},
            'spec.volumeLifecycleModes: Unsupported value: "X": supported values: "Persistent", "Ephemeral"',
        ),
        (NODES, {"drivers": [{**DRIVER, "nodeID": ""}]}, "spec.drivers[0].nodeID: Required value"),
        (
            CAPACITIES,
            {"storageClassName": "c", "capacity": "-1"},
            'capacity: Invalid value: "-1": must be greater than or equal to 0',
        ),
        (
            ATTACHMENTS,
            {**ATTACHMENT, "source": {}},
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
        ),
        (CLASSES, {"driverName": "", "parameters": {"a": "b"}}, "driverName: Required value"),
        (
            SERVICES,
            {**SERVICE, "version": "v2"},
            'metadata.name: Invalid value: "v1.example.com": must be `spec.version+"."+spec.group`: "v2.example.com"',
        ),
        (
            SERVICES,
            {**SERVICE, "versionPriority": 1001},
            "spec.versionPriority: Invalid value: 1001: must be positive and less than 1000",
        ),
        (
            SERVICES,
            {**SERVICE, "caBundle": "YWJj"},
            'spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle',
        ),
        (SERVICES, {**SERVICE, "service": {"name": "s"}}, "spec.service.namespace: Required value"),
    ],
)
def test_what_is_wrong(resource: str, spec: dict[str, Any], wrong: str) -> None:
    assert _create(resource, spec) == [wrong]


@pytest.mark.parametrize(
    ("resource", "new", "old", "wrong"),
    [
        (DRIVERS, {"attachRequired": False}, {}, "spec.attachedRequired: Invalid value: false: field is immutable"),
        (NODES, {"drivers": [{**DRIVER, "allocatable": {"count": 2}}]}, {"drivers": [DRIVER]}, ""),
        (NODES, {"drivers": [{**DRIVER, "nodeID": "j"}]}, {"drivers": [DRIVER]}, "spec.drivers: Invalid value: "),
        (ATTACHMENTS, {**ATTACHMENT, "nodeName": "m"}, ATTACHMENT, "spec: Invalid value: "),
    ],
)
def test_what_may_not_change(resource: str, new: dict[str, Any], old: dict[str, Any], wrong: str) -> None:
    both = (_complete(resource, {"spec": spec}) for spec in (new, old))
    found = list(map(str, validate_update(by_resource(resource), *both)))
    assert len(found) == (1 if wrong else 0) and all(one.startswith(wrong) for one in found)


@pytest.mark.parametrize(
    ("duration", "why"),
    [
        ("1h30m", ""),
        ("1.5s", ""),
        ("x", 'time: invalid duration "x"'),
        ("5", 'time: missing unit in duration "5"'),
        ("5d", 'time: unknown unit "d" in duration "5d"'),
    ],
)
def test_schedules_of_every_so_often(duration: str, why: str) -> None:
    schedule = f"@every {duration}"
    text = f'spec.schedule: Invalid value: "{schedule}": failed to parse duration {schedule}: {why}'
    assert list(map(str, cronjob._schedule(schedule))) == ([text] if why else [])


@pytest.mark.parametrize(
    ("zone", "why"),
    [
        ("UTC", ""),
        ("Europe/Berlin", ""),
        ("Etc/GMT+5", ""),
        ("Europe/Nowhere", "unknown time zone Europe/Nowhere"),
        ("../x", "unknown time zone ../x"),
        ("", "timeZone must be nil or non-empty string"),
        ("Local", "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"),
    ],
)
def test_time_zones(zone: str, why: str) -> None:
    text = f'spec.timeZone: Invalid value: "{zone}": {why}'
    assert list(map(str, cronjob._time_zone(zone, "spec.timeZone"))) == ([text] if why else [])
