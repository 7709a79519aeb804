"""What `kubectl get` prints: ages, and the cells of each kind."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiserver_harness import POD, Instance

from podstead.apiserver import tables
from podstead.apiserver.tables.duration import human_duration

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "<invalid>"),
        (-1.5, "0s"),
        (0, "0s"),
        (0.9, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (10 * MINUTE - 1, "9m59s"),
        (10 * MINUTE, "10m"),
        (3 * HOUR - 1, "179m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + 5 * MINUTE + 30, "3h5m"),
        (8 * HOUR - 1, "7h59m"),
        (8 * HOUR + 30 * MINUTE, "8h"),
        (48 * HOUR - 1, "47h"),
        (48 * HOUR, "2d"),
        (51 * HOUR, "2d3h"),
        (8 * DAY - 1, "7d23h"),
        (8 * DAY + HOUR, "8d"),
        (2 * YEAR - 1, "729d"),
        (2 * YEAR, "2y"),
        (3 * YEAR + 20 * DAY, "3y20d"),
        (8 * YEAR + DAY, "8y"),
    ],
)
def test_ages_use_two_units_where_both_matter(seconds: float, shown: str) -> None:
    assert human_duration(seconds) == shown


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def cells(plural: str, obj: dict[str, Any]) -> list[Any]:
    table = tables.for_resource("", plural)
    values = table.cells(obj, NOW)
    assert len(values) == len(table.columns)
    return values


def pod(status: dict[str, Any], spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    containers = [{"name": "a"}, {"name": "b"}]
    meta = {"name": "x", "creationTimestamp": ago(300), **metadata}
    return {"metadata": meta, "spec": {"containers": containers, **(spec or {})}, "status": status}


def container(name: str = "a", ready: bool = False, restarts: int = 0, last: float = 0, **state: Any) -> dict[str, Any]:
    status: dict[str, Any] = {"name": name, "ready": ready, "restartCount": restarts, "state": state}
    if last:
        status["lastState"] = {"terminated": {"exitCode": 1, "finishedAt": ago(last)}}
    return status


RUNNING: dict[str, Any] = {"running": {}}
TRUE = {"status": "True"}

CASES = {
    "nothing yet": (pod({"phase": "Pending"}), "0/2", "Pending", "0"),
    "creating": (
        pod({"phase": "Pending", "containerStatuses": [container(waiting={"reason": "ContainerCreating"})]}),
        "0/2",
        "ContainerCreating",
        "0",
    ),
    "running": (
        pod({"phase": "Running", "containerStatuses": [container(ready=True, **RUNNING)] * 2}),
        "2/2",
        "Running",
        "0",
    ),
    "restarted": (
        pod({"phase": "Running", "containerStatuses": [container(ready=True, restarts=3, last=300, **RUNNING)]}),
        "1/2",
        "Running",
        "3 (5m ago)",
    ),
    "back-off": (
        pod(
            {
                "phase": "Running",
                "containerStatuses": [
                    container(waiting={"reason": "CrashLoopBackOff"}, restarts=2, last=30),
                    container("b", ready=True, **RUNNING),
                ],
            }
        ),
        "1/2",
        "CrashLoopBackOff",
        "2 (30s ago)",
    ),
    "one is done, the pod is ready": (
        pod(
            {
                "phase": "Running",
                "conditions": [{"type": "Ready", **TRUE}],
                "containerStatuses": [
                    container(terminated={"reason": "Completed", "exitCode": 0}),
                    container("b", ready=True, **RUNNING),
                ],
            }
        ),
        "1/2",
        "Running",
        "0",
    ),
    "one is done, the pod is not ready": (
        pod(
            {
                "phase": "Running",
                "containerStatuses": [
                    container(terminated={"reason": "Completed", "exitCode": 0}),
                    container("b", ready=True, **RUNNING),
                ],
            }
        ),
        "1/2",
        "NotReady",
        "0",
    ),
    "one failed, one is done": (
        pod(
            {
                "phase": "Failed",
                "containerStatuses": [
                    container(terminated={"reason": "Completed", "exitCode": 0}),
                    container("b", terminated={"reason": "OOMKilled", "exitCode": 137}),
                ],
            }
        ),
        "0/2",
        "OOMKilled",
        "0",
    ),
    "one failed, one is done, one runs": (
        pod(
            {
                "phase": "Running",
                "containerStatuses": [
                    container(terminated={"reason": "Completed", "exitCode": 0}),
                    container("b", terminated={"reason": "Error", "exitCode": 1}),
                    container("c", ready=True, **RUNNING),
                ],
            }
        ),
        "1/2",
        "Error",
        "0",
    ),
    "completed": (
        pod({"phase": "Succeeded", "containerStatuses": [container(terminated={"reason": "Completed"})] * 2}),
        "0/2",
        "Completed",
        "0",
    ),
    "error": (
        pod({"phase": "Failed", "containerStatuses": [container(terminated={"reason": "Error", "exitCode": 2})]}),
        "0/2",
        "Error",
        "0",
    ),
    "exit code without a reason": (
        pod({"phase": "Failed", "containerStatuses": [container(terminated={"exitCode": 7})]}),
        "0/2",
        "ExitCode:7",
        "0",
    ),
    "signal": (
        pod({"phase": "Failed", "containerStatuses": [container(terminated={"exitCode": 137, "signal": 9})]}),
        "0/2",
        "Signal:9",
        "0",
    ),
    "evicted": (pod({"phase": "Failed", "reason": "Evicted"}), "0/2", "Evicted", "0"),
    "terminating": (
        pod({"phase": "Running", "containerStatuses": [container(ready=True, **RUNNING)]}, deletionTimestamp=ago(1)),
        "1/2",
        "Terminating",
        "0",
    ),
    "done before it was deleted": (
        pod(
            {"phase": "Succeeded", "containerStatuses": [container(terminated={"reason": "Completed"})]},
            deletionTimestamp=ago(1),
        ),
        "0/2",
        "Completed",
        "0",
    ),
    "on a lost node": (
        pod({"phase": "Running", "reason": "NodeLost"}, deletionTimestamp=ago(1)),
        "0/2",
        "Unknown",
        "0",
    ),
    "init, second of three": (
        pod(
            {
                "phase": "Pending",
                "initContainerStatuses": [
                    container("i", terminated={"exitCode": 0, "reason": "Completed"}),
                    container("j", **RUNNING),
                    container("k", waiting={"reason": "PodInitializing"}),
                ],
                "containerStatuses": [container(waiting={"reason": "PodInitializing"})],
            },
            {"initContainers": [{"name": "i"}, {"name": "j"}, {"name": "k"}]},
        ),
        "0/2",
        "Init:1/3",
        "0",
    ),
    "init failed": (
        pod(
            {
                "initContainerStatuses": [
                    container("i", restarts=1, last=60, terminated={"exitCode": 1, "reason": "Error"})
                ]
            },
            {"initContainers": [{"name": "i"}]},
        ),
        "0/2",
        "Init:Error",
        "1 (60s ago)",
    ),
    "init backs off": (
        pod(
            {"initContainerStatuses": [container("i", waiting={"reason": "CrashLoopBackOff"})]},
            {"initContainers": [{"name": "i"}]},
        ),
        "0/2",
        "Init:CrashLoopBackOff",
        "0",
    ),
    "init exit code": (
        pod(
            {"initContainerStatuses": [container("i", terminated={"exitCode": 3})]}, {"initContainers": [{"name": "i"}]}
        ),
        "0/2",
        "Init:ExitCode:3",
        "0",
    ),
    "init signal": (
        pod(
            {"initContainerStatuses": [container("i", terminated={"exitCode": 137, "signal": 9})]},
            {"initContainers": [{"name": "i"}]},
        ),
        "0/2",
        "Init:Signal:9",
        "0",
    ),
    "a sidecar has not started": (
        pod(
            {
                "phase": "Pending",
                "initContainerStatuses": [{**container("s", **RUNNING), "started": False}],
                "containerStatuses": [container(waiting={"reason": "PodInitializing"})],
            },
            {"initContainers": [{"name": "s", "restartPolicy": "Always"}]},
        ),
        "0/3",
        "Init:0/1",
        "0",
    ),
    "initialized, the app waits": (
        pod(
            {
                "phase": "Pending",
                "initContainerStatuses": [container("i", restarts=2, terminated={"exitCode": 0})],
                "containerStatuses": [container(waiting={"reason": "PodInitializing"})] * 2,
            },
            {"initContainers": [{"name": "i"}]},
        ),
        "0/2",
        "PodInitializing",
        "0",
    ),
    "done, though its sidecar was killed": (
        pod(
            {
                "phase": "Succeeded",
                "conditions": [{"type": "Initialized", **TRUE}],
                "initContainerStatuses": [container("s", terminated={"reason": "Error", "exitCode": 137})],
                "containerStatuses": [container(terminated={"reason": "Completed", "exitCode": 0})],
            },
            {"initContainers": [{"name": "s", "restartPolicy": "Always"}]},
        ),
        "0/3",
        "Completed",
        "0",
    ),
    "a sidecar counts": (
        pod(
            {
                "phase": "Running",
                "initContainerStatuses": [{**container("s", ready=True, restarts=1, **RUNNING), "started": True}],
                "containerStatuses": [container(ready=True, restarts=2, **RUNNING)],
            },
            {"initContainers": [{"name": "s", "restartPolicy": "Always"}]},
        ),
        "2/3",
        "Running",
        "3",
    ),
    "gated": (
        pod({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
        "0/2",
        "SchedulingGated",
        "0",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_pods_status_tells_the_most_telling_state(case: str) -> None:
    obj, ready, status, restarts = CASES[case]
    assert cells("pods", obj)[:5] == ["x", ready, status, restarts, "5m"]


@pytest.mark.parametrize(
    ("phase", "message"), [("Succeeded", "The pod has completed successfully."), ("Failed", "The pod failed.")]
)
def test_the_row_of_a_pod_that_has_ended_says_so(phase: str, message: str) -> None:
    table = tables.for_resource("", "pods")
    row = json.loads(table.row(pod({"phase": phase}), NOW, b"null"))
    assert row["conditions"] == [{"type": "Completed", "status": "True", "reason": phase, "message": message}]
    assert "conditions" not in json.loads(table.row(pod({"phase": "Running"}), NOW, b"null"))


def test_a_wide_pod() -> None:
    status = {"podIPs": [{"ip": "10.0.0.2"}], "conditions": [{"type": "g", **TRUE}]}
    obj = pod(status, {"nodeName": "n", "readinessGates": [{"conditionType": "g"}, {"conditionType": "h"}]})
    assert cells("pods", obj)[5:] == ["10.0.0.2", "n", "<none>", "1/2"]
    assert cells("pods", pod({}))[5:] == ["<none>"] * 4


def test_a_node() -> None:
    obj = {
        "metadata": {
            "name": "n",
            "creationTimestamp": ago(60),
            "labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "control-plane"},
        },
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1.37.0", "osImage": "Debian", "kernelVersion": "6.1"},
        },
    }
    assert cells("nodes", obj) == [
        "n", "Ready,SchedulingDisabled", "control-plane,worker", "60s", "v1.37.0",
        "10.0.0.1", "<none>", "Debian", "6.1", "<unknown>",
    ]  # fmt: skip
    assert cells("nodes", {"metadata": {"name": "n"}})[1:4] == ["Unknown", "<none>", "<unknown>"]


def test_an_event() -> None:
    obj = {
        "metadata": {"name": "x.1"},
        "involvedObject": {"kind": "Pod", "name": "x", "fieldPath": "spec.containers{c}"},
        "type": "Normal",
        "reason": "Pulled",
        "message": "done\n",
        "source": {"component": "kubelet", "host": "n"},
        "firstTimestamp": ago(600),
        "lastTimestamp": ago(30),
        "count": 4,
    }
    row = ["30s", "Normal", "Pulled", "pod/x", "spec.containers{c}", "kubelet, n", "done", "10m", 4, "x.1"]
    assert cells("events", obj) == row
    series = {**obj, "series": {"count": 9, "lastObservedTime": ago(5)}}
    assert (cells("events", series)[0], cells("events", series)[8]) == ("5s", 9)
    single = {
        "metadata": {"name": "y"},
        "involvedObject": {"kind": "Node"},
        "eventTime": ago(20),
        "reportingComponent": "c",
    }
    assert cells("events", single) == ["20s", "", "", "node", "", "c", "", "20s", 1, "y"]


def test_the_small_kinds() -> None:
    meta = {"metadata": {"name": "x", "creationTimestamp": ago(1)}}
    assert cells("configmaps", {**meta, "data": {"a": "1"}, "binaryData": {"b": "", "c": ""}}) == ["x", 3, "1s"]
    assert cells("secrets", {**meta, "type": "Opaque", "data": {"a": ""}}) == ["x", "Opaque", 1, "1s"]
    assert cells("serviceaccounts", meta) == ["x", 0, "1s"]
    assert cells("namespaces", {**meta, "status": {"phase": "Active"}}) == ["x", "Active", "1s"]
    assert cells("gadgets", meta) == ["x", ago(1)]


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


async def test_tables_come_for_lists_and_single_objects(instance: Instance) -> None:
    await instance.create_pod()
    for path in ("pods", "pods/box"):
        table = await instance.get(f"/api/v1/namespaces/default/{path}", f"{TABLE},application/json")
        assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
        assert [column["name"] for column in table["columnDefinitions"]][:5] == [
            "Name", "Ready", "Status", "Restarts", "Age",
        ]  # fmt: skip
        (row,) = table["rows"]
        assert row["cells"][0] == "box"
        assert row["object"]["kind"] == "PartialObjectMetadata"
        assert row["object"]["metadata"]["name"] == "box"
        assert int(table["metadata"]["resourceVersion"]) > 0


@pytest.mark.parametrize(
    ("include", "kind"), [("None", None), ("Metadata", "PartialObjectMetadata"), ("Object", "Pod")]
)
async def test_the_client_says_what_rows_include(instance: Instance, include: str, kind: str | None) -> None:
    await instance.create_pod()
    table = await instance.get(f"/api/v1/namespaces/default/pods?includeObject={include}", TABLE)
    included = table["rows"][0]["object"]
    assert (included and included["kind"]) == kind


async def test_a_watch_includes_the_same(instance: Instance) -> None:
    await instance.create_pod()
    for include, kind in (("None", None), ("Metadata", "PartialObjectMetadata"), ("Object", "Pod")):
        path = f"/api/v1/pods?watch=1&includeObject={include}"
        async with instance.http.get(path, headers={"Accept": TABLE}) as response:
            event = json.loads(await asyncio.wait_for(response.content.readline(), 10))
        (row,) = event["object"]["rows"]
        assert row["cells"][0] == "box"
        assert (row["object"] and row["object"]["kind"]) == kind


async def test_an_unknown_way_to_include_is_refused(instance: Instance) -> None:
    for query in ("includeObject=All", "includeObject=All&watch=1"):
        answer = await instance.ask("GET", f"/api/v1/pods?{query}", headers={"Accept": TABLE})
        assert answer.status == 400
        assert answer.json["message"] == 'unrecognized includeObject value: "All"'


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_tables_and_partial_objects_come_in_both_versions(instance: Instance, version: str) -> None:
    await instance.create_pod()
    group_version = f"meta.k8s.io/{version}"
    table = await instance.get("/api/v1/pods", TABLE.replace("v=v1", f"v={version}"))
    assert table["apiVersion"] == table["rows"][0]["object"]["apiVersion"] == group_version
    one = await instance.get("/api/v1/namespaces/default/pods/box", partial("PartialObjectMetadata", version))
    many = await instance.get("/api/v1/pods?limit=1", partial("PartialObjectMetadataList", version))
    assert set(one) == {"kind", "apiVersion", "metadata"}
    assert (one["kind"], one["apiVersion"]) == ("PartialObjectMetadata", group_version)
    assert (many["kind"], many["apiVersion"]) == ("PartialObjectMetadataList", group_version)
    assert many["items"] == [one] and many["metadata"]["resourceVersion"]


def partial(kind: str, version: str = "v1") -> str:
    """The Accept header of client-go's metadata client, which would rather have protobuf."""
    form = f"as={kind};g=meta.k8s.io;v={version}"
    return f"application/vnd.kubernetes.protobuf;{form},application/json;{form},application/json"


async def test_writes_answer_with_metadata_alone_where_that_is_asked_for(instance: Instance) -> None:
    """A controller that knows no types (garbage collection, finalizers) patches and deletes like this."""
    await instance.create_pod(bound=False)
    path, accept = "/api/v1/namespaces/default/pods/box", {"Accept": partial("PartialObjectMetadata")}
    patch = json.dumps({"metadata": {"labels": {"a": "b"}}})
    merge = {**accept, "Content-Type": "application/merge-patch+json"}
    patched = (await instance.ask("PATCH", path, data=patch, headers=merge)).json
    assert set(patched) == {"kind", "apiVersion", "metadata"}
    assert (patched["kind"], patched["metadata"]["labels"]) == ("PartialObjectMetadata", {"a": "b"})
    missing = await instance.ask("GET", path + "x", headers=accept)
    assert (missing.status, missing.json["kind"]) == (404, "Status")


async def test_tables_of_pages_go_on_where_the_last_one_ended(instance: Instance) -> None:
    for name in "abc":
        body = {"metadata": {"name": name}}
        assert (await instance.ask("POST", "/api/v1/namespaces/other/configmaps", json=body)).status == 201
    names, token = [], ""
    while token is not None:
        page = await instance.get(f"/api/v1/namespaces/other/configmaps?limit=2&continue={token}", TABLE)
        names.append([row["cells"][0] for row in page["rows"]])
        token = page["metadata"].get("continue")
    assert names == [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    "accept", ["application/xml", TABLE.replace("v=v1", "v=v9"), "application/json;as=Chair;v=v1;g=meta.k8s.io"]
)
async def test_what_cannot_be_given_is_406(instance: Instance, accept: str) -> None:
    answer = await instance.ask("GET", "/api/v1/pods", headers={"Accept": accept})
    assert (answer.status, answer.json["reason"]) == (406, "NotAcceptable")
    fallback = await instance.ask("GET", "/api/v1/pods", headers={"Accept": f"{accept},application/json"})
    assert fallback.json["kind"] == "PodList"


async def test_kubectl_prints_the_columns(instance: Instance) -> None:
    await instance.kubectl("create", "-f", "-", stdin=json.dumps(POD))
    lines = (await instance.kubectl("get", "pods", "-o", "wide")).splitlines()
    assert lines[0].split() == [
        "NAME",
        "READY",
        "STATUS",
        "RESTARTS",
        "AGE",
        "IP",
        "NODE",
        "NOMINATED",
        "NODE",
        "READINESS",
        "GATES",
    ]
    assert lines[1].split()[:4] == ["box", "0/2", "Pending", "0"]


WORKLOADS: list[tuple[str, dict[str, Any]]] = [
    (
        "apps/v1/namespaces/other/deployments",
        {
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": POD["spec"]},
            }
        },
    ),
    (
        "autoscaling/v1/namespaces/other/horizontalpodautoscalers",
        {
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "maxReplicas": 4,
                "targetCPUUtilizationPercentage": 60,
            }
        },
    ),
    ("policy/v1/namespaces/other/poddisruptionbudgets", {"spec": {"minAvailable": "50%"}}),
    ("storage.k8s.io/v1/storageclasses", {"provisioner": "example.com/disk"}),
    (
        "rbac.authorization.k8s.io/v1/namespaces/other/rolebindings",
        {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}},
    ),
]
PRINTED = {
    "deployments": ["NAME READY UP-TO-DATE AVAILABLE AGE", "web 0/2 0 0"],
    "hpa.v1.autoscaling": ["NAME REFERENCE TARGETS", "web Deployment/web cpu: <unknown>/60% 1 4 0"],
    "pdb": ["NAME MIN AVAILABLE MAX UNAVAILABLE ALLOWED DISRUPTIONS AGE", "web 50% N/A 0"],
    "sc": ["NAME PROVISIONER RECLAIMPOLICY VOLUMEBINDINGMODE", "web example.com/disk Delete Immediate false"],
    "rolebindings": ["NAME ROLE AGE", "web Role/reader"],
}


async def test_kubectl_prints_what_keeps_pods_running(instance: Instance) -> None:
    for path, body in WORKLOADS:
        answer = await instance.ask("POST", f"/apis/{path}", json={"metadata": {"name": "web"}, **body})
        assert answer.status == 201, answer.body
    for kind, expected in PRINTED.items():
        lines = (await instance.kubectl("get", kind, "-n", "other")).splitlines()
        assert [" ".join(line.split())[: len(start)] for line, start in zip(lines, expected, strict=True)] == expected
    scale = await instance.kubectl("get", "deployment", "web", "-n", "other", "--subresource=scale")
    assert " ".join(scale.split()).startswith("NAME DESIRED AVAILABLE AGE web 2 0 ")
