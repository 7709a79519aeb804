"""Affinity, anti-affinity and spread of pods over nodes, and what a pod asks of one."""

from __future__ import annotations

from typing import Any

import pytest

from podstead.controllers.filters import Demand, Peers, misfits
from podstead.objects.pod import from_object

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
NEAR, REPELLED = "node(s) didn't match pod affinity rules", "node(s) didn't match pod anti-affinity rules"
WEB = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"}


def _node(name: str, zone: str = "", **labels: str) -> dict[str, Any]:
    own = {"kubernetes.io/hostname": name, **({"zone": zone} if zone else {}), **labels}
    status = {
        "allocatable": {"cpu": "1", "memory": "1Gi", "pods": "1"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    return {"metadata": {"name": name, "labels": own}, "spec": {}, "status": status}


def _pod(app: str = "", node: str = "", namespace: str = "default", **spec: Any) -> dict[str, Any]:
    labels = {"app": app} if app else {}
    where = {"nodeName": node} if node else {}
    return {"metadata": {"name": "p", "namespace": namespace, "labels": labels}, "spec": {**where, **spec}}


def _affinity(kind: str, *terms: dict[str, Any]) -> dict[str, Any]:
    return {"affinity": {kind: {REQUIRED: list(terms)}}}


NODES = [_node("a", "z1"), _node("b", "z2"), _node("c")]


def _answers(pod: dict[str, Any], *placed: dict[str, Any], **namespaces: dict[str, str]) -> list[str]:
    peers = Peers(NODES, placed, namespaces)
    return [peers.misfit(pod, node) for node in NODES]


def test_all_that_is_missing_is_told_at_once() -> None:
    container = {"name": "c", "resources": {"requests": {"cpu": "2", "memory": "2Gi", "example.com/x": "1"}}}
    pod = from_object({"metadata": {"name": "p"}, "spec": {"containers": [container]}})
    why = misfits(pod, Demand.of(pod), NODES[0], {"pods": 1000})
    assert sorted(why) == ["Insufficient cpu", "Insufficient example.com/x", "Insufficient memory", "Too many pods"]


def test_a_resize_under_way_takes_the_larger_amount() -> None:
    container = {"name": "c", "resources": {"requests": {"cpu": "100m"}}}
    pod = _pod(containers=[container])
    pod["status"] = {"containerStatuses": [{"allocatedResources": {"cpu": "300m"}}]}
    assert Demand.held(pod).amounts["cpu"] == 300
    container["resources"] = {"requests": {"cpu": "500m"}}
    assert Demand.held(pod).amounts["cpu"] == 500


@pytest.mark.parametrize(
    ("required", "fits"),
    [
        ([{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["z1"]}]}], True),
        ([{"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["z1"]}]}], False),
        ([{"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["3"]}]}], True),
        ([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}], False),
        ([{}], False),
        ([{}, {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}], True),
    ],
)
def test_node_affinity(required: list[dict[str, Any]], fits: bool) -> None:
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": required}}}
    pod = from_object({"metadata": {"name": "p"}, "spec": {"affinity": affinity}})
    why = misfits(pod, Demand.of(pod), _node("a", "z1", size="4"), {})
    assert why == ([] if fits else ["node(s) didn't match Pod's node affinity/selector"])


def test_a_pod_goes_where_others_are() -> None:
    pod = _pod(**_affinity("podAffinity", WEB))
    assert _answers(pod) == [NEAR] * 3
    assert _answers(pod, _pod("web", "b")) == [NEAR, "", NEAR]
    assert _answers(pod, _pod("web", "b", namespace="other")) == [NEAR] * 3


def test_the_first_of_a_group_may_go_anywhere_that_has_the_label() -> None:
    assert _answers(_pod("web", **_affinity("podAffinity", WEB))) == ["", "", NEAR]


def test_a_pod_stays_away_from_others_and_they_from_it() -> None:
    pod = _pod(**_affinity("podAntiAffinity", WEB))
    assert _answers(pod, _pod("web", "a")) == [REPELLED, "", ""]
    shy = _pod("db", "a", **_affinity("podAntiAffinity", WEB))
    existing = "node(s) didn't satisfy existing pods anti-affinity rules"
    assert _answers(_pod("web"), shy) == [existing, "", ""]


def test_pods_of_other_namespaces_by_name_and_by_label() -> None:
    named = _pod(**_affinity("podAntiAffinity", {**WEB, "namespaces": ["other"]}))
    assert _answers(named, _pod("web", "a", namespace="other")) == [REPELLED, "", ""]
    selected = _pod(**_affinity("podAntiAffinity", {**WEB, "namespaceSelector": {"matchLabels": {"team": "x"}}}))
    assert _answers(selected, _pod("web", "a", namespace="other"), other={"team": "x"}) == [REPELLED, "", ""]
    assert _answers(selected, _pod("web", "a", namespace="other"), other={"team": "y"}) == ["", "", ""]


def test_pods_spread_over_domains() -> None:
    constraint = {**WEB, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    pod = _pod("web", topologySpreadConstraints=[constraint])
    spread = "node(s) didn't match pod topology spread constraints"
    assert _answers(pod, _pod("web", "a")) == [spread, "", f"{spread} (missing required label)"]
    anyway = _pod("web", topologySpreadConstraints=[{**constraint, "whenUnsatisfiable": "ScheduleAnyway"}])
    assert _answers(anyway, _pod("web", "a")) == ["", "", ""]
    three = _pod("web", topologySpreadConstraints=[{**constraint, "minDomains": 3}])
    assert _answers(three, _pod("web", "a"), _pod("web", "b"))[:2] == [spread, spread]


def test_only_pods_of_the_same_revision() -> None:
    pod = _pod("web", **_affinity("podAntiAffinity", {**WEB, "matchLabelKeys": ["rev"]}))
    pod["metadata"]["labels"]["rev"] = "2"
    old, new = _pod("web", "a"), _pod("web", "b")
    old["metadata"]["labels"]["rev"], new["metadata"]["labels"]["rev"] = "1", "2"
    assert _answers(pod, old, new) == ["", REPELLED, ""]
