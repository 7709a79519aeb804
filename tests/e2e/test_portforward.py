"""kubectl port-forward and proxy, by old and new kubectl and by the Python client."""

from __future__ import annotations

import hashlib
import re
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.bulk import SIZE, bounded_memory
from support.instance import TestInstance, pod
from support.old_kubectl import FORMS, command

SERVE = f"""
mkdir /www; cd /www; echo some data > index.html; head -c {SIZE} /dev/urandom > blob; sha256sum < blob > sum
nc -ll -p 9000 -e cat &
nc -ll -p 9001 -e sha256sum &
exec httpd -f -p 8080 -h /www
"""
LISTENING = 'for port in 1F90 2328 2329; do until grep -q ":$port .* 0A " /proc/net/tcp*; do sleep 0.05; done; done'


@pytest.fixture(scope="module", autouse=True)
def web(instance: TestInstance) -> Iterator[None]:
    """A pod `web` that serves files on 8080, echoes on 9000, and tells the checksum of what it got on 9001."""
    instance.create(pod("web", {"command": ["sh", "-c", SERVE]}))
    instance.wait("web")
    instance.kubectl("exec", "web", "--", "sh", "-c", LISTENING, check=True)
    yield
    instance.kubectl("delete", "pod", "web", "--force", "--grace-period=0")


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Forward:
    """`kubectl port-forward pod/web` of some ports; `local` has where each is found here."""

    def __init__(self, instance: TestInstance, form: str, *ports: int) -> None:
        program, extra = command(form)
        self.process = subprocess.Popen(
            [program, "port-forward", "--address=127.0.0.1", "pod/web", *(f":{port}" for port in ports)],
            env={**instance.env, **extra},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""
        self.local: dict[int, int] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        while len(self.local) < len(ports):
            line = self._line()
            found = re.match(r"Forwarding from 127.0.0.1:(\d+) -> (\d+)", line)
            assert found or not line.startswith("E"), self.output
            if found:
                self.local[int(found[2])] = int(found[1])
        self._reader.start()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.output
        self.output += line
        return line

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def connect(self, port: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.local[port]), 30)

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.local[8080]}/{path}", timeout=30) as answer:
            content: bytes = answer.read()
            return content

    def __enter__(self) -> Forward:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(20)
        if self._reader.is_alive():
            self._reader.join(20)
        if self.process.stdout is not None:
            self.process.stdout.close()


def receive(connection: socket.socket) -> bytes:
    found = bytearray()
    while chunk := connection.recv(1 << 18):
        found += chunk
    return bytes(found)


def test_many_connections_one_after_the_other_and_at_once(instance: TestInstance, form: str) -> None:
    with Forward(instance, form, 8080) as forward:
        for _ in range(3):
            assert forward.get("") == b"some data\n"
        with ThreadPoolExecutor(40) as pool:
            assert set(pool.map(lambda _: forward.get(""), range(120))) == {b"some data\n"}


def test_both_directions_carry_much_unharmed_and_in_bounded_memory(instance: TestInstance, form: str) -> None:
    with bounded_memory(instance), Forward(instance, form, 8080, 9001) as forward:
        blob = forward.get("blob")
        assert len(blob) == SIZE
        assert hashlib.sha256(blob).hexdigest() == forward.get("sum").split()[0].decode()
        with forward.connect(9001) as connection:
            connection.sendall(blob)
            connection.shutdown(socket.SHUT_WR)  # the checksum comes only after the end of the input has
            assert receive(connection).split()[0].decode() == hashlib.sha256(blob).hexdigest()


def test_connections_stay_open_beside_each_other(instance: TestInstance, form: str) -> None:
    with Forward(instance, form, 9000) as forward:
        open_ones = []
        for _ in range(20):  # one after the other: the server has a short queue
            open_ones.append(forward.connect(9000))
            open_ones[-1].sendall(b"one")
            assert open_ones[-1].recv(10) == b"one"
        for connection in open_ones:
            connection.sendall(b"two")
        assert [connection.recv(10) for connection in open_ones] == [b"two"] * 20
        for connection in open_ones:
            connection.close()


def test_a_port_that_nobody_listens_on_is_named(instance: TestInstance, form: str) -> None:
    with Forward(instance, form, 99) as forward:
        with forward.connect(99) as connection:
            try:
                assert connection.recv(1) == b""
            except ConnectionResetError:
                pass
        instance.until(lambda: "error forwarding port 99 to pod web" in forward.output)
        assert "connection refused" in forward.output


def test_a_pod_that_is_not_there(instance: TestInstance, form: str) -> None:
    program, extra = command(form)
    done = subprocess.run(
        [program, "port-forward", "pod/nosuch", ":80"],
        env={**instance.env, **extra},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert 'pods "nosuch" not found' in done.stderr


def test_clients_that_come_and_go_leave_no_descriptor(instance: TestInstance) -> None:
    pid = instance.server()["pid"]

    def descriptors() -> int:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))

    before = descriptors()
    for form in FORMS[:2]:
        with Forward(instance, form, 9000) as forward:
            open_ones = []
            for _ in range(10):
                open_ones.append(forward.connect(9000))
                open_ones[-1].sendall(b"x")
                assert open_ones[-1].recv(1) == b"x"
        for connection in open_ones:
            connection.close()
    instance.until(lambda: descriptors() <= before)


def test_the_python_clients_channels(instance: TestInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes import client, config, stream

    api = client.CoreV1Api(config.new_client_from_config(str(instance.kubeconfig)))
    forward = stream.portforward(api.connect_get_namespaced_pod_portforward, "web", "default", ports="8080,99")
    served = forward.socket(8080)
    served.settimeout(30)
    served.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b""
    while b"some data" not in answer:
        chunk = served.recv(1000)
        assert chunk, answer
        answer += chunk
    instance.until(lambda: forward.error(99))
    assert "error forwarding port 99 to pod web" in forward.error(99)
    forward.close()


def test_proxy_serves_the_api_without_credentials(instance: TestInstance) -> None:
    proxy = subprocess.Popen(
        ["kubectl", "proxy", "--port=0"], env=instance.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert proxy.stdout is not None
        found = re.search(r"127\.0\.0\.1:\d+", proxy.stdout.readline())
        assert found
        with urllib.request.urlopen(f"http://{found[0]}/api/v1/namespaces/default/pods/web", timeout=20) as answer:
            assert b'"podIP"' in answer.read()
    finally:
        proxy.kill()
        proxy.communicate(timeout=20)
