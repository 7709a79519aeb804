"""What `podstead status` and `podstead ls` tell of instances; a running one is asked through its own API.

The facts come as values with stable names (docs/cli.md), for programs; `text` puts those of `status` for people.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from podstead import KUBERNETES_VERSION, __version__
from podstead.cli import instance as instances
from podstead.cli.instance import Instance, InstanceError, RunningServer

RUNNING, STARTING, DOWN, ABSENT = "running", "starting", "down", "absent"
"""States of an instance; `absent`: there was no `up` of that name, or it was purged."""

_PATIENCE, _SHORT_PATIENCE = 10.0, 3.0
"""Seconds for an answer of the API: to `status`, and to `ls`, which asks several."""

Facts = dict[str, Any]


def of(name: str) -> Facts:
    """Return what there is to tell of the instance; `state` is always there. Raises InstanceError."""
    instance = instances.find(name)
    if instance is None:
        return {"name": name, "state": ABSENT}
    server = instances.running(instance.paths)
    found = _settled(instance, server)
    if server is None:
        return found
    found["pid"] = server.pid
    if not server.ready:
        return found
    api = _Api(instance, _PATIENCE)
    nodes, pods = api.items("/api/v1/nodes"), api.items("/api/v1/pods")
    found |= {
        "uptimeSeconds": _age(server),
        "memoryBytes": _memory(server.pid),
        "version": __version__,
        "kubernetesVersion": KUBERNETES_VERSION,
        "runtime": _runtime(instance),
        "nodes": [_node(node) for node in nodes],
        "pods": dict(sorted(Counter(pod["status"].get("phase", "Unknown") for pod in pods).items())),
        "inert": _inert(api),
    }
    return found


def listed() -> list[Facts]:
    """Return the instances of this machine, each with `pods`: how many it has, None if nobody can tell."""
    found = []
    for instance in instances.every():
        server = instances.running(instance.paths)
        found.append(_settled(instance, server) | {"pods": _pods(instance) if server and server.ready else None})
    return found


def text(found: Facts) -> str:
    """Return the lines that people read."""
    name, state = found["name"], found["state"]
    title = "podstead" if name == "default" else f"podstead {name!r}"
    if state == ABSENT:
        option = "" if name == "default" else f" --name {name}"
        return f"podstead {name!r}: there is no such instance (podstead up{option})"
    if state == DOWN:
        return f"{title} is down; its data is in {found['dataDir']}"
    if state == STARTING:
        return f"{title} is starting (pid {found['pid']})"
    memory = found["memoryBytes"]
    used = f"{memory / 2**20:.0f} MB" if memory is not None else "memory unknown"
    lines = [
        ("instance", name),
        ("server", f"running, pid {found['pid']}, for {_duration(found['uptimeSeconds'])}, {used}"),
        ("version", f"podstead {found['version']} (Kubernetes {found['kubernetesVersion']})"),
        ("API", found["url"]),
        ("data", found["dataDir"]),
        ("pods' subnet", found["subnet"]),
    ]
    for node in found["nodes"]:
        ready = "Ready" if node["ready"] else f"not ready: {node['message']}"
        lines.append(("node", f"{node['name']}: {ready}, {node['containerRuntimeVersion']}"))
    phases = ", ".join(f"{count} {phase}" for phase, count in found["pods"].items())
    lines += [("runtime", found["runtime"] or "unknown"), ("pods", phases or "none")]
    if found["inert"]:
        kept = ", ".join(f"{count} {resource}" for resource, count in found["inert"].items())
        lines.append(("kept only", f"{kept}; nothing acts on these yet"))
    width = max(len(label) for label, _ in lines) + 2
    return "\n".join(f"{label + ':':<{width}}{value}" for label, value in lines)


def _settled(instance: Instance, server: RunningServer | None) -> Facts:
    state = DOWN if server is None else RUNNING if server.ready else STARTING
    return {
        "name": instance.name,
        "state": state,
        "url": instance.url,
        "context": instance.context,
        "dataDir": instance.data,
        "subnet": instance.subnet,
    }


def _node(node: Facts) -> Facts:
    conditions = node["status"].get("conditions") or ()
    ready: Facts = next((one for one in conditions if one["type"] == "Ready"), {})
    return {
        "name": node["metadata"]["name"],
        "ready": ready.get("status") == "True",
        "message": ready.get("message", "it has not said why"),
        "containerRuntimeVersion": node["status"]["nodeInfo"]["containerRuntimeVersion"],
    }


def _inert(api: _Api) -> dict[str, int]:
    """Return how many objects of kinds that nothing acts on yet there are, by full name; no zeros."""
    from podstead.objects.kinds import SERVED  # takes longer to import than all the rest

    inert = [info for info in SERVED if not info.acted_on_by]
    roots = [f"/apis/{info.api_version}" if info.group else f"/api/{info.version}" for info in inert]
    counts = api.counts([f"{root}/{info.plural}" for root, info in zip(roots, inert, strict=True)])
    return {info.resource: count for info, count in zip(inert, counts, strict=True) if count}


def _pods(instance: Instance) -> int | None:
    try:
        return len(_Api(instance, _SHORT_PATIENCE).items("/api/v1/pods"))
    except (InstanceError, OSError):
        return None


def _runtime(instance: Instance) -> str | None:
    """Which OCI runtime makes containers, and why."""
    try:
        return str(json.loads(instance.paths.runtime_choice.read_text())["description"])
    except (OSError, ValueError, KeyError):
        return None


def _age(server: RunningServer) -> int:
    booted = float(Path("/proc/uptime").read_text().split()[0])
    return int(booted - server.started / os.sysconf("SC_CLK_TCK"))


def _duration(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _memory(pid: int) -> int | None:
    """Return the proportional set size in bytes (proc(5), smaps_rollup)."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    pss = next((line for line in rollup.splitlines() if line.startswith("Pss:")), None)
    return int(pss.split()[1]) * 1024 if pss else None


class _Api:
    """Asks the instance's API as its admin, with the standard library alone: `status` must be quick."""

    def __init__(self, instance: Instance, patience: float) -> None:
        self._log = instance.paths.server_log
        cluster, user = _credentials(instance.paths.admin_kubeconfig)
        try:
            authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
            context = ssl.create_default_context(cadata=authority)
            with tempfile.NamedTemporaryFile() as pem:
                pem.write(base64.b64decode(user["client-certificate-data"]))
                pem.write(b"\n" + base64.b64decode(user["client-key-data"]))
                pem.flush()
                context.load_cert_chain(pem.name)
        except (KeyError, ValueError, ssl.SSLError) as error:
            raise _damaged(instance.paths.admin_kubeconfig) from error
        self._connection = http.client.HTTPSConnection("127.0.0.1", instance.port, context=context, timeout=patience)
        self._answers: _Answers | None = None

    def items(self, path: str) -> list[Facts]:
        items: list[Facts] = self._get(path)[0]["items"]
        return items

    def counts(self, paths: Sequence[str]) -> list[int]:
        """How many objects each of the lists has, without reading them: all are asked at once."""
        found = self._get(*(f"{path}?limit=1" for path in paths))
        return [len(one["items"]) + int(one["metadata"].get("remainingItemCount", 0)) for one in found]

    def _get(self, *paths: str) -> list[Facts]:
        """Send all requests, then read the answers (RFC 9112, 9.3.2: pipelining)."""
        began = time.monotonic()
        try:
            if self._answers is None:
                self._connection.connect()
                self._answers = _Answers(self._connection.sock)
            head = "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n\r\n"
            self._connection.sock.sendall("".join(map(head.format, paths)).encode())
            answers = [self._answers.next() for _ in paths]
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = f"{error or type(error).__name__}, after {time.monotonic() - began:.0f} s"
            raise InstanceError(f"the server runs but does not answer ({why}); see {self._log}") from error
        for status, body in answers:
            if status != http.client.OK:
                raise InstanceError(f"the server refuses to answer: {body.get('message', status)}; see {self._log}")
        return [body for _, body in answers]


class _Answers:
    """Reads one answer after another from a socket: a `socket` to http.client, which shall close nothing."""

    def __init__(self, connection: socket.socket) -> None:
        self._stream = connection.makefile("rb")
        self.read, self.readline, self.readinto = self._stream.read, self._stream.readline, self._stream.readinto

    def makefile(self, _mode: str) -> _Answers:
        return self

    def flush(self) -> None:
        return

    def close(self) -> None:
        return

    def next(self) -> tuple[int, Facts]:
        """Return status and decoded body. Raises OSError, HTTPException, ValueError."""
        answer = http.client.HTTPResponse(self)  # type: ignore[arg-type]
        answer.begin()
        return answer.status, json.loads(answer.read())


def _credentials(file: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the cluster and the user of an admin's kubeconfig. Raises InstanceError, OSError."""
    import yaml

    try:
        config = yaml.safe_load(file.read_text())
        return config["clusters"][0]["cluster"], config["users"][0]["user"]
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError) as error:
        raise _damaged(file) from error


def _damaged(file: Path) -> InstanceError:
    return InstanceError(f"{file} is damaged: remove it, then `podstead down` and `podstead up` make it anew")
