"""/metrics of the API server, and metrics.k8s.io made of what nodes say."""

from __future__ import annotations

import asyncio

import msgspec
from apiserver_harness import Instance, NodeHandler

USED = {
    "time": "2026-11-22T08:00:00Z",
    "window": 75.25,
    "node": {"name": "n1", "cpu": 1_500_000_000, "memory": 3 << 20},
    "pods": [
        {"namespace": "default", "name": "box", "containers": [{"name": "c1", "cpu": 0, "memory": 2048}]},
        {"namespace": "default", "name": "gone", "containers": [{"name": "c1", "cpu": 5, "memory": 2048}]},
    ],
}
API = "/apis/metrics.k8s.io/v1beta1"


def telling(document: object) -> NodeHandler:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = msgspec.json.encode(document)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    return answer


async def make_node(instance: Instance) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"a": "b"}}}
    assert (await instance.ask("POST", "/api/v1/nodes", json=node)).status == 201


async def test_pods_and_nodes_show_what_their_node_says(instance: Instance) -> None:
    await instance.create_pod()
    await make_node(instance)
    instance.node.handler = telling(USED)
    pods = (await instance.ask("GET", f"{API}/namespaces/default/pods")).json
    assert pods["kind"] == "PodMetricsList"
    (box,) = pods["items"]
    assert (box["metadata"]["name"], box["window"]) == ("box", "1m15.25s")
    assert box["containers"] == [{"name": "c1", "usage": {"cpu": "0", "memory": "2Ki"}}]
    node = (await instance.ask("GET", f"{API}/nodes/n1")).json
    assert node["usage"] == {"cpu": "1500000000n", "memory": "3072Ki"}
    assert node["metadata"]["labels"] == {"a": "b"}
    assert (await instance.ask("GET", f"{API}/nodes?labelSelector=a=c")).json["items"] == []
    assert (await instance.ask("GET", f"{API}/pods?fieldSelector=metadata.name=other")).json["items"] == []
    assert (await instance.ask("GET", f"{API}/namespaces/kube-system/pods")).json["items"] == []


async def test_what_there_is_not_is_told_as_metrics_server_does(instance: Instance) -> None:
    await make_node(instance)
    answer = await instance.ask("GET", f"{API}/namespaces/default/pods/box")
    assert (answer.status, answer.json["message"]) == (404, 'podmetrics.metrics.k8s.io "default/box" not found')
    assert (await instance.ask("GET", f"{API}/nodes")).json["items"] == []
    assert (await instance.ask("GET", f"{API}/nodes/n1")).status == 404
    assert (await instance.ask("GET", f"{API}/leases")).status == 404
    assert (await instance.ask("DELETE", f"{API}/nodes/n1")).status == 405
    assert (await instance.ask("GET", f"{API}/nodes?labelSelector=a==b==c")).status == 400


async def test_discovery_names_the_group(instance: Instance) -> None:
    groups = (await instance.ask("GET", "/apis")).json["groups"]
    assert "metrics.k8s.io" in [group["name"] for group in groups]
    listed = (await instance.ask("GET", API)).json["resources"]
    assert {(one["name"], one["kind"], one["namespaced"]) for one in listed} == {
        ("nodes", "NodeMetrics", False),
        ("pods", "PodMetrics", True),
    }


async def metrics(instance: Instance) -> str:
    answer = await instance.ask("GET", "/metrics")
    assert answer.status == 200
    return str(answer.body, "utf-8")


async def test_requests_are_counted_by_what_they_ask_and_got(instance: Instance) -> None:
    await instance.ask("GET", "/api/v1/namespaces/default/pods")
    await instance.ask("GET", "/api/v1/namespaces/default/pods/none")
    for number in range(3):
        await instance.ask("GET", f"/apis/made.up/v{number}/things{number}")
    text = await metrics(instance)
    pods = 'group="",version="v1",resource="pods",subresource=""'
    assert f'apiserver_request_total{{verb="LIST",{pods},scope="namespace",code="200"}} 1\n' in text
    assert f'apiserver_request_total{{verb="GET",{pods},scope="resource",code="404"}} 1\n' in text
    assert f'apiserver_request_duration_seconds_count{{verb="GET",{pods},scope="resource"}} 1\n' in text
    blank = 'group="",version="",resource="",subresource="",scope=""'
    assert f'apiserver_request_total{{verb="LIST",{blank},code="404"}} 3\n' in text
    assert "made.up" not in text
    assert 'apiserver_current_inflight_requests{request_kind="readOnly"} 1\n' in text


async def test_a_request_without_credentials_learns_nothing(instance: Instance) -> None:
    async with instance.session() as stranger, stranger.get("/metrics") as answer:
        assert answer.status == 401


async def test_get_prints_what_is_used(instance: Instance) -> None:
    await instance.create_pod()
    await make_node(instance)
    instance.node.handler = telling(USED)
    printed = (await instance.kubectl("get", "podmetrics")).split()
    assert printed == ["NAME", "CPU", "MEMORY", "WINDOW", "box", "0", "2Ki", "1m15.25s"]
    printed = (await instance.kubectl("get", "nodemetrics", "--no-headers")).split()
    assert printed == ["n1", "1500000000n", "3072Ki", "1m15.25s"]
