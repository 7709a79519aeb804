"""podstead as its users see it: an instance of the benchmark's own, by its command, its API over TLS, and kubectl."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

import machine

IMAGE = "centos:7"
TIMEOUT = 60.0
PODS = "/api/v1/namespaces/default/pods"
_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_ERROR_CHANNEL = 3
_SUM = re.compile(r'^podstead_pod_(start|scheduled)(?:_phase)?_duration_seconds_sum(?:\{phase="(\w+)"\})? (\S+)$', re.M)
"""Of docs/metrics.md: the sums of the phases, by name."""


class PodsteadFailed(Exception):
    """podstead did not do what is measured."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """Seconds of one pod's life: `ended` is when its processes were gone, `removed` when its object was."""

    created: float
    execed: float
    exec_by_kubectl: float
    ended: float
    removed: float


class Instance:
    """An instance with everything of its own below `directory`. Purge it, whatever happens."""

    def __init__(self, name: str, directory: Path, runtime: str) -> None:
        self.name = name
        self._runtime = runtime
        self._directory = directory
        self._data = directory / "data"
        self._kubeconfig = directory / "kubeconfig"
        beside = Path(sys.executable).parent
        path = f"{beside}:{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
        self._environment = {**os.environ, "PATH": path, "KUBECONFIG": str(self._kubeconfig)}
        self.kubectl = shutil.which("kubectl", path=path)

    async def command(self, *argv: str, stdin: str = "", check: bool = True) -> float:
        """Run a command to its end and return how long it took, in seconds; raises PodsteadFailed."""
        return await asyncio.to_thread(self._command, argv, stdin, check)

    def _command(self, argv: Sequence[str], stdin: str, check: bool) -> float:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as source:
            source.write(stdin.encode())
            source.seek(0)
            began = time.perf_counter()
            try:
                done = subprocess.run(
                    argv, env=self._environment, stdin=source, stdout=output, stderr=output, timeout=TIMEOUT
                )
            except subprocess.TimeoutExpired:
                raise PodsteadFailed(f"{' '.join(argv)} did not end within {TIMEOUT:.0f} s") from None
            took = time.perf_counter() - began
            if check and done.returncode != 0:
                output.seek(0)
                raise PodsteadFailed(f"{' '.join(argv)}: {output.read().decode(errors='replace').strip()}")
        return took

    async def up(self) -> float:
        """Start the server; returns the seconds from the start of the command to its end: the node is Ready then."""
        where = ("--name", self.name, "--data-dir", str(self._data))
        return await self.command("podstead", "up", *where, "--runtime", self._runtime)

    async def down(self) -> None:
        await self.command("podstead", "down", "--name", self.name, "--grace", "0")

    async def purge(self) -> None:
        """End it and remove all its data; nothing to do is not an error."""
        await self.command("podstead", "down", "--name", self.name, "--grace", "0", "--purge")

    async def import_image(self, rootfs: Path) -> None:
        where = ("--name", self.name, "--data-dir", str(self._data))
        await self.command("podstead", "image", "import", *where, str(rootfs), IMAGE)

    @property
    def server(self) -> int:
        """The server's pid."""
        return int(json.loads(Path(f"/run/podstead/{self.name}/server.json").read_text())["pid"])

    def last_words(self, lines: int = 20) -> str:
        """Return the end of the server's log; empty where there is none."""
        try:
            return "\n".join((self._data / "server.log").read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def monitors(self) -> list[int]:
        return machine.monitors(f"/run/podstead/{self.name}/")

    def processes(self) -> list[int]:
        """Return the server and the monitors: what podstead itself costs, without the containers' own processes."""
        return [self.server, *self.monitors()]

    def memory(self) -> machine.Memory:
        return machine.memory(self.processes())

    async def idle_share(self, seconds: float) -> float:
        """Return the processor time used in `seconds` of doing nothing, in % of one core."""
        watched = self.processes()
        used, began = machine.processor_seconds(watched), time.perf_counter()
        await asyncio.sleep(seconds)
        return 100 * (machine.processor_seconds(watched) - used) / (time.perf_counter() - began)

    @asynccontextmanager
    async def api(self) -> AsyncIterator[Api]:
        """Open a client with the administrator's certificate."""
        config = yaml.safe_load((self._data / "admin.kubeconfig").read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as pair:
            for part in ("client-certificate-data", "client-key-data"):
                pair.write(base64.b64decode(user[part]))
            pair.flush()
            context.load_cert_chain(pair.name)
        timeout = aiohttp.ClientTimeout(total=None, sock_read=TIMEOUT)
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        async with aiohttp.ClientSession(cluster["server"], connector=connector, timeout=timeout) as session:
            yield Api(self, session)


class Api:
    """The Kubernetes API, with nothing between it and the measurement but one HTTP client."""

    def __init__(self, instance: Instance, session: aiohttp.ClientSession) -> None:
        self._instance = instance
        self._session = session

    async def runtime(self) -> str:
        """Return what the node says of its OCI runtime, such as crun://1.8.1."""
        async with self._session.get("/api/v1/nodes") as answer:
            nodes = (await answer.json())["items"]
        return str(nodes[0]["status"]["nodeInfo"]["containerRuntimeVersion"])

    async def phases(self) -> dict[str, float]:
        """Return the seconds that all starts so far have taken to the end of each of their phases."""
        async with self._session.get("/api/v1/nodes") as answer:
            node = (await answer.json())["items"][0]["metadata"]["name"]
        found = {}
        for path in ("/metrics", f"/api/v1/nodes/{node}/proxy/metrics"):
            async with self._session.get(path) as answer:
                text = await answer.text()
            for name, phase, value in _SUM.findall(text):
                found[phase or name] = float(value)
        return found

    async def send(self, method: str, path: str, body: Any, content_type: str = "application/json") -> None:
        """Send one request; raises PodsteadFailed for an answer that is no success."""
        headers = {"Content-Type": content_type}
        async with self._session.request(method, path, data=json.dumps(body), headers=headers) as answer:
            if answer.status >= 300:
                raise PodsteadFailed(f"{method} {path}: {answer.status} {await answer.text()}")

    async def _create(self, manifest: dict[str, Any]) -> None:
        async with self._session.post(PODS, json=manifest) as answer:
            if answer.status != 201:
                raise PodsteadFailed(f"create: {answer.status} {await answer.text()}")

    async def _delete(self, name: str) -> None:
        async with self._session.delete(f"{PODS}/{name}", json={"gracePeriodSeconds": 0}) as answer:
            if answer.status not in (200, 202):
                raise PodsteadFailed(f"delete: {answer.status} {await answer.text()}")

    @asynccontextmanager
    async def _watch(self) -> AsyncIterator[AsyncIterator[tuple[str, dict[str, Any]]]]:
        """Open a watch from now on, on all pods."""
        async with self._session.get(PODS) as answer:
            revision = (await answer.json())["metadata"]["resourceVersion"]
        query = {"watch": "true", "resourceVersion": revision}
        async with self._session.get(PODS, params=query) as answer:
            if answer.status != 200:
                raise PodsteadFailed(f"watch: {answer.status} {await answer.text()}")
            yield _events(answer)

    async def until_running(self, manifests: Sequence[dict[str, Any]], by_kubectl: bool = False) -> float:
        """Create pods at once; returns the seconds until a watch has told that all their containers run."""
        waiting = {manifest["metadata"]["name"] for manifest in manifests}
        async with asyncio.timeout(TIMEOUT), self._watch() as events, asyncio.TaskGroup() as group:
            began = time.perf_counter()
            for manifest in manifests:
                if by_kubectl:
                    argv = (str(self._instance.kubectl), "create", "-f", "-")
                    group.create_task(self._instance.command(*argv, stdin=json.dumps(manifest)))
                else:
                    group.create_task(self._create(manifest))
            async for _, pod in events:
                if _running(pod):
                    waiting.discard(pod["metadata"]["name"])
                if not waiting:
                    return time.perf_counter() - began
        raise PodsteadFailed("the watch ended")

    async def execute(self, name: str, container: str, *argv: str) -> float:
        """Run a command in a container over a WebSocket; returns the seconds from dialling to its exit status."""
        query = [("container", container), ("stdout", "1"), ("stderr", "1"), *(("command", word) for word in argv)]
        began = time.perf_counter()
        async with self._session.ws_connect(f"{PODS}/{name}/exec", params=query, protocols=_PROTOCOLS) as socket:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY and message.data[0] == _ERROR_CHANNEL:
                    took = time.perf_counter() - began
                    status = json.loads(message.data[1:])
                    if status["status"] != "Success":
                        raise PodsteadFailed(f"exec: {status}")
                    return took
        raise PodsteadFailed("exec: no status came")

    async def until_gone(self, names: Sequence[str]) -> tuple[float, float]:
        """Delete pods at once without grace; returns the seconds until their processes and their objects are gone.

        They must be the only pods there.
        """
        processes = machine.Processes(machine.children(self._instance.monitors()))
        if len(processes) < len(names):
            raise PodsteadFailed("the containers' processes are not found below their monitors")
        left = set(names)
        async with asyncio.timeout(TIMEOUT), self._watch() as events:
            ended = asyncio.create_task(asyncio.to_thread(processes.wait, TIMEOUT))
            began = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for name in names:
                    group.create_task(self._delete(name))
                async for kind, pod in events:
                    if kind == "DELETED":
                        left.discard(pod["metadata"]["name"])
                    if not left:
                        break
            removed = time.perf_counter()
            return await ended - began, removed - began

    async def settled(self) -> None:
        """Return once no monitor is left: what a removed pod still does in the background is over then."""
        async with asyncio.timeout(TIMEOUT):
            while self._instance.monitors():
                await asyncio.sleep(0.02)

    async def cycle(self, manifest: dict[str, Any]) -> Cycle:
        """Create a pod, run `true` in its first container by API and by kubectl, delete it without grace."""
        name, container = manifest["metadata"]["name"], manifest["spec"]["containers"][0]["name"]
        created = await self.until_running([manifest])
        execed = await self.execute(name, container, "/bin/true")
        kubectl = (str(self._instance.kubectl), "exec", name, "-c", container, "--", "/bin/true")
        by_kubectl = await self._instance.command(*kubectl) if self._instance.kubectl else 0.0
        gone = await self.until_gone([name])
        await self.settled()
        return Cycle(created, execed, by_kubectl, *gone)


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    async for line in answer.content:
        event = json.loads(line)
        if event["type"] == "ERROR":
            raise PodsteadFailed(f"watch: {event['object']}")
        yield event["type"], event["object"]


def _running(pod: dict[str, Any]) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return len(statuses) == len(pod["spec"]["containers"]) and all("running" in one["state"] for one in statuses)
