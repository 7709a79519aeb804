"""A real server under abuse: random requests, a thousand idle connections, a crash amid a write of many objects.

PODSTEAD_TEST_LONG=1 sends thousands of random requests, and makes ten thousand connections.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzzing import LONG, Request, check_answer, examples, requests
from hypothesis import given

from support.instance import TestInstance
from support.wire import Wire

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
COUNT = 200


@pytest.fixture(scope="module")
def abused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestInstance]:
    """An instance that nobody else relies on."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    made = TestInstance(f"a{worker}-{os.getpid()}", tmp_path_factory.mktemp("abused"))
    try:
        made.up()
        yield made
    finally:
        made.down("--purge", check=False)
    assert made.leftovers() == []


@pytest.fixture(scope="module")
def wire(abused: TestInstance, tmp_path_factory: pytest.TempPathFactory) -> Wire:
    return Wire(abused, tmp_path_factory.mktemp("wire"))


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process have as many connections as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def descriptors(instance: TestInstance) -> int:
    return len(list(Path(f"/proc/{instance.server()['pid']}/fd").iterdir()))


def memory(instance: TestInstance) -> int:
    """Bytes that only the server has (Pss)."""
    text = Path(f"/proc/{instance.server()['pid']}/smaps_rollup").read_text()
    return 1024 * int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:")))


@pytest.mark.timeout(3600 if LONG else 120)
def test_any_request_is_answered(abused: TestInstance, wire: Wire) -> None:
    before = abused.server(), descriptors(abused)

    @examples(short=80, long=5_000)
    @given(request=requests())
    def run(request: Request) -> None:
        streams = any(key == "watch" for key, _ in request.query) or request.path.endswith(("/log", "/exec", "/attach"))
        if streams or "/nodes" in request.path:
            return  # A stream has no end to wait for; what the pods need is not to be taken from them here.
        headers = {name.replace("-", "_"): value for name, value in request.headers.items()}
        answer = wire.request(request.method, str(request.url), request.body, **headers)
        check_answer(request, answer.code, answer.body.encode())

    run()
    assert abused.server() == before[0]
    log = (abused.data / "server.log").read_text(errors="replace")
    assert "Traceback" not in log and "Error" not in log, log[-3000:]
    abused.until(lambda: descriptors(abused) < before[1] + 20)


@pytest.mark.timeout(600 if LONG else 120)
@pytest.mark.usefixtures("many_files")
def test_idle_connections_leave_others_served(abused: TestInstance, wire: Wire) -> None:
    """Half of them have sent the beginning of a request; each may cost 100 KB while it lasts."""
    count = 10_000 if LONG else 1_000
    wire.request("GET", "/version")
    before, at_first = descriptors(abused), memory(abused)
    idle: list[ssl.SSLSocket] = []
    try:
        for number in range(count):
            # A new connection has 32 s to send its first request's head: those that are kept have sent one.
            connection = wire.connect(anonymous=True)
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" + (b"GET /livez" if number % 2 else b""))
            idle.append(connection)
        # The first of many may have been idle for the 180 s that are allowed when the last one comes.
        assert descriptors(abused) > before + (0.5 if LONG else 0.99) * count
        assert (memory(abused) - at_first) / count < 100 * 1024
        made = wire.post(CONFIGMAPS, json.dumps({"metadata": {"name": "served"}}))
        assert made.code == 201
        assert abused.get("configmap", "served")["metadata"]["name"] == "served"
    finally:
        for connection in idle:
            connection.close()
    abused.until(lambda: descriptors(abused) < before + 20)


# -- a crash amid what takes many writes


def crash_when(instance: TestInstance, wire: Wire, left: int) -> None:
    """End the server as a crash does, once no more than `left` configmaps are there."""
    listing = f"{CONFIGMAPS}?limit=1&labelSelector=many%3Dyes&resourceVersion="
    while True:
        page = json.loads(wire.request("GET", listing).body)
        if len(page["items"]) + page["metadata"].get("remainingItemCount", 0) <= left:
            break
        items = json.loads(wire.request("GET", f"{CONFIGMAPS}?labelSelector=many%3Dyes").body)["items"]
        if len(items) <= left:
            break
    os.kill(instance.server()["pid"], signal.SIGKILL)


def make_many(instance: TestInstance) -> dict[str, dict[str, object]]:
    items = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"m{number:03}", "labels": {"many": "yes"}},
            "data": {"number": str(number)},
        }
        for number in range(COUNT)
    ]
    instance.create({"apiVersion": "v1", "kind": "List", "items": items})
    return remaining(instance)


def remaining(instance: TestInstance) -> dict[str, dict[str, object]]:
    return {item["metadata"]["name"]: item for item in instance.get("configmaps", "-l", "many=yes")["items"]}


def test_a_crash_amid_the_deletion_of_a_collection(abused: TestInstance, wire: Wire) -> None:
    """Each object is there as it was or is gone, and the same request finishes what is left."""
    made = make_many(abused)
    assert len(made) == COUNT

    def delete() -> None:
        try:
            wire.request("DELETE", f"{CONFIGMAPS}?labelSelector=many%3Dyes")
        except OSError:
            pass  # The server has died.

    request = threading.Thread(target=delete)
    request.start()
    crash_when(abused, wire, COUNT - 1)
    request.join()
    abused.up()
    left = remaining(abused)
    assert left.items() <= made.items()
    assert wire.request("DELETE", f"{CONFIGMAPS}?labelSelector=many%3Dyes").code == 200
    assert remaining(abused) == {}


def test_a_crash_amid_a_prune(abused: TestInstance, wire: Wire, tmp_path: Path) -> None:
    """`apply --prune` is many deletes by kubectl: what it had not come to is whole, and is pruned by the next one."""
    kept = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "labels": {"many": "yes"}}}
    items = [{**kept, "metadata": {**kept["metadata"], "name": f"p{number:02}"}} for number in range(40)]  # type: ignore[dict-item]
    everything, one = tmp_path / "everything.json", tmp_path / "one.json"
    everything.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [kept, *items]}))
    one.write_text(json.dumps(kept))
    prune = ("apply", "--prune", "-l", "many=yes", "--prune-allowlist=core/v1/ConfigMap", "-f", str(one))
    abused.kubectl("apply", "-f", str(everything), check=True)
    made = remaining(abused)
    pruning = subprocess.Popen(
        ["kubectl", *prune], env=abused.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        crash_when(abused, wire, len(made) - 10)
    finally:
        pruning.wait(30)
    abused.up()
    left = remaining(abused)
    assert left.items() <= made.items() and "kept" in left
    abused.kubectl(*prune, check=True)
    assert list(remaining(abused)) == ["kept"]
