"""The clients that people have, old and new, each with what it can: create, watch, patch, exec, log, delete."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.instance import TestInstance, pod
from support.old_kubectl import old_kubectl

pytestmark = pytest.mark.filterwarnings("ignore")  # the clients' own

SAYS_READY = {"command": ["sh", "-c", "echo ready; exec sleep 1000"]}


def manifest(name: str) -> dict[str, Any]:
    return pod(name, SAYS_READY)


@pytest.fixture(autouse=True)
def tidy(instance: TestInstance) -> Iterator[None]:
    """Take away what a test that failed has left."""
    yield
    kinds = "pod,configmap,secret,serviceaccount"
    instance.kubectl("delete", kinds, "client", "--ignore-not-found", "--force", "--grace-period=0")


def within(seconds: float, made: Callable[[], Awaitable[None]]) -> None:
    """Run an asynchronous client on a loop of its own, with a deadline."""

    async def run() -> None:
        async with asyncio.timeout(seconds):
            await made()

    asyncio.run(run())


# -- kubectl of today: typed clients send protobuf


def test_kubectl_1_37_creates_by_subcommand(instance: TestInstance, tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(bytes(range(256)))
    for words in (
        ["configmap", "client", "--from-literal=a=1", f"--from-file={binary}"],
        ["secret", "generic", "client", "--from-literal=password=hunter2"],
        ["serviceaccount", "client"],
        ["namespace", "client"],
    ):
        assert instance.kubectl("create", *words).stdout.endswith("/client created\n")
    config = instance.get("configmap", "client")
    assert config["data"] == {"a": "1"} and len(config["binaryData"]["binary"]) == 344
    assert instance.get("secret", "client")["data"] == {"password": "aHVudGVyMg=="}
    instance.kubectl("delete", "namespace", "client", check=True)
    again = instance.kubectl("create", "configmap", "client")
    assert again.stderr == 'error: failed to create configmap: configmaps "client" already exists\n'


# -- kubectl of six years ago: no OpenAPI v3, no aggregated discovery, no WebSocket


@pytest.fixture
def kubectl20(instance: TestInstance, tmp_path: Path) -> Callable[..., Any]:
    cache = f"--cache-dir={tmp_path / 'cache'}"

    def run(*words: str, **options: Any) -> Any:
        return instance.run(old_kubectl(), cache, *words, **options)

    return run


def test_kubectl_1_20_validates_before_it_creates(kubectl20: Callable[..., Any]) -> None:
    wrong = json.loads(json.dumps(manifest("client")).replace('"image"', '"imagex"'))
    refused = kubectl20("create", "-f", "-", stdin=json.dumps(wrong))
    assert 'ValidationError(Pod.spec.containers[0]): unknown field "imagex"' in refused.stderr
    not_a_number = {**manifest("client"), "spec": {**manifest("client")["spec"], "activeDeadlineSeconds": "x"}}
    refused = kubectl20("create", "-f", "-", stdin=json.dumps(not_a_number))
    assert (
        'invalid type for io.k8s.api.core.v1.PodSpec.activeDeadlineSeconds: got "string", expected "integer"'
        in refused.stderr
    )
    # A quantity may be a number or a word.
    fine = pod("client", {**SAYS_READY, "resources": {"limits": {"cpu": 1, "memory": "64Mi"}}})
    assert kubectl20("create", "-f", "-", stdin=json.dumps(fine), check=True).stdout == "pod/client created\n"


def test_kubectl_1_20_through_a_pods_life(kubectl20: Callable[..., Any]) -> None:
    kubectl20("create", "-f", "-", stdin=json.dumps(manifest("client")), check=True)
    kubectl20("wait", "--for=condition=Ready", "pod/client", "--timeout=30s", check=True)
    assert kubectl20("get", "pods", "client", "--no-headers").stdout.split()[:3] == ["client", "1/1", "Running"]
    assert kubectl20("logs", "client", check=True).stdout == "ready\n"
    assert kubectl20("label", "pod", "client", "a=b", check=True).stdout == "pod/client labeled\n"
    changes = '{"metadata":{"annotations":{"x":"y"}}}'
    for kind in ("merge", "strategic"):
        assert kubectl20("patch", "pod", "client", f"--type={kind}", "-p", changes, check=True).returncode == 0
    described = kubectl20("describe", "pod", "client", check=True).stdout
    assert "a=b" in described and "Started container c1" in described
    assert kubectl20("delete", "pod", "client", check=True).stdout == 'pod "client" deleted\n'


def test_kubectl_1_20_exec(kubectl20: Callable[..., Any]) -> None:
    kubectl20("create", "-f", "-", stdin=json.dumps(manifest("client")), check=True)
    kubectl20("wait", "--for=condition=Ready", "pod/client", "--timeout=30s", check=True)
    told = kubectl20("exec", "-i", "client", "--", "sh", "-c", "cat; echo err >&2; exit 3", stdin="in\n", timeout=20)
    assert (told.stdout, told.returncode) == ("in\n", 3)
    assert told.stderr.startswith("err\n")


def test_kubectl_1_20_applies_and_explains(kubectl20: Callable[..., Any]) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "client"}, "data": {"a": "1"}}
    assert kubectl20("apply", "-f", "-", stdin=json.dumps(config)).stdout == "configmap/client created\n"
    config["data"] = {"b": "2"}
    text = json.dumps(config)
    assert (
        kubectl20("apply", "--dry-run=server", "-f", "-", stdin=text).stdout
        == "configmap/client configured (server dry run)\n"
    )
    assert kubectl20("apply", "-f", "-", stdin=text).stdout == "configmap/client configured\n"
    assert json.loads(kubectl20("get", "configmap", "client", "-o", "json").stdout)["data"] == {"b": "2"}
    assert kubectl20("apply", "-f", "-", stdin=text).stdout == "configmap/client unchanged\n"
    explained = kubectl20("explain", "pod.spec.containers.livenessProbe.httpGet", check=True).stdout
    assert "RESOURCE: httpGet <Object>" in explained and "port\t<string> -required-" in explained


def test_kubectl_1_20_knows_what_there_is(kubectl20: Callable[..., Any]) -> None:
    rows = kubectl20("api-resources", "--no-headers", check=True).stdout.splitlines()
    assert ["pods", "po", "v1", "true", "Pod"] in [row.split() for row in rows]
    assert 'Minor:"37"' in kubectl20("version", check=True).stdout
    made = kubectl20(
        "create", "configmap", "client", "--from-literal=a=b", "--dry-run=server", "-o", "name", check=True
    )
    assert made.stdout == "configmap/client\n"


# -- PyPI's clients; `kubernetes` has a file of its own


def test_kubernetes_asyncio(instance: TestInstance) -> None:
    from kubernetes_asyncio import client, config, watch
    from kubernetes_asyncio.client.exceptions import ApiException
    from kubernetes_asyncio.stream import WsApiClient

    async def use() -> None:
        configuration = client.Configuration()
        await config.load_kube_config(str(instance.kubeconfig), client_configuration=configuration)
        async with client.ApiClient(configuration) as api, WsApiClient(configuration) as upgraded:
            core = client.CoreV1Api(api)
            made = await core.create_namespaced_config_map(
                "default", {"metadata": {"name": "client"}, "data": {"a": "1"}}
            )
            with pytest.raises(ApiException) as conflict:
                await core.create_namespaced_config_map("default", made)
            assert conflict.value.status in (400, 409)
            # Without a content type it is a strategic merge.
            patched = await core.patch_namespaced_config_map("client", "default", {"data": {"b": "2"}})
            assert patched.data == {"a": "1", "b": "2"}
            removal = [{"op": "remove", "path": "/data/a"}]
            patched = await core.patch_namespaced_config_map("client", "default", removal)
            assert patched.data == {"b": "2"}

            await core.create_namespaced_pod("default", manifest("client"))
            selected = {"field_selector": "metadata.name=client", "timeout_seconds": 30}
            async with watch.Watch().stream(core.list_namespaced_pod, "default", **selected) as events:
                async for event in events:
                    if event["object"].status.phase == "Running":
                        break
            assert await core.read_namespaced_pod_log("client", "default") == "ready\n"
            streams = {"stdin": False, "stdout": True, "stderr": True, "tty": False}
            run = client.CoreV1Api(upgraded).connect_get_namespaced_pod_exec
            assert await run("client", "default", command=["echo", "hi"], **streams) == "hi\n"
            await core.delete_namespaced_pod("client", "default")
            await core.delete_namespaced_config_map("client", "default")

    within(60, use)


def test_kr8s(instance: TestInstance) -> None:
    import kr8s.asyncio
    from kr8s.asyncio.objects import ConfigMap, Pod

    async def use() -> None:
        api = await kr8s.asyncio.api(kubeconfig=str(instance.kubeconfig))
        config = await ConfigMap({"metadata": {"name": "client"}, "data": {"a": "1"}}, api=api)
        await config.create()
        await config.patch({"data": {"b": "2"}})
        await config.label({"kind": "test"})
        assert (config.data, config.labels) == ({"a": "1", "b": "2"}, {"kind": "test"})
        async for kind, seen in api.watch("configmaps", namespace="default", label_selector="kind=test"):
            assert (kind, seen.name) == ("ADDED", "client")
            break
        box = await Pod(manifest("client"), api=api)
        await box.create()
        await box.wait("condition=Ready", timeout=30)
        assert [line async for line in box.logs()] == ["ready"]
        told = await box.exec(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
        assert (told.stdout, told.stderr, told.returncode) == (b"out\n", b"err\n", 3)
        await box.delete()
        await config.delete()
        assert not await config.exists()

    within(60, use)


def test_lightkube(instance: TestInstance) -> None:
    from lightkube import Client, KubeConfig
    from lightkube.core.exceptions import ApiError
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import ConfigMap, Pod
    from lightkube.types import PatchType

    loaded = KubeConfig.from_file(str(instance.kubeconfig)).get()
    assert loaded is not None
    with Client(loaded) as client:
        meta = ObjectMeta(name="client", namespace="default", labels={"kind": "test"})
        assert client.create(ConfigMap(metadata=meta, data={"a": "1"})).metadata.uid
        operations = [{"op": "add", "path": "/data/d", "value": "4"}]
        for changes, kind in (
            ({"data": {"b": "2"}}, PatchType.STRATEGIC),
            ({"data": {"c": "3"}}, PatchType.MERGE),
            (operations, PatchType.JSON),
        ):
            patched = client.patch(ConfigMap, "client", changes, patch_type=kind)
        assert patched.data == {"a": "1", "b": "2", "c": "3", "d": "4"}
        operation, seen = next(iter(client.watch(ConfigMap, namespace="default", labels={"kind": "test"})))
        assert (operation, seen.metadata.name) == ("ADDED", "client")
        client.create(Pod.from_dict(manifest("client")), namespace="default")
        assert client.wait(Pod, "client", for_conditions=["Ready"], namespace="default").status.phase == "Running"
        assert list(client.log("client", namespace="default")) == ["ready\n"]
        command = ["sh", "-c", "cat; exit 3"]
        told = client.exec("client", command=command, namespace="default", stdin="in", stdout=True)
        assert (told.stdout, told.exit_code) == ("in", 3)
        client.delete(Pod, "client", namespace="default", grace_period=0)
        client.delete(ConfigMap, "client", namespace="default")
        with pytest.raises(ApiError) as gone:
            client.get(ConfigMap, "client", namespace="default")
        assert gone.value.status.code == 404
