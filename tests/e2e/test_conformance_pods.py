"""What Kubernetes' conformance suite does before its first test, and with pods where nothing else here does it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp

from support.instance import TestInstance, pod
from support.wire import Wire


def test_the_suite_can_start(instance: TestInstance) -> None:
    """It takes the cluster's address family from the service kubernetes, and makes a namespace for every test."""
    service = instance.get("service", "kubernetes")
    endpoints = instance.get("endpoints", "kubernetes")
    (end,) = instance.get("endpointslices", "-l", "kubernetes.io/service-name=kubernetes")["items"]
    address = service["spec"]["clusterIP"]
    assert service["spec"]["ipFamilies"] == ["IPv4"] and end["addressType"] == "IPv4"
    assert endpoints["subsets"][0]["addresses"] == [{"ip": address}]
    assert end["endpoints"][0]["addresses"] == [address]
    assert all(not node["spec"].get("taints") for node in instance.get("nodes")["items"])
    instance.kubectl("create", "namespace", "conformance", check=True)
    try:
        for made in ("serviceaccount/default", "configmap/kube-root-ca.crt"):
            instance.kubectl("wait", "--for=create", made, "-n", "conformance", "--timeout=10s", check=True)
    finally:
        instance.kubectl("delete", "namespace", "conformance", check=True)


def test_the_service_kubernetes_is_where_pods_reach_the_api(instance: TestInstance) -> None:
    spec = instance.get("service", "kubernetes")["spec"]
    ask = f"printf '\\n' | nc -w 5 {spec['clusterIP']} {spec['ports'][0]['port']} && echo reached"
    name = "conformance-client"
    instance.create(pod(name, {"command": ["sh", "-c", ask]}, restartPolicy="Never"))
    try:
        instance.wait(name, "jsonpath={.status.phase}=Succeeded")
        assert "reached" in instance.kubectl("logs", name, check=True).stdout
    finally:
        instance.kubectl("delete", "pod", name, "--now", check=True)


def test_logs_are_read_over_websockets(instance: TestInstance, tmp_path: Path) -> None:
    name = "conformance-logs"
    command = ["sh", "-c", "echo container is alive; exec sleep 10000"]
    instance.create(pod(name, {"command": command}))
    try:
        instance.wait(name)
        wire = Wire(instance, tmp_path)
        url = f"https://{wire.host}:{wire.port}/api/v1/namespaces/default/pods/{name}/log?container=c1"

        async def read() -> bytes:
            text = b""
            async with (
                asyncio.timeout(20),
                aiohttp.ClientSession() as http,
                http.ws_connect(url, protocols=("binary.k8s.io",), ssl=wire.context(wire.pair)) as socket,
            ):
                async for message in socket:
                    text += message.data
            return text

        assert asyncio.run(read()) == b"container is alive\n"
    finally:
        instance.kubectl("delete", "pod", name, "--now", check=True)


def test_a_node_says_which_pods_it_has(instance: TestInstance) -> None:
    """The suite asks on the kubelet's own port when a test has failed."""
    name = "conformance-listed"
    instance.create(pod(name))
    try:
        instance.wait(name)
        (node,) = instance.get("nodes")["items"]
        path = f"/api/v1/nodes/{node['metadata']['name']}:10250/proxy/pods"
        answer = json.loads(instance.kubectl("get", "--raw", path, check=True).stdout)
        found = {one["metadata"]["name"]: one["status"]["phase"] for one in answer["items"]}
        assert answer["kind"] == "PodList" and found[name] == "Running"
    finally:
        instance.kubectl("delete", "pod", name, "--now", check=True)


def test_pods_with_inline_volumes_of_csi_drivers_are_kept(instance: TestInstance) -> None:
    name = "conformance-csi"
    volumes = [
        {"name": "one", "csi": {"driver": "e2e.example.com"}},
        {"name": "two", "csi": {"driver": "e2e.example.com", "fsType": "ext4", "readOnly": True}},
    ]
    mounts = [{"name": "one", "mountPath": "/one"}, {"name": "two", "mountPath": "/two"}]
    made = instance.create(pod(name, {"volumeMounts": mounts}, volumes=volumes))
    assert made.stdout == f"pod/{name} created\n"
    try:
        instance.kubectl("annotate", "pod", name, "patched=true", check=True)
        told = f"involvedObject.name={name},reason=FailedMount"
        events = instance.until(lambda: instance.get("events", "--field-selector", told)["items"])
        assert "driver name e2e.example.com not found in the list of registered CSI drivers" in events[0]["message"]
        assert instance.get("pod", name)["spec"]["volumes"][1]["csi"] == volumes[1]["csi"]
    finally:
        instance.kubectl("delete", "pod", name, "--now", check=True)
    assert instance.kubectl("get", "pod", name).returncode == 1
