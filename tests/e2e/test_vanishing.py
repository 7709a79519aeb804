"""Clients that vanish in mid-stream or do not read: nothing of them stays, and nobody else is held up."""

from __future__ import annotations

import base64
import os
import re
import resource
import signal
import ssl
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

import pytest

from support.instance import TestInstance, pod
from support.wire import Wire


@pytest.fixture(scope="module", autouse=True)
def worker(instance: TestInstance) -> Iterator[None]:
    """A pod that says a line each 10 ms."""
    instance.create(pod("worker", {"command": ["sh", "-c", "while :; do echo tick; sleep 0.01; done"]}))
    instance.wait("worker")
    yield
    instance.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")


@pytest.fixture
def wire(instance: TestInstance, tmp_path: Path) -> Wire:
    return Wire(instance, tmp_path)


def in_container(instance: TestInstance, words: str) -> bool:
    """Whether a process with these words runs in the container."""
    listed = instance.kubectl("exec", "worker", "--", "ps", "-o", "args", check=True).stdout
    return any(words in line for line in listed.splitlines())


def memory(instance: TestInstance) -> int:
    """KiB of the server's own memory (RssAnon)."""
    text = Path(f"/proc/{instance.server()['pid']}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+)", text)
    assert found is not None
    return int(found[1])


def descriptors(instance: TestInstance) -> int:
    return len(list(Path(f"/proc/{instance.server()['pid']}/fd").iterdir()))


def server_commands(instance: TestInstance) -> list[str]:
    """What runs below the server for exec."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if " exec " in words and f"/podstead/{instance.name}/" in words:
            found.append(words)
    return found


@pytest.mark.parametrize("options", [["-i"], []])
@pytest.mark.parametrize(
    "script",
    [
        "echo up; exec sleep 7777",
        "trap '' HUP PIPE; echo up; while :; do sleep 7777; done",
        "while :; do echo 7777; done",
    ],
)
def test_a_killed_kubectl_exec_leaves_nothing(instance: TestInstance, options: list[str], script: str) -> None:
    process = subprocess.Popen(
        ["kubectl", "exec", "worker", *options, "--", "sh", "-c", f": mark-7777; {script}"],
        env=instance.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    assert in_container(instance, "7777")
    process.kill()
    process.communicate(timeout=10)
    instance.until(lambda: not in_container(instance, "7777"), 15)
    instance.until(lambda: server_commands(instance) == [])


def test_a_killed_terminal_leaves_nothing(instance: TestInstance) -> None:
    import pty

    pid, master = pty.fork()
    if pid == 0:
        os.execvpe("kubectl", ["kubectl", "exec", "worker", "-it", "--", "sh", "-c", "sleep 8888; :"], instance.env)
    instance.until(lambda: in_container(instance, "sleep 8888"))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(master)
    instance.until(lambda: not in_container(instance, "sleep 8888"), 15)


def test_killed_followers_and_watchers_are_let_go(instance: TestInstance) -> None:
    commands = (["logs", "-f", "worker"], ["get", "pods", "-w"], ["logs", "-f", "worker"], ["get", "events", "-w"])

    def follow_and_die() -> None:
        started = [
            subprocess.Popen(["kubectl", *words], env=instance.env, stdout=subprocess.PIPE) for words in commands
        ]
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline()
        for process in started:
            process.kill()
            process.communicate(timeout=10)

    follow_and_die()  # The first follower leaves what serves all that come after.
    instance.kubectl("logs", "worker", "--tail=1", check=True)
    before = descriptors(instance)
    follow_and_die()
    instance.until(lambda: descriptors(instance) <= before)


UPGRADE = (
    "GET /api/v1/namespaces/default/pods/worker/{path} HTTP/1.1\r\nHost: podstead\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
)


def upgraded(wire: Wire, script: str, *streams: str) -> ssl.SSLSocket:
    """Return a connection on which `sh -c SCRIPT` runs in the worker, as raw WebSocket."""
    query = urlencode([("container", "c1"), *(("command", word) for word in ("sh", "-c", script))])
    path = "&".join([f"exec?{query}", *(f"{stream}=true" for stream in streams)])
    connection = wire.connect()
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(UPGRADE.format(path=path, key=key).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return connection


def frame(payload: bytes, claimed: int | None = None) -> bytes:
    """A masked binary frame; it may claim a length that is not its own."""
    return b"\x82\xff" + struct.pack(">Q", len(payload) if claimed is None else claimed) + bytes(4) + payload


def test_an_exec_client_that_does_not_read_holds_up_only_its_own(instance: TestInstance, wire: Wire) -> None:
    before = memory(instance)
    with upgraded(wire, "while :; do echo 9999; done", "stdout", "stderr"):
        begun = time.monotonic()
        while time.monotonic() - begun < 2:
            assert instance.kubectl("exec", "worker", "--", "echo", "fine", check=True).stdout == "fine\n"
        assert in_container(instance, "9999")
        assert memory(instance) - before < 16 << 10
    instance.until(lambda: not in_container(instance, "9999"), 15)


def test_input_that_the_command_does_not_read_is_not_kept_in_the_server(instance: TestInstance, wire: Wire) -> None:
    before = memory(instance)
    with upgraded(wire, "echo $$; exec sleep 6666", "stdin", "stdout") as connection:
        # Two bytes of header, the channel, and the pid on a line; the server's own empty message may come first.
        seen = b""
        while not (said := re.search(rb"\x01(\d+)\n", seen)):
            seen += connection.recv(100)
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            for _ in range(1000):
                connection.sendall(frame(b"\0" + bytes(256 << 10)))
        assert memory(instance) - before < 16 << 10
        # Gone clients of such commands are found by pings, seconds later: tests/node/server has that.
        instance.kubectl("exec", "worker", "--", "kill", said[1].decode(), check=True)


@pytest.mark.parametrize(
    "data",
    [
        frame(b"\0data", claimed=1 << 40),
        frame(b"\0data", claimed=(1 << 64) - 1),
        b"\x82\x05\0data",
        b"\xff" * 100,
        frame(b"\x07which channel?"),
        frame(b""),
        frame(b"\x04{nonsense"),
        frame(b'\x04{"Width":-1,"Height":99999999}'),
    ],
    ids=["a terabyte", "all there is", "no mask", "noise", "no channel", "empty", "no size", "a bad size"],
)
def test_frames_that_are_none_end_at_most_their_session(instance: TestInstance, wire: Wire, data: bytes) -> None:
    server, before = instance.server(), memory(instance)
    with upgraded(wire, "exec sleep 5555", "stdin", "stdout") as connection:
        connection.sendall(data)
        assert instance.kubectl("exec", "worker", "--", "echo", "fine", check=True).stdout == "fine\n"
    instance.until(lambda: not in_container(instance, "sleep 5555"), 15)
    assert instance.server() == server
    assert memory(instance) - before < 8 << 10
    assert "Traceback" not in (instance.data / "server.log").read_text(errors="replace")


def test_a_log_reader_that_does_not_read_holds_up_nobody(instance: TestInstance, wire: Wire) -> None:
    script = "while [ ! -e /go ]; do sleep 0.02; done; seq 1 3000000; echo over"
    instance.create(pod("talks", {"command": ["sh", "-c", script]}, restartPolicy="Never"))
    instance.wait("talks")
    before = memory(instance)
    with wire.connect() as connection:
        connection.sendall(b"GET /api/v1/namespaces/default/pods/talks/log?follow=true HTTP/1.1\r\nHost: x\r\n\r\n")
        instance.kubectl("exec", "talks", "--", "touch", "/go", check=True)
        instance.wait("talks", "jsonpath={.status.phase}=Succeeded")
        assert instance.kubectl("logs", "talks", "--tail=1").stdout == "over\n"
        assert memory(instance) - before < 16 << 10
    instance.kubectl("delete", "pod", "talks", check=True)


def test_a_watcher_that_does_not_read_holds_up_nobody(instance: TestInstance, wire: Wire) -> None:
    before = memory(instance)
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "grows"}, "data": {"a": "x" * 500_000}}
    with wire.connect() as connection:
        connection.sendall(b"GET /api/v1/configmaps?watch=true HTTP/1.1\r\nHost: x\r\n\r\n")
        instance.create(config)
        for number in range(60):
            patch = f'{{"data":{{"n":"{number}"}}}}'
            path = "/api/v1/namespaces/default/configmaps/grows"
            assert wire.request("PATCH", path, patch, Content_Type="application/merge-patch+json").code == 200
        grown = memory(instance) - before
    instance.kubectl("delete", "cm", "grows", check=True)
    # The history that the watch cache keeps is there for all watchers alike: 60 versions of 0.5 MB.
    assert grown < 96 << 10


def test_a_tls_client_that_says_nothing(instance: TestInstance, wire: Wire) -> None:
    import socket

    idle = [socket.create_connection((wire.host, wire.port), 5) for _ in range(50)]
    try:
        assert instance.kubectl("get", "nodes", check=True).stdout
    finally:
        for connection in idle:
            connection.close()


SPDY_UPGRADE = (
    "POST /api/v1/namespaces/default/pods/worker/{path} HTTP/1.1\r\nHost: podstead\r\nConnection: Upgrade\r\n"
    "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n\r\n"
)
HALF_OPEN = (
    SPDY_UPGRADE.format(path="exec?container=c1&command=true&stdout=true").encode(),
    SPDY_UPGRADE.format(path="portforward").replace("v4.channel", "portforward").encode(),
    UPGRADE.format(path="exec?command=cat&stdin=true", key="x").encode()[:-2],
    b"POST /api/v1/namespaces/default/pods HTTP/1.1\r\nHost: podstead\r\nContent-Length: 1000\r\n\r\n{",
)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Room for a thousand connections in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_a_thousand_half_open_upgrades_hold_up_nobody(instance: TestInstance, wire: Wire) -> None:
    server, before, open_before = instance.server(), memory(instance), descriptors(instance)
    with ExitStack() as stack:
        for number in range(1000):
            connection = stack.enter_context(wire.connect())
            connection.sendall(HALF_OPEN[number % len(HALF_OPEN)])
        assert instance.kubectl("exec", "worker", "--", "echo", "fine", check=True).stdout == "fine\n"
        assert memory(instance) - before < 128 << 10
    instance.until(lambda: descriptors(instance) <= open_before + 5)
    assert instance.server() == server
    assert instance.kubectl("exec", "worker", "--", "echo", "fine", check=True).stdout == "fine\n"
