"""What a program in a pod finds: its token, the CA, its namespace, and an API server that takes them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podstead.paths import Paths
from support.instance import TestInstance, pod

WHERE = "/var/run/secrets/kubernetes.io/serviceaccount"

PROGRAM = """
import sys
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.config.incluster_config import InClusterConfigLoader
directory, name = sys.argv[1:]
InClusterConfigLoader(token_filename=directory + "/token", cert_filename=directory + "/ca.crt").load_and_set()
core = client.CoreV1Api()
print(core.read_namespaced_pod(name, "default").metadata.uid)
try:
    core.list_namespaced_pod("default")
except ApiException as error:
    print(error.status, error.body)
"""


@pytest.fixture(scope="module")
def robot(instance: TestInstance) -> Iterator[dict[str, Any]]:
    """A pod of the default account, running."""
    command = ["sh", "-c", "echo $(KUBERNETES_SERVICE_HOST); exec sleep 10000"]
    instance.create(pod("robot", {"command": command}, {"volumeMounts": [{"name": "x", "mountPath": WHERE}]},
                        volumes=[{"name": "x", "emptyDir": {}}]))  # fmt: skip
    instance.wait("robot")
    yield instance.get("pod", "robot")
    instance.kubectl("delete", "pod", "robot", "--now", check=True)


def read(instance: TestInstance, *command: str) -> str:
    return instance.kubectl("exec", "robot", "-c", "c1", "--", *command, check=True).stdout


def variables(instance: TestInstance) -> dict[str, str]:
    return dict(line.split("=", 1) for line in read(instance, "env").splitlines() if "=" in line)


def test_every_pod_has_the_volume_of_kubernetes(robot: dict[str, Any]) -> None:
    volume = robot["spec"]["volumes"][-1]
    name = volume["name"]
    assert name.startswith("kube-api-access-") and len(name) == len("kube-api-access-") + 5
    assert volume["projected"] == {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
    }
    first, second = robot["spec"]["containers"]
    assert first["volumeMounts"] == [{"name": name, "readOnly": True, "mountPath": WHERE}]
    assert [mount["name"] for mount in second["volumeMounts"]] == ["x"], "something of the user's is there"


def test_the_files_are_in_memory_and_cannot_be_written(instance: TestInstance, robot: dict[str, Any]) -> None:
    assert read(instance, "cat", f"{WHERE}/namespace") == "default"
    assert "BEGIN CERTIFICATE" in read(instance, "cat", f"{WHERE}/ca.crt")
    listed = read(instance, "ls", "-la", WHERE)
    assert "token -> ..data/token" in listed and "..data -> ..20" in listed
    mounts = [line.split() for line in read(instance, "cat", "/proc/mounts").splitlines() if "kubernetes.io" in line]
    assert [mount[2] for mount in mounts] == ["tmpfs"]
    refused = instance.kubectl("exec", "robot", "-c", "c1", "--", "touch", f"{WHERE}/new")
    assert refused.returncode != 0 and "Read-only file system" in refused.stderr


def test_the_variables_tell_where_the_api_is(instance: TestInstance, robot: dict[str, Any]) -> None:
    found = variables(instance)
    host, port = found["KUBERNETES_SERVICE_HOST"], found["KUBERNETES_SERVICE_PORT"]
    assert found["KUBERNETES_SERVICE_PORT_HTTPS"] == port
    assert found["KUBERNETES_PORT"] == found[f"KUBERNETES_PORT_{port}_TCP"] == f"tcp://{host}:{port}"
    assert found[f"KUBERNETES_PORT_{port}_TCP_ADDR"] == host
    assert instance.kubectl("logs", "robot", "-c", "c1", check=True).stdout == f"{host}\n", "$(...) in the command"


def test_a_client_library_in_the_pod_works(instance: TestInstance, robot: dict[str, Any], tmp_path: Path) -> None:
    for name in ("token", "ca.crt"):
        (tmp_path / name).write_text(read(instance, "cat", f"{WHERE}/{name}"))
    claims = json.loads(base64.urlsafe_b64decode((tmp_path / "token").read_text().split(".")[1] + "=="))
    assert claims["kubernetes.io"]["pod"] == {"name": "robot", "uid": robot["metadata"]["uid"]}
    [status] = (one for one in robot["status"]["containerStatuses"] if one["name"] == "c1")
    container = status["containerID"].rpartition("/")[2]
    pid = next(
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cgroup")
        if container in _text(path) and _text(path.parent / "comm").strip() != "conmon"
    )
    inside = ["nsenter", "--target", pid, "--net", sys.executable, "-c", PROGRAM, str(tmp_path), "robot"]
    env = {name: value for name, value in variables(instance).items() if name.startswith("KUBERNETES_")}
    done = subprocess.run(inside, env=instance.env | env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    uid, refusal = done.stdout.splitlines()[:2]
    assert uid == robot["metadata"]["uid"]
    assert refusal.startswith("403 ")
    assert (
        'pods is forbidden: User \\"system:serviceaccount:default:default\\" cannot list resource \\"pods\\" in API '
        'group \\"\\" in the namespace \\"default\\"'
    ) in refusal


def test_the_pods_door_is_bound_to_their_bridge(instance: TestInstance, robot: dict[str, Any]) -> None:
    found = variables(instance)
    host, port = found["KUBERNETES_SERVICE_HOST"], found["KUBERNETES_SERVICE_PORT"]
    listening = subprocess.run(["ss", "-Htln", f"sport = :{port}"], capture_output=True, text=True, timeout=10).stdout
    places = {line.split()[3] for line in listening.splitlines()}
    bridge = Paths.of(instance.name).bridge
    assert {place for place in places if place.startswith(host)} == {f"{host}%{bridge}:{port}"}


def test_a_pod_that_wants_no_token_has_none(instance: TestInstance) -> None:
    made = json.loads(
        instance.kubectl(
            "create", "-f", "-", "--dry-run=server", "-o", "json", check=True,
            stdin=json.dumps(pod("none", automountServiceAccountToken=False)),
        ).stdout
    )  # fmt: skip
    assert "volumes" not in made["spec"] and "volumeMounts" not in made["spec"]["containers"][0]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
