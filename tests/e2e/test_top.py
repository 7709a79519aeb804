"""kubectl top, old and new, and the node's own pages through the API server's proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.instance import IMAGE, TestInstance
from support.old_kubectl import command

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "top", "labels": {"app": "top"}},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {"name": "busy", "image": IMAGE, "command": ["sh", "-c", "while :; do :; done"]},
            {
                "name": "idle",
                "image": IMAGE,
                "command": ["sh", "-c", "head -c 8388608 /dev/zero > /v/f; exec sleep 10000"],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "readinessProbe": {"exec": {"command": ["test", "-e", "/v/f"]}, "periodSeconds": 1},
            },
        ],
        "volumes": [{"name": "v", "emptyDir": {}}],
    },
}


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()[1:]]


@pytest.fixture
def pod(instance: TestInstance) -> Iterator[None]:
    instance.kubectl("create", "-f", "-", stdin=json.dumps(POD), check=True)
    try:
        instance.kubectl("wait", "--for=condition=Ready", "pod/top", "--timeout=30s", check=True)
        yield
    finally:
        instance.kubectl("delete", "pod", "top", "--now")


def test_top_and_the_nodes_pages(instance: TestInstance, pod: None) -> None:
    for form in ("websocket", "1.20"):
        program, _ = command(form)
        by_container = instance.run(program, "top", "pod", "--containers", "-l", "app=top", check=True).stdout
        used = {name: int(cpu.removesuffix("m")) for _, name, cpu, _ in rows(by_container)}
        assert used["busy"] > 200 > used["idle"], by_container
        ((name, cpu, memory),) = rows(instance.run(program, "top", "pod", "top", check=True).stdout)
        assert name == "top" and int(cpu.removesuffix("m")) > 200 and memory.endswith("Mi")
        ((_, cpu, share, _, _),) = rows(instance.run(program, "top", "node", check=True).stdout)
        assert int(cpu.removesuffix("m")) > 200 and share.endswith("%")

    node = instance.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}", check=True).stdout

    def page(path: str) -> str:
        return instance.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/{path}", check=True).stdout

    summary = json.loads(page("stats/summary"))
    (told,) = [one for one in summary["pods"] if one["podRef"]["name"] == "top"]
    volumes = {one["name"]: one["usedBytes"] for one in told["volume"]}
    assert 8 << 20 <= volumes["v"] < 9 << 20
    assert told["network"]["name"] == "eth0"
    assert {one["name"]: one["cpu"]["usageNanoCores"] > 200_000_000 for one in told["containers"]} == {
        "busy": True,
        "idle": False,
    }
    assert 'container_cpu_usage_seconds_total{container="busy",namespace="default",pod="top"}' in page(
        "metrics/resource"
    )
    assert 'container_network_receive_bytes_total{namespace="default",pod="top",interface="eth0"}' in page(
        "metrics/cadvisor"
    )
    assert 'container="idle",probe_type="Readiness",result="successful"' in page("metrics/probes")
    assert 'podstead_pod_start_phase_duration_seconds_count{phase="seen"}' in page("metrics")
    own = instance.kubectl("get", "--raw", "/metrics", check=True).stdout
    assert "podstead_store_commit_duration_seconds_count" in own
