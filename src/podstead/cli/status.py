"""What `podstead status` prints of a running instance, asked of its own API."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from podstead import KUBERNETES_VERSION, __version__
from podstead.cli.instance import Instance, InstanceError, RunningServer


def report(instance: Instance, server: RunningServer) -> str:
    """Return the lines to print; raises InstanceError if the server does not answer."""
    api = _Api(instance)
    nodes, pods = api.items("/api/v1/nodes"), api.items("/api/v1/pods")
    phases = Counter(pod["status"].get("phase", "Unknown") for pod in pods)
    counted = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items())) or "none"
    lines = [
        ("instance", instance.name),
        ("server", f"running, pid {server.pid}, for {_age(server)}, {_memory(server.pid)}"),
        ("version", f"podstead {__version__} (Kubernetes {KUBERNETES_VERSION})"),
        ("API", instance.url),
        ("data", instance.data),
        ("pods' subnet", instance.subnet),
    ]
    for node in nodes:
        conditions = node["status"].get("conditions") or ()
        ready: dict[str, Any] = next((one for one in conditions if one["type"] == "Ready"), {})
        state = (
            "Ready" if ready.get("status") == "True" else f"not ready: {ready.get('message', 'it has not said why')}"
        )
        lines.append(
            ("node", f"{node['metadata']['name']}: {state}, {node['status']['nodeInfo']['containerRuntimeVersion']}")
        )
    lines += [("runtime", _runtime(instance)), ("pods", counted)]
    width = max(len(label) for label, _ in lines) + 2
    return "\n".join(f"{label + ':':<{width}}{text}" for label, text in lines)


def _runtime(instance: Instance) -> str:
    """Which OCI runtime makes containers, and why."""
    try:
        return str(json.loads(instance.paths.runtime_choice.read_text())["description"])
    except (OSError, ValueError, KeyError):
        return "unknown"


def _age(server: RunningServer) -> str:
    booted = float(Path("/proc/uptime").read_text().split()[0])
    seconds = int(booted - server.started / os.sysconf("SC_CLK_TCK"))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _memory(pid: int) -> str:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return "memory unknown"
    pss = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    return f"{int(pss.split()[1]) / 1024:.0f} MB"


class _Api:
    """Asks the instance's API as its admin, with the standard library alone: `status` must be quick."""

    def __init__(self, instance: Instance) -> None:
        config = yaml.safe_load(instance.paths.admin_kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(base64.b64decode(user["client-certificate-data"]))
            pem.write(b"\n" + base64.b64decode(user["client-key-data"]))
            pem.flush()
            context.load_cert_chain(pem.name)
        self._connection = http.client.HTTPSConnection("127.0.0.1", instance.port, context=context, timeout=10)

    def items(self, path: str) -> list[dict[str, Any]]:
        began = time.monotonic()
        try:
            self._connection.request("GET", path)
            answer = self._connection.getresponse()
            body = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            waited = time.monotonic() - began
            raise InstanceError(f"the server runs but does not answer ({error}, after {waited:.0f} s)") from error
        if answer.status != http.client.OK:
            raise InstanceError(f"the server refuses to answer: {body.get('message', answer.reason)}")
        items: list[dict[str, Any]] = body["items"]
        return items
