"""Probes as users see them: with the real runtime, real servers in the pod, and kubectl."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded

from podstead.linux import namespaces
from podstead.paths import Paths
from support.instance import IMAGE, TestInstance, pod


@pytest.fixture(autouse=True)
def no_pods_left(instance: TestInstance) -> Iterator[None]:
    yield
    instance.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")


def container(instance: TestInstance, name: str) -> dict[str, Any]:
    statuses: list[dict[str, Any]] = instance.get("pod", name)["status"].get("containerStatuses") or [{}]
    return statuses[0]


def condition(instance: TestInstance, name: str, kind: str) -> dict[str, Any]:
    conditions = instance.get("pod", name)["status"].get("conditions") or ()
    return next((one for one in conditions if one["type"] == kind), {})


def events(instance: TestInstance, name: str, reason: str) -> list[str]:
    found = instance.get("events", "--field-selector", f"involvedObject.name={name},reason={reason}")["items"]
    return [event["message"] for event in found]


def shell(script: str) -> dict[str, Any]:
    return {"command": ["sh", "-c", script]}


def test_a_failing_liveness_probe_restarts_its_container(instance: TestInstance) -> None:
    probe = {"exec": {"command": ["cat", "$(FILE)"]}, "periodSeconds": 1, "failureThreshold": 1}
    script = "trap 'exit 0' TERM; touch /tmp/well; while :; do sleep 0.05; done"
    file = [{"name": "FILE", "value": "/tmp/well"}]
    instance.create(
        pod("liveness", {**shell(script), "livenessProbe": probe, "env": file}, terminationGracePeriodSeconds=30)
    )
    instance.wait("liveness")
    instance.kubectl("exec", "liveness", "--", "rm", "/tmp/well", check=True)
    again = instance.until(lambda: (one := container(instance, "liveness")).get("restartCount") and one)
    assert again["lastState"]["terminated"]["exitCode"] == 0
    killing = instance.until(lambda: events(instance, "liveness", "Killing"))
    assert killing == ["Container c1 failed liveness probe, will be restarted"]
    assert events(instance, "liveness", "Unhealthy")[0].startswith("Liveness probe failed: cat: ")
    instance.wait("liveness")


def test_an_exec_probe_that_hangs_is_killed_and_fails(instance: TestInstance) -> None:
    probe = {"exec": {"command": ["sleep", "4321"]}, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 1}
    instance.create(pod("hangs", {"startupProbe": probe}, restartPolicy="Never"))
    instance.wait("hangs", "jsonpath={.status.phase}=Failed")
    instance.until(lambda: not running("sleep", "4321"))
    failed = 'Startup probe failed: command timed out: "sleep 4321" timed out after 1s'
    assert instance.until(lambda: events(instance, "hangs", "Unhealthy")) == [failed]
    assert instance.until(lambda: events(instance, "hangs", "Killing")) == ["Container c1 failed startup probe"]


def running(*argv: str) -> bool:
    wanted = "\0".join(argv).encode() + b"\0"
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if process.read_bytes() == wanted:
                return True
        except OSError:
            pass
    return False


def test_readiness_follows_what_the_server_answers_and_waits_for_the_start(instance: TestInstance) -> None:
    script = "mkdir /www; touch /www/up; httpd -p 8080 -h /www; sleep 10000"
    web = {
        **shell(script),
        "ports": [{"name": "web", "containerPort": 8080}],
        "startupProbe": {"tcpSocket": {"port": "web"}, "periodSeconds": 1},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "web"}, "periodSeconds": 1, "failureThreshold": 1},
    }
    instance.create(pod("web", web))
    failed = "Readiness probe failed: HTTP probe failed with statuscode: 404"
    instance.until(lambda: failed in events(instance, "web", "Unhealthy"))
    status = container(instance, "web")
    assert (status["started"], status["ready"], status["restartCount"]) == (True, False, 0)
    unready = condition(instance, "web", "Ready")
    assert (unready["status"], unready["reason"]) == ("False", "ContainersNotReady")
    assert unready["message"] == "containers with unready status: [c1]"
    instance.kubectl("exec", "web", "--", "touch", "/www/ready", check=True)
    instance.wait("web")
    instance.kubectl("exec", "web", "--", "rm", "/www/ready", check=True)
    instance.wait("web", "condition=Ready=false")


def test_a_closed_port_is_told_and_the_container_is_never_started(instance: TestInstance) -> None:
    probe = {"tcpSocket": {"port": 81}, "periodSeconds": 1, "failureThreshold": 100}
    instance.create(pod("closed", {"startupProbe": probe, "readinessProbe": {"exec": {"command": ["true"]}}}))
    refused = instance.until(lambda: events(instance, "closed", "Unhealthy"))
    found = instance.get("pod", "closed")["status"]
    assert refused == [f"Startup probe failed: dial tcp {found['podIP']}:81: connect: connection refused"]
    assert (found["containerStatuses"][0]["started"], found["containerStatuses"][0]["ready"]) == (False, False)
    assert found["phase"] == "Running"


def test_a_sidecar_is_waited_for_until_its_startup_probe_succeeds(instance: TestInstance) -> None:
    sidecar = {
        "name": "side",
        "image": IMAGE,
        "command": ["sleep", "10000"],
        "restartPolicy": "Always",
        "startupProbe": {"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1, "failureThreshold": 30},
    }
    instance.create(pod("beside", initContainers=[sidecar]))
    failed = ["Startup probe failed: "]
    instance.until(lambda: events(instance, "beside", "Unhealthy") == failed)
    waits = container(instance, "beside")
    assert waits["state"] == {"waiting": {"reason": "PodInitializing"}}
    instance.kubectl("exec", "beside", "-c", "side", "--", "touch", "/tmp/up", check=True)
    instance.wait("beside")
    assert instance.get("pod", "beside")["status"]["initContainerStatuses"][0]["started"]


def test_a_readiness_gate_waits_for_somebodys_condition(instance: TestInstance) -> None:
    instance.create(pod("gated", readinessGates=[{"conditionType": "example.com/fed"}]))
    instance.wait("gated", "condition=ContainersReady")
    ready = condition(instance, "gated", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ReadinessGatesNotReady")
    assert ready["message"] == 'corresponding condition of pod readiness gate "example.com/fed" does not exist.'
    patch = '{"status": {"conditions": [{"type": "example.com/fed", "status": "True"}]}}'
    instance.kubectl("patch", "pod", "gated", "--subresource=status", "-p", patch, check=True)
    instance.wait("gated")


def test_a_grpc_server_in_the_pod_is_asked_for_its_health(instance: TestInstance) -> None:
    probe = {"grpc": {"port": 5000, "service": "db"}, "periodSeconds": 1}
    instance.create(pod("grpc", {"readinessProbe": probe}))
    instance.wait("grpc", "jsonpath={.status.phase}=Running")
    server = HealthServer(network(instance, "grpc"), 5000)
    try:
        unhealthy = 'Readiness probe failed: service unhealthy (responded with "NOT_SERVING")'
        instance.until(lambda: unhealthy in events(instance, "grpc", "Unhealthy"))
        server.status = 1
        instance.wait("grpc")
    finally:
        server.close()


def network(instance: TestInstance, name: str) -> Path:
    """Return the pinned network namespace of a pod, which is the one with the pod's address."""
    sandboxes = Paths.of(instance.name).sandboxes
    address = instance.get("pod", name)["status"]["podIP"]
    for directory in sandboxes.iterdir():
        show = instance.run("nsenter", f"--net={directory / 'net'}", "ip", "-4", "-o", "address", "show")
        if f" {address}/" in show.stdout:
            return directory / "net"
    raise AssertionError(f"no network namespace has {address}")


class HealthServer(threading.Thread):
    """A grpc.health.v1 server in a network namespace: what a container's own would be. `status` is what it says."""

    def __init__(self, netns: Path, port: int) -> None:
        super().__init__(daemon=True)
        self.status = 2
        self._netns, self._port = netns, port
        self._listening = threading.Event()
        self._socket: socket.socket
        self.start()
        assert self._listening.wait(10)

    def run(self) -> None:
        with self._netns.open() as file:
            namespaces.setns(file.fileno())
        self._socket = socket.create_server(("", self._port))
        self._listening.set()
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        http = H2Connection(H2Configuration(client_side=False))
        http.initiate_connection()
        try:
            connection.sendall(http.data_to_send())
            while data := connection.recv(65536):
                for event in http.receive_data(data):
                    if isinstance(event, StreamEnded):
                        http.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
                        http.send_data(1, b"\0\0\0\0\x02\x08" + bytes([self.status]))
                        http.send_headers(1, [("grpc-status", "0")], end_stream=True)
                connection.sendall(http.data_to_send())
        except OSError:
            pass

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.join(10)


def test_adopted_containers_stay_ready_and_their_probes_go_on(own_instance: TestInstance) -> None:
    """KEP-4781: the next server does not take a pod out of service only because it has not asked it yet."""
    probe = {"exec": {"command": ["test", "-e", "/tmp/well"]}, "periodSeconds": 2, "failureThreshold": 1}
    script = "touch /tmp/well; sleep 10000"
    own_instance.create(pod("kept", {**shell(script), "readinessProbe": probe, "startupProbe": probe}))
    own_instance.wait("kept")
    before = condition(own_instance, "kept", "Ready")
    own_instance.run("kill", "-9", str(own_instance.server()["pid"]), check=True)
    own_instance.up()
    own_instance.kubectl("exec", "kept", "--", "true", check=True)
    after = condition(own_instance, "kept", "Ready")
    assert (after["status"], after["lastTransitionTime"]) == ("True", before["lastTransitionTime"])
    own_instance.kubectl("exec", "kept", "--", "rm", "/tmp/well", check=True)
    own_instance.wait("kept", "condition=Ready=false")
    assert container(own_instance, "kept")["restartCount"] == 0
