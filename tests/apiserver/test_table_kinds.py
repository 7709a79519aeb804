"""What `kubectl get` prints for the kinds beside pods, nodes and events: columns and cells of a real server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from podstead.apiserver import tables
from podstead.apiserver.tables.base import TableFormat
from podstead.objects.definitions import resource_entries

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
HOUR = 3600

ADMISSION, CERTIFICATES, DRA = "admissionregistration.k8s.io", "certificates.k8s.io", "resource.k8s.io"
FLOW, NETWORKING, RBAC = "flowcontrol.apiserver.k8s.io", "networking.k8s.io", "rbac.authorization.k8s.io"
STORAGE = "storage.k8s.io"


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def made(metadata: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """An object `x` of one hour's age."""
    return {"metadata": {"name": "x", "creationTimestamp": ago(HOUR), **(metadata or {})}, **fields}


def columns(table: TableFormat) -> list[str]:
    """Names, with `*` behind those of wide output and `:type` where it is not a string."""
    return [
        column.name + "*" * column.priority + (f":{column.type}" if column.type != "string" else "")
        for column in table.columns
    ]


TEMPLATE = {
    "metadata": {"labels": {"b": "2", "a": "1"}},
    "spec": {
        "containers": [{"name": "c", "image": "i:1"}, {"name": "d", "image": "j"}],
        "nodeSelector": {"disk": "ssd"},
    },
}
SELECTOR = {"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["q", "p"]}]}
WIDE = ["c,d", "i:1,j", "a in (p,q),app=x"]
REPLICAS = ["Name", "Desired:integer", "Current:integer", "Ready:integer", "Age", "Containers*", "Images*", "Selector*"]
BINDING = ["Name", "Role", "Age", "Users*", "Groups*", "ServiceAccounts*"]
SUBJECTS = [
    {"kind": "User", "name": "u"},
    {"kind": "User", "name": "v"},
    {"kind": "Group", "name": "g"},
    {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
]

# (group, plural, columns, object, cells but the name and, where it is the last, the age)
KINDS: list[tuple[str, str, list[str], dict[str, Any], list[Any]]] = [
    (
        "apps",
        "deployments",
        ["Name", "Ready", "Up-to-date", "Available", "Age", "Containers*", "Images*", "Selector*"],
        made(
            spec={"replicas": 3, "template": TEMPLATE, "selector": SELECTOR},
            status={"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1},
        ),
        ["1/3", 2, 1, "60m", *WIDE],
    ),
    (
        "apps",
        "replicasets",
        REPLICAS,
        made(spec={"replicas": 2, "template": TEMPLATE, "selector": SELECTOR}, status={"replicas": 2}),
        [2, 2, 0, "60m", *WIDE],
    ),
    (
        "",
        "replicationcontrollers",
        REPLICAS,
        made(spec={"replicas": 0, "template": TEMPLATE, "selector": {"b": "2", "a": "1"}}),
        [0, 0, 0, "60m", "c,d", "i:1,j", "a=1,b=2"],
    ),
    (
        "apps",
        "statefulsets",
        ["Name", "Ready", "Age", "Containers*", "Images*"],
        made(spec={"replicas": 2, "template": TEMPLATE}, status={"readyReplicas": 2}),
        ["2/2", "60m", "c,d", "i:1,j"],
    ),
    (
        "apps",
        "daemonsets",
        [
            "Name", "Desired:integer", "Current:integer", "Ready:integer", "Up-to-date:integer", "Available:integer",
            "Node Selector", "Age", "Containers*", "Images*", "Selector*",
        ],
        made(
            spec={"template": TEMPLATE, "selector": SELECTOR},
            status={
                "desiredNumberScheduled": 5, "currentNumberScheduled": 4, "numberReady": 3,
                "updatedNumberScheduled": 2, "numberAvailable": 1,
            },
        ),
        [5, 4, 3, 2, 1, "disk=ssd", "60m", *WIDE],
    ),
    (
        "apps",
        "controllerrevisions",
        ["Name", "Controller", "Revision", "Age"],
        made(
            {"ownerReferences": [{"kind": "StatefulSet", "apiVersion": "apps/v1", "name": "w", "controller": True}]},
            revision=7,
        ),
        ["statefulset.apps/w", 7],
    ),
    (
        "batch",
        "jobs",
        ["Name", "Status", "Completions", "Duration", "Age", "Containers*", "Images*", "Selector*"],
        made(
            spec={"completions": 3, "template": TEMPLATE, "selector": SELECTOR},
            status={"succeeded": 1, "startTime": ago(150)},
        ),
        ["Running", "1/3", "2m30s", "60m", *WIDE],
    ),
    (
        "batch",
        "cronjobs",
        [
            "Name", "Schedule", "Timezone", "Suspend:boolean", "Active:integer", "Last Schedule", "Age",
            "Containers*", "Images*", "Selector*",
        ],
        made(
            spec={"schedule": "* * * * *", "suspend": False, "jobTemplate": {"spec": {"template": TEMPLATE}}},
            status={"active": [{}], "lastScheduleTime": ago(30)},
        ),
        ["* * * * *", "<none>", "False", 1, "30s", "60m", "c,d", "i:1,j", "<none>"],
    ),
    (
        "",
        "services",
        ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector*"],
        made(
            spec={
                "type": "NodePort",
                "clusterIPs": ["10.0.0.1", "fd00::1"],
                "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
                "selector": {"app": "x"},
            }
        ),
        ["NodePort", "10.0.0.1", "<none>", "80:30080/TCP,53/UDP", "60m", "app=x"],
    ),
    (
        "",
        "endpoints",
        ["Name", "Endpoints", "Age"],
        made(
            subsets=[
                {"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}, {"port": 81}]},
                {"addresses": [{"ip": "10.0.0.2"}]},
            ]
        ),
        ["10.0.0.1:80,[fd00::1]:80,10.0.0.1:81 + 2 more..."],
    ),
    (
        "discovery.k8s.io",
        "endpointslices",
        ["Name", "AddressType", "Ports", "Endpoints", "Age"],
        made(
            addressType="IPv4",
            ports=[{"port": 80}, {"name": "dns"}, {}],
            endpoints=[{"addresses": ["a", "b"]}, {"addresses": ["c", "d"]}],
        ),
        ["IPv4", "80,dns,*", "a,b,c + 1 more..."],
    ),
    (
        NETWORKING,
        "ingresses",
        ["Name", "Class", "Hosts", "Address", "Ports", "Age"],
        made(
            spec={"ingressClassName": "nginx", "tls": [{}], "rules": [{"host": host} for host in "abcde"]},
            status={"loadBalancer": {"ingress": [{"ip": "10.0.0.2"}, {"hostname": "10.example"}]}},
        ),
        ["nginx", "a,b,c + 2 more...", "10.0.0.2,10.example", "80, 443"],
    ),
    (
        NETWORKING,
        "ingressclasses",
        ["Name", "Controller", "Parameters", "Age"],
        made(spec={"controller": "e.com/c", "parameters": {"apiGroup": "k.e.com", "kind": "P", "name": "p"}}),
        ["e.com/c", "P.k.e.com/p"],
    ),
    (NETWORKING, "networkpolicies", ["Name", "Pod-Selector", "Age"], made(spec={"podSelector": {}}), ["<none>"]),
    (NETWORKING, "servicecidrs", ["Name", "CIDRs", "Age"], made(spec={"cidrs": ["a/8", "b/64"]}), ["a/8,b/64"]),
    (
        NETWORKING,
        "ipaddresses",
        ["Name", "ParentRef"],
        made(spec={"parentRef": {"group": "", "resource": "services", "namespace": "n", "name": "s"}}),
        ["services/n/s"],
    ),
    (
        "autoscaling",
        "horizontalpodautoscalers",
        ["Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"],
        made(
            spec={
                "scaleTargetRef": {"kind": "Deployment", "name": "d"},
                "maxReplicas": 5,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 50}}},
                    {"type": "Pods", "pods": {"target": {"averageValue": "1000m"}}},
                    {"type": "External", "external": {"target": {"value": "3"}}},
                ],
            },
            status={
                "currentReplicas": 2,
                "currentMetrics": [{"type": "Resource", "resource": {"current": {"averageUtilization": 20}}}],
            },
        ),
        ["Deployment/d", "cpu: 20%/50%, <unknown>/1 + 1 more...", "<unset>", 5, 2],
    ),
    (
        "autoscaling",
        "scale",
        ["Name", "Desired:integer", "Available:integer", "Age"],
        made(spec={"replicas": 3}, status={"replicas": 1}),
        [3, 1],
    ),
    (
        "policy",
        "poddisruptionbudgets",
        ["Name", "Min Available", "Max Unavailable", "Allowed Disruptions:integer", "Age"],
        made(spec={"maxUnavailable": "25%"}, status={"disruptionsAllowed": 1}),
        ["N/A", "25%", 1],
    ),
    (
        "",
        "persistentvolumes",
        [
            "Name", "Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass",
            "VolumeAttributesClass", "Reason", "Age", "VolumeMode*",
        ],
        made(
            spec={
                "capacity": {"storage": "1024Mi"},
                "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": "n", "name": "c"},
                "storageClassName": "fast",
                "volumeMode": "Filesystem",
            },
            status={"phase": "Bound"},
        ),
        ["1Gi", "RWO,RWX", "Retain", "Bound", "n/c", "fast", "<unset>", "", "60m", "Filesystem"],
    ),
    (
        "",
        "persistentvolumeclaims",
        [
            "Name", "Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass", "Age",
            "VolumeMode*",
        ],
        made(
            {"annotations": {"volume.beta.kubernetes.io/storage-class": "old"}},
            spec={"volumeName": "v", "volumeAttributesClassName": "gold"},
            status={"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOncePod"]},
        ),
        ["Bound", "v", "1Gi", "RWOP", "old", "gold", "60m", "<unset>"],
    ),
    (
        STORAGE,
        "storageclasses",
        ["Name", "Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age"],
        made(provisioner="p", volumeBindingMode="WaitForFirstConsumer", allowVolumeExpansion=True),
        ["p", "Delete", "WaitForFirstConsumer", True],
    ),
    (STORAGE, "volumeattributesclasses", ["Name", "DriverName", "Age"], made(driverName="d"), ["d"]),
    (
        STORAGE,
        "volumeattachments",
        ["Name", "Attacher", "PV", "Node", "Attached:boolean", "Age"],
        made(spec={"attacher": "d", "source": {"persistentVolumeName": "v"}, "nodeName": "n"}),
        ["d", "v", "n", False],
    ),
    (STORAGE, "csinodes", ["Name", "Drivers:integer", "Age"], made(spec={"drivers": [{}, {}]}), [2]),
    (
        STORAGE,
        "csidrivers",
        [
            "Name", "AttachRequired:boolean", "PodInfoOnMount:boolean", "StorageCapacity:boolean", "TokenRequests",
            "RequiresRepublish:boolean", "Modes", "Age",
        ],
        made(spec={"podInfoOnMount": True, "volumeLifecycleModes": ["Persistent", "Ephemeral"]}),
        [True, True, False, "<unset>", False, "Persistent,Ephemeral"],
    ),
    (
        STORAGE,
        "csistoragecapacities",
        ["Name", "StorageClassName", "Capacity"],
        made(storageClassName="s"),
        ["s", "<unset>"],
    ),
    (
        "storagemigration.k8s.io",
        "storageversionmigrations",
        ["Name", "Resource"],
        made(spec={"resource": {"group": "apps", "resource": "deployments"}}),
        ["deployments.apps"],
    ),
    (
        RBAC,
        "rolebindings",
        BINDING,
        made(roleRef={"kind": "Role", "name": "r"}, subjects=SUBJECTS),
        ["Role/r", "60m", "u, v", "g", "n/s"],
    ),
    (
        RBAC,
        "clusterrolebindings",
        BINDING,
        made(roleRef={"kind": "ClusterRole", "name": "r"}),
        ["ClusterRole/r", "60m", "", "", ""],
    ),
    (
        CERTIFICATES,
        "certificatesigningrequests",
        ["Name", "Age", "SignerName", "Requestor", "RequestedDuration", "Condition"],
        made(
            spec={"signerName": "s", "username": "u", "expirationSeconds": 86400},
            status={"conditions": [{"type": "Approved"}], "certificate": "eA=="},
        ),
        ["60m", "s", "u", "24h", "Approved,Issued"],
    ),
    (CERTIFICATES, "clustertrustbundles", ["Name", "SignerName"], made(spec={}), ["<none>"]),
    (
        CERTIFICATES,
        "podcertificaterequests",
        ["Name", "PodName", "ServiceAccountName", "NodeName", "SignerName", "State"],
        made(
            spec={"podName": "p", "serviceAccountName": "a", "nodeName": "n", "signerName": "s"},
            status={"conditions": [{"type": "Denied", "status": "True"}]},
        ),
        ["p", "a", "n", "s", "Denied"],
    ),
    (
        ADMISSION,
        "validatingwebhookconfigurations",
        ["Name", "Webhooks:integer", "Age"],
        made(webhooks=[{}, {}]),
        [2],
    ),
    (
        ADMISSION,
        "mutatingwebhookconfigurations",
        ["Name", "Webhooks:integer", "Age"],
        made(),
        [0],
    ),
    (
        ADMISSION,
        "validatingadmissionpolicies",
        ["Name", "Validations:integer", "ParamKind", "Age"],
        made(spec={"validations": [{}], "paramKind": {"apiVersion": "e.com/v1", "kind": "P"}}),
        [1, "e.com/v1/P"],
    ),
    (
        ADMISSION,
        "mutatingadmissionpolicies",
        ["Name", "Mutations:integer", "ParamKind", "Age"],
        made(spec={"mutations": [{}, {}]}),
        [2, "<unset>"],
    ),
    (
        ADMISSION,
        "validatingadmissionpolicybindings",
        ["Name", "PolicyName", "ParamRef", "Age"],
        made(spec={"policyName": "p", "paramRef": {"name": "q"}}),
        ["p", "*/q"],
    ),
    (
        ADMISSION,
        "mutatingadmissionpolicybindings",
        ["Name", "PolicyName", "ParamRef", "Age"],
        made(spec={"policyName": "p", "paramRef": {"name": "q", "namespace": "n"}}),
        ["p", "n/q"],
    ),
    (
        FLOW,
        "flowschemas",
        ["Name", "PriorityLevel", "MatchingPrecedence", "DistinguisherMethod", "Age", "MissingPL"],
        made(
            spec={"priorityLevelConfiguration": {"name": "l"}, "matchingPrecedence": 9},
            status={"conditions": [{"type": "Dangling", "status": "False"}]},
        ),
        ["l", 9, "<none>", "60m", "False"],
    ),
    (
        FLOW,
        "prioritylevelconfigurations",
        ["Name", "Type", "NominalConcurrencyShares", "Queues", "HandSize", "QueueLengthLimit", "Age"],
        made(
            spec={
                "type": "Limited",
                "limited": {
                    "nominalConcurrencyShares": 30,
                    "limitResponse": {"queuing": {"queues": 64, "handSize": 6, "queueLengthLimit": 50}},
                },
            }
        ),
        ["Limited", 30, 64, 6, 50],
    ),
    (
        "scheduling.k8s.io",
        "priorityclasses",
        ["Name", "Value:integer", "Global-Default:boolean", "Age", "PreemptionPolicy"],
        made(value=1000, globalDefault=True, preemptionPolicy="Never"),
        [1000, True, "60m", "Never"],
    ),
    ("node.k8s.io", "runtimeclasses", ["Name", "Handler", "Age"], made(handler="crun"), ["crun"]),
    ("coordination.k8s.io", "leases", ["Name", "Holder", "Age"], made(spec={"holderIdentity": "me"}), ["me"]),
    (
        "apiregistration.k8s.io",
        "apiservices",
        ["Name", "Service", "Available", "Age"],
        made(
            spec={"service": {"namespace": "n", "name": "s"}},
            status={"conditions": [{"type": "Available", "status": "False", "reason": "MissingEndpoints"}]},
        ),
        ["n/s", "False (MissingEndpoints)"],
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions", ["Name", "Created At:date"], made(), [ago(HOUR)]),
    (RBAC, "clusterroles", ["Name", "Created At:date"], made(), [ago(HOUR)]),
    (
        "",
        "resourcequotas",
        ["Name", "Request", "Limit", "Age"],
        made(
            status={
                "hard": {"pods": "10", "limits.cpu": "2000m", "requests.cpu": "1"},
                "used": {"pods": "3", "limits.cpu": "500m"},
            }
        ),
        ["pods: 3/10, requests.cpu: 0/1", "limits.cpu: 500m/2"],
    ),
    ("", "limitranges", ["Name", "Created At:date"], made(), [ago(HOUR)]),
    (
        "",
        "podtemplates",
        ["Name", "Containers", "Images", "Pod Labels"],
        made(template=TEMPLATE),
        ["c,d", "i:1,j", "a=1,b=2"],
    ),
    (
        "",
        "componentstatuses",
        ["Name", "Status", "Message", "Error"],
        made(conditions=[{"type": "Healthy", "status": "True", "message": "ok"}]),
        ["Healthy", "ok", ""],
    ),
    (DRA, "deviceclasses", ["Name", "Age"], made(), []),
    (DRA, "resourceclaimtemplates", ["Name", "Age"], made(), []),
    (
        DRA,
        "resourceclaims",
        ["Name", "State", "Age"],
        made(status={"allocation": {}, "reservedFor": [{}]}),
        ["allocated,reserved"],
    ),
    (
        DRA,
        "resourceslices",
        ["Name", "Node", "Driver", "Pool", "Age"],
        made(spec={"nodeName": "n", "driver": "d", "pool": {"name": "p"}}),
        ["n", "d", "p"],
    ),
    (
        DRA,
        "devicetaintrules",
        ["Name", "Key", "Value", "Effect", "TimeAdded", "Age"],
        made(spec={"taint": {"key": "k", "effect": "NoSchedule", "timeAdded": ago(5)}}),
        ["k", "", "NoSchedule", "5s"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("group", "plural", "names", "obj", "cells"), KINDS, ids=[kind[1] for kind in KINDS])
def test_a_kind_prints_as_a_real_server_prints_it(
    group: str, plural: str, names: list[str], obj: dict[str, Any], cells: list[Any]
) -> None:
    table = tables.for_resource(group, plural)
    assert columns(table) == names
    age = ["60m"] if names[-1] == "Age" else []
    assert table.cells(obj, NOW) == ["x", *cells, *age]


def test_every_kind_prints_an_object_that_says_nothing() -> None:
    """A controller may not have written a status yet, and most specs may leave out most fields."""
    for group, _, plural in resource_entries():
        table = tables.for_resource(group, plural)
        for obj in ({"metadata": {"name": "x"}}, {"metadata": {"name": "x"}, "spec": None, "status": None}):
            row = msgspec.json.decode(table.row(obj, NOW, b"null"))
            assert len(row["cells"]) == len(table.columns), plural
            assert "None" not in row["cells"], plural
            if "Age" in columns(table):
                assert "<unknown>" in row["cells"], plural


def cells_of(group: str, plural: str, obj: dict[str, Any]) -> list[Any]:
    return tables.for_resource(group, plural).cells(obj, NOW)


@pytest.mark.parametrize(
    ("conditions", "deleted", "shown"),
    [
        (["Complete", "SuccessCriteriaMet"], True, "Complete"),
        (["FailureTarget", "Failed"], False, "Failed"),
        (["Suspended"], True, "Terminating"),
        (["Suspended"], False, "Suspended"),
        (["FailureTarget"], False, "FailureTarget"),
        ([], False, "Running"),
    ],
)
def test_a_jobs_status(conditions: list[str], deleted: bool, shown: str) -> None:
    metadata = {"deletionTimestamp": ago(1)} if deleted else {}
    status = {"conditions": [{"type": kind, "status": "True"} for kind in conditions]}
    assert cells_of("batch", "jobs", made(metadata, status=status))[1] == shown


def test_a_jobs_completions_and_duration() -> None:
    done = {"succeeded": 1, "startTime": ago(100), "completionTime": ago(40)}
    assert cells_of("batch", "jobs", made(spec={"parallelism": 4}, status=done))[2:4] == ["1/1 of 4", "60s"]
    assert cells_of("batch", "jobs", made(spec={"parallelism": 1}))[2:4] == ["0/1", ""]


@pytest.mark.parametrize(
    ("spec", "points", "shown"),
    [
        ({"type": "ClusterIP", "clusterIP": "None"}, [], ["ClusterIP", "None", "<none>", "<none>"]),
        ({"type": "ClusterIP", "externalIPs": ["1.1.1.1"]}, [], ["ClusterIP", "<none>", "1.1.1.1", "<none>"]),
        ({"type": "LoadBalancer"}, [], ["LoadBalancer", "<none>", "<pending>", "<none>"]),
        (
            {"type": "LoadBalancer", "externalIPs": ["1.1.1.1"]},
            [{"ip": "3.3.3.3"}, {"hostname": "a-name-that-is-long.example"}],
            ["LoadBalancer", "<none>", "3.3.3.3,a-name-that-is-long.example,1.1.1.1", "<none>"],
        ),
        ({"type": "ExternalName", "externalName": "e.com"}, [], ["ExternalName", "<none>", "e.com", "<none>"]),
    ],
)
def test_where_a_service_is_reached(spec: dict[str, Any], points: list[Any], shown: list[str]) -> None:
    obj = made(spec=spec, status={"loadBalancer": {"ingress": points}})
    assert cells_of("", "services", obj)[1:5] == shown


def test_endpoints_without_subsets_and_without_ready_addresses() -> None:
    assert cells_of("", "endpoints", made())[1] == "<none>"
    assert cells_of("", "endpoints", made(subsets=[{"notReadyAddresses": [{"ip": "a"}]}]))[1] == ""
    assert cells_of("discovery.k8s.io", "endpointslices", made())[2:4] == ["<unset>", "<unset>"]


def test_an_ingress_for_every_host() -> None:
    assert cells_of(NETWORKING, "ingresses", made(spec={"rules": [{}]}))[1:5] == ["<none>", "*", "", "80"]


def test_claims_and_volumes_that_are_not_bound_or_are_going() -> None:
    assert cells_of("", "persistentvolumeclaims", made(status={"phase": "Pending"}))[1:5] == ["Pending", "", "", ""]
    going = made({"deletionTimestamp": ago(1)}, spec={"capacity": {"storage": "5G"}}, status={"phase": "Released"})
    assert cells_of("", "persistentvolumes", going)[1:6] == ["5G", "", "", "Terminating", ""]
    assert cells_of("", "persistentvolumeclaims", going)[1] == "Terminating"


@pytest.mark.parametrize("prefix", ["storageclass", "storageclass.beta"])
def test_the_default_storage_class_is_marked(prefix: str) -> None:
    obj = made({"annotations": {f"{prefix}.kubernetes.io/is-default-class": "true"}})
    assert cells_of(STORAGE, "storageclasses", obj)[0] == "x (default)"


@pytest.mark.parametrize(
    ("metric", "status", "shown"),
    [
        ({"type": "Object", "object": {"target": {"averageValue": "2"}}}, {}, "<unknown>/2 (avg)"),
        (
            {"type": "Object", "object": {"target": {"value": "2k"}}},
            {"object": {"current": {"value": "1000"}}},
            "1k/2k",
        ),
        (
            {"type": "External", "external": {"target": {"averageValue": "5"}}},
            {"external": {"current": {"averageValue": "1500m"}}},
            "1500m/5 (avg)",
        ),
        ({"type": "Pods", "pods": {"target": {"averageValue": "5"}}}, {"pods": {"current": {}}}, "0/5"),
        (
            {"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "1Gi"}}},
            {"resource": {"current": {"averageValue": "512Mi"}}},
            "memory: 512Mi/1Gi",
        ),
        (
            {"type": "ContainerResource", "containerResource": {"name": "cpu", "target": {}}},
            {},
            "cpu: <unknown>/<auto>",
        ),
        ({"type": "Else"}, {}, "<unknown type>"),
    ],
)
def test_an_autoscalers_targets(metric: dict[str, Any], status: dict[str, Any], shown: str) -> None:
    obj = made(spec={"metrics": [metric]}, status={"currentMetrics": [status]})
    assert cells_of("autoscaling", "horizontalpodautoscalers", obj)[2] == shown


def test_an_autoscaler_of_the_first_version() -> None:
    obj = made(spec={"targetCPUUtilizationPercentage": 80}, status={"currentCPUUtilizationPercentage": 7})
    assert cells_of("autoscaling", "horizontalpodautoscalers", obj)[2] == "cpu: 7%/80%"
    assert cells_of("autoscaling", "horizontalpodautoscalers", made())[2] == "<none>"


def test_a_selector_that_is_not_valid() -> None:
    wrong = {"matchExpressions": [{"key": "a", "operator": "Near"}]}
    assert cells_of("apps", "deployments", made(spec={"selector": wrong}))[-1] == "<invalid>"
    assert cells_of("apps", "replicasets", made(spec={"selector": wrong}))[-1] == "<error>"


def test_a_policy_binding_that_selects_its_parameters() -> None:
    expression = {"key": "k", "operator": "In", "values": ["a", "b"]}
    selector = {"matchLabels": {"env": "test"}, "matchExpressions": [expression]}
    assert cells_of(ADMISSION, "validatingadmissionpolicybindings", made(spec={"paramRef": {"selector": selector}}))[
        2
    ] == (
        "&LabelSelector{MatchLabels:map[string]string{env: test,},MatchExpressions:[]LabelSelectorRequirement{"
        "LabelSelectorRequirement{Key:k,Operator:In,Values:[a b],},},}"
    )


def test_the_state_of_requests_and_claims() -> None:
    denied = made(status={"conditions": [{"type": "Approved"}, {"type": "Denied"}, {"type": "Failed"}]})
    assert cells_of(CERTIFICATES, "certificatesigningrequests", denied)[2:] == ["<none>", "", "<none>", "Denied,Failed"]
    assert cells_of(CERTIFICATES, "certificatesigningrequests", made())[-1] == "Pending"
    assert cells_of(CERTIFICATES, "podcertificaterequests", made())[-1] == "Pending"
    going = {"deletionTimestamp": ago(1)}
    assert cells_of(DRA, "resourceclaims", made())[1] == "pending"
    assert cells_of(DRA, "resourceclaims", made(going))[1] == "deleted"
    assert cells_of(DRA, "resourceclaims", made(going, status={"allocation": {}}))[1] == "deleted,allocated"


def test_an_event_says_the_same_in_both_versions() -> None:
    shared = {"metadata": {"name": "e"}, "type": "Normal", "reason": "Pulled"}
    pod = {"kind": "Pod", "name": "x", "fieldPath": "spec.containers{c}"}
    core = {
        **shared, "involvedObject": pod, "message": "done", "source": {"component": "kubelet", "host": "n"},
        "firstTimestamp": ago(600), "lastTimestamp": ago(30), "count": 4,
    }  # fmt: skip
    newer = {
        **shared, "regarding": pod, "note": "done", "deprecatedSource": {"component": "kubelet", "host": "n"},
        "deprecatedFirstTimestamp": ago(600), "deprecatedLastTimestamp": ago(30), "deprecatedCount": 4,
    }  # fmt: skip
    assert cells_of("events.k8s.io", "events", newer) == cells_of("", "events", core)
    reported = {**shared, "regarding": pod, "eventTime": ago(9), "reportingController": "c", "reportingInstance": "i"}
    assert cells_of("events.k8s.io", "events", reported)[5:9] == ["c, i", "", "9s", 1]


def test_flow_schemas_come_in_the_order_in_which_they_are_tried() -> None:
    order = tables.for_resource(FLOW, "flowschemas").order
    assert order is not None
    listed = [
        {"metadata": {"name": name}, "spec": {"matchingPrecedence": precedence}}
        for name, precedence in (("a", 20), ("c", 3), ("b", 3))
    ]
    assert [obj["metadata"]["name"] for obj in sorted(listed, key=order)] == ["b", "c", "a"]  # type: ignore[index]
