"""Every stable kind is served: created, read, scaled, changed and deleted by the real kubectl, with a plain warning."""

from __future__ import annotations

import json
from typing import Any

import pytest
from apiserver_harness import Instance

from podstead.objects.kinds import SERVED

JSON = {"Content-Type": "application/json"}
MERGE = {"Content-Type": "application/merge-patch+json"}

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "nginx"}]},
        },
    },
}
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


async def create(instance: Instance, path: str, obj: Any) -> Any:
    answer = await instance.ask("POST", path, data=json.dumps(obj), headers=JSON)
    assert answer.status == 201, answer.body
    return answer


async def patch(instance: Instance, path: str, changes: Any) -> Any:
    answer = await instance.ask("PATCH", path, data=json.dumps(changes), headers=MERGE)
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_kind_that_nothing_acts_on_says_so(instance: Instance) -> None:
    output = await instance.kubectl("create", "deployment", "web", "--image", "nginx")
    assert "Warning: podstead keeps this Deployment, but nothing acts on it yet" in output
    assert "deployment.apps/web created" in output
    output = await instance.kubectl("create", "service", "clusterip", "web", "--tcp", "80")
    assert "no cluster IP is allocated" in output
    output = await instance.kubectl("create", "configmap", "m")
    assert "Warning" not in output


async def test_a_deployment_gets_its_defaults_and_its_pods_theirs(instance: Instance) -> None:
    made = (await create(instance, DEPLOYMENTS, {**DEPLOYMENT, "status": {"replicas": 7}})).json
    spec = made["spec"]
    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (1, 10, 600)
    rolling = {"maxUnavailable": "25%", "maxSurge": "25%"}
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 30
    assert spec["template"]["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    assert made["status"] == {}
    assert made["metadata"]["generation"] == 1


async def test_the_generation_rises_with_the_spec_and_the_status_is_apart(instance: Instance) -> None:
    await create(instance, DEPLOYMENTS, DEPLOYMENT)
    at = f"{DEPLOYMENTS}/web"
    assert (await patch(instance, at, {"spec": {"paused": True}}))["metadata"]["generation"] == 2
    changed = await patch(instance, at, {"metadata": {"labels": {"a": "b"}}, "status": {"replicas": 3}})
    assert (changed["metadata"]["generation"], changed["status"]) == (2, {})
    told = await patch(instance, f"{at}/status", {"spec": {"paused": False}, "status": {"replicas": 3}})
    assert (told["metadata"]["generation"], told["status"], told["spec"]["paused"]) == (2, {"replicas": 3}, True)


async def test_a_deployment_is_scaled(instance: Instance) -> None:
    await create(instance, DEPLOYMENTS, DEPLOYMENT)
    assert "scaled" in await instance.kubectl("scale", "deployment", "web", "--replicas", "3")
    scale = await instance.get(f"{DEPLOYMENTS}/web/scale")
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 3})
    assert scale["status"] == {"replicas": 0, "selector": "app=web"}
    deployment = await instance.get(f"{DEPLOYMENTS}/web")
    assert (deployment["spec"]["replicas"], deployment["metadata"]["generation"]) == (3, 2)
    assert scale["metadata"]["resourceVersion"] == deployment["metadata"]["resourceVersion"]
    stale = {**scale, "metadata": {**scale["metadata"], "resourceVersion": "1"}}
    answer = await instance.ask("PUT", f"{DEPLOYMENTS}/web/scale", data=json.dumps(stale), headers=JSON)
    assert (answer.status, answer.json["reason"]) == (409, "Conflict")
    answer = await instance.ask(
        "PATCH", f"{DEPLOYMENTS}/web/scale", data=json.dumps({"spec": {"replicas": -1}}), headers=MERGE
    )
    assert answer.status == 422
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in answer.json["message"]
    assert "web" in await instance.kubectl("get", "deployment", "web", "--subresource", "scale")


async def test_an_unknown_kind_has_no_match(instance: Instance) -> None:
    manifest = json.dumps({"apiVersion": "v1", "kind": "Pood", "metadata": {"name": "x"}})
    output = await instance.kubectl("create", "-f", "-", stdin=manifest, check=False)
    assert 'no matches for kind "Pood" in version "v1"' in output
    answer = await instance.ask(
        "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", data=b"{}", headers=JSON
    )
    assert answer.status == 405


async def test_every_kind_can_be_listed_and_watched_from_its_list(instance: Instance) -> None:
    for info in SERVED:
        root = f"/apis/{info.api_version}" if info.group else "/api/v1"
        listed = await instance.get(f"{root}/{info.plural}")
        assert (listed["kind"], listed["apiVersion"]) == (info.list_kind, info.api_version)


# -- one object, two versions


EVENT: dict[str, Any] = {
    "metadata": {"name": "e", "namespace": "default"},
    "eventTime": "2026-01-01T00:00:00.000000Z",
    "reportingController": "a.io/b",
    "reportingInstance": "b-1",
    "action": "Start",
    "reason": "Started",
    "type": "Normal",
    "note": "it runs",
    "regarding": {"kind": "Pod", "namespace": "default", "name": "p"},
}
NEW_EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"


async def test_an_event_is_one_object_in_two_versions(instance: Instance) -> None:
    made = (await create(instance, NEW_EVENTS, EVENT)).json
    assert (made["apiVersion"], made["note"]) == ("events.k8s.io/v1", "it runs")
    core = await instance.get("/api/v1/namespaces/default/events/e")
    assert (core["apiVersion"], core["message"], core["reportingComponent"]) == ("v1", "it runs", "a.io/b")
    assert core["involvedObject"]["name"] == "p"
    assert core["metadata"] == made["metadata"]
    listed = await instance.get(f"{NEW_EVENTS}?fieldSelector=regarding.name=p,reportingController=a.io/b")
    assert [each["note"] for each in listed["items"]] == ["it runs"]
    assert (await instance.get(f"{NEW_EVENTS}?fieldSelector=regarding.name=q"))["items"] == []
    seen = await patch(
        instance, f"{NEW_EVENTS}/e", {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"}}
    )
    assert (seen["apiVersion"], seen["series"]["count"]) == ("events.k8s.io/v1", 2)
    assert "it runs" in await instance.kubectl("get", "events.events.k8s.io")
    assert (await instance.ask("DELETE", f"{NEW_EVENTS}/e")).json["status"] == "Success"
    assert (await instance.ask("GET", "/api/v1/namespaces/default/events/e")).status == 404


async def test_a_new_event_is_held_to_more_rules(instance: Instance) -> None:
    wrong = {**EVENT, "deprecatedCount": 1, "type": "Odd"}
    answer = await instance.ask("POST", NEW_EVENTS, data=json.dumps(wrong), headers=JSON)
    assert [cause["field"] for cause in answer.json["details"]["causes"]] == ["type", "count"]
    await create(instance, NEW_EVENTS, EVENT)
    answer = await instance.ask("PATCH", f"{NEW_EVENTS}/e", data=json.dumps({"note": "other"}), headers=MERGE)
    assert 'message: Invalid value: "other": field is immutable' in answer.json["message"]


async def test_a_watch_of_a_view_gives_its_version(instance: Instance) -> None:
    await create(instance, NEW_EVENTS, EVENT)
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1"
    async with instance.http.get(f"{NEW_EVENTS}?{query}") as response:
        first, second = json.loads(await response.content.readline()), json.loads(await response.content.readline())
    assert (first["type"], first["object"]["note"]) == ("ADDED", "it runs")
    assert (second["type"], second["object"]["apiVersion"]) == ("BOOKMARK", "events.k8s.io/v1")
    assert second["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_an_autoscaler_keeps_through_v1_what_only_v2_has(instance: Instance) -> None:
    pods = {
        "type": "Pods",
        "pods": {"metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "5"}},
    }
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "maxReplicas": 5,
        "metrics": [cpu, pods],
    }
    v2, v1 = (f"/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers" for version in ("v2", "v1"))
    await create(instance, v2, {"metadata": {"name": "h"}, "spec": spec})
    old = await instance.get(f"{v1}/h")
    assert (old["apiVersion"], old["spec"]["targetCPUUtilizationPercentage"]) == ("autoscaling/v1", 50)
    assert json.loads(old["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"]) == [pods]
    assert "metrics" not in old["spec"]
    old["spec"]["targetCPUUtilizationPercentage"] = 70
    answer = await instance.ask("PUT", f"{v1}/h", data=json.dumps(old), headers=JSON)
    assert answer.status == 200, answer.body
    new = await instance.get(f"{v2}/h")
    assert new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    assert new["spec"]["metrics"][1] == pods
    assert "annotations" not in new["metadata"]
    old["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"] = "{"
    old["metadata"].pop("resourceVersion")
    answer = await instance.ask("PUT", f"{v1}/h", data=json.dumps(old), headers=JSON)
    assert answer.status == 400


async def test_an_autoscaler_made_through_v1_has_a_metric(instance: Instance) -> None:
    await create(instance, DEPLOYMENTS, DEPLOYMENT)
    await instance.kubectl("autoscale", "deployment", "web", "--max", "3")
    new = await instance.get("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/web")
    assert new["spec"]["minReplicas"] == 1
    assert new["spec"]["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 80}


# -- defaults and what strategies do


async def made(instance: Instance, path: str, spec: dict[str, Any], **more: Any) -> Any:
    return (await create(instance, path, {"metadata": {"name": "x"}, "spec": spec, **more})).json


async def test_a_service_gets_its_defaults(instance: Instance) -> None:
    spec = (await made(instance, "/api/v1/namespaces/default/services", {"ports": [{"port": 80}]}))["spec"]
    assert spec == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "sessionAffinity": "None",
        "type": "ClusterIP",
        "internalTrafficPolicy": "Cluster",
    }


async def test_a_job_gets_a_selector_of_its_own(instance: Instance) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "b"}]}}
    job = await made(instance, "/apis/batch/v1/namespaces/default/jobs", {"template": template})
    uid = job["metadata"]["uid"]
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert job["spec"]["template"]["metadata"]["labels"] == {
        "batch.kubernetes.io/controller-uid": uid,
        "controller-uid": uid,
        "batch.kubernetes.io/job-name": "x",
        "job-name": "x",
    }
    found = {key: job["spec"][key] for key in ("backoffLimit", "completions", "parallelism", "suspend")}
    assert found == {"backoffLimit": 6, "completions": 1, "parallelism": 1, "suspend": False}


@pytest.mark.parametrize(
    ("path", "body", "field", "value"),
    [
        ("/api/v1/persistentvolumes", {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
         "hostPath": {"path": "/x"}}}, "status", {"phase": "Pending"}),
        ("/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
         {"spec": {"podSelector": {}, "egress": [{}]}}, "spec.policyTypes", ["Ingress", "Egress"]),
        ("/apis/storage.k8s.io/v1/storageclasses", {"provisioner": "a.io/b"}, "volumeBindingMode", "Immediate"),
        ("/apis/scheduling.k8s.io/v1/priorityclasses", {"value": 5}, "preemptionPolicy", "PreemptLowerPriority"),
        ("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
         {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]},
         "roleRef.apiGroup", "rbac.authorization.k8s.io"),
        ("/apis/policy/v1/namespaces/default/poddisruptionbudgets",
         {"spec": {"minAvailable": 1, "selector": {}}}, "status.disruptionsAllowed", 0),
    ],
)  # fmt: skip
async def test_defaults(instance: Instance, path: str, body: dict[str, Any], field: str, value: Any) -> None:
    found = (await create(instance, path, {"metadata": {"name": "x"}, **body})).json
    for part in field.split("."):
        found = found[part]
    assert found == value
