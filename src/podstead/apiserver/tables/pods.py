"""The table of pods; its STATUS tells the most telling state of the containers, not just the phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of, since

_Status = Mapping[str, Any]
_ROW_CONDITIONS = {
    "Succeeded": {
        "type": "Completed",
        "status": "True",
        "reason": "Succeeded",
        "message": "The pod has completed successfully.",
    },
    "Failed": {"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."},
}


@dataclass(slots=True)
class _Restarts:
    """How many there were, and when a container that was restarted last ended (RFC 3339, "" for never)."""

    count: int = 0
    last: str = ""

    def add(self, status: _Status) -> None:
        self.count += int(status.get("restartCount") or 0)
        ended = ((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""
        self.last = max(self.last, ended)  # all are UTC with whole seconds, so text sorts as time

    def text(self, now: datetime) -> str:
        return f"{self.count} ({since(self.last, now)} ago)" if self.count and self.last else str(self.count)


@dataclass(slots=True)
class _Summary:
    reason: str
    restarts: _Restarts
    ready: int = 0


def _condition(status: _Status, kind: str) -> Mapping[str, Any]:
    return next((entry for entry in status.get("conditions") or [] if entry.get("type") == kind), {})


def _ended(terminated: Mapping[str, Any]) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _sidecars(spec: Mapping[str, Any]) -> set[str]:
    return {
        str(container.get("name"))
        for container in spec.get("initContainers") or []
        if container.get("restartPolicy") == "Always"
    }


def _initialization(spec: Mapping[str, Any], status: _Status, summary: _Summary, sidecar: _Restarts) -> bool:
    """Walk the init containers up to the one that holds up the pod; return whether there is one."""
    sidecars = _sidecars(spec)
    total = len(spec.get("initContainers") or [])
    for index, container in enumerate(status.get("initContainerStatuses") or []):
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        summary.restarts.add(container)
        is_sidecar = container.get("name") in sidecars
        if is_sidecar:
            sidecar.add(container)
        if terminated and not terminated.get("exitCode"):
            continue
        if is_sidecar and container.get("started"):
            summary.ready += bool(container.get("ready"))
            continue
        if terminated:
            summary.reason = f"Init:{_ended(terminated)}"
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            summary.reason = f"Init:{waiting['reason']}"
        else:
            summary.reason = f"Init:{index}/{total}"
        return True
    return False


def _running(status: _Status, summary: _Summary) -> None:
    """Take in the app containers; the first one that is not running well gives the reason."""
    has_running, error = False, ""
    for container in reversed(status.get("containerStatuses") or []):
        state = container.get("state") or {}
        summary.restarts.add(container)
        waiting, terminated = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            summary.reason = waiting["reason"]
        elif terminated:
            summary.reason = _ended(terminated)
            error = summary.reason if terminated.get("exitCode") else error
        elif container.get("ready") and state.get("running") is not None:
            has_running = True
            summary.ready += 1
    if summary.reason == "Completed":
        is_ready = has_running and _condition(status, "Ready").get("status") == "True"
        summary.reason = "Running" if is_ready else error or ("NotReady" if has_running else "Completed")


def _summarize(obj: Object) -> _Summary:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    phase = str(status.get("phase", ""))
    summary = _Summary(str(status.get("reason") or phase), _Restarts())
    if _condition(status, "PodScheduled").get("reason") == "SchedulingGated":
        summary.reason = "SchedulingGated"
    sidecar = _Restarts()
    initializing = _initialization(spec, status, summary, sidecar)
    if not initializing or _condition(status, "Initialized").get("status") == "True":
        summary.restarts = sidecar
        _running(status, summary)
    if obj.get("metadata", {}).get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            summary.reason = "Unknown"
        elif phase not in ("Succeeded", "Failed"):
            summary.reason = "Terminating"
    return summary


def _readiness_gates(spec: Mapping[str, Any], status: _Status) -> str:
    gates = spec.get("readinessGates") or []
    passed = sum(_condition(status, gate.get("conditionType", "")).get("status") == "True" for gate in gates)
    return f"{passed}/{len(gates)}" if gates else "<none>"


def _cells(obj: Object, now: datetime) -> list[Cell]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    summary = _summarize(obj)
    total = len(spec.get("containers") or []) + len(_sidecars(spec))
    addresses = status.get("podIPs") or [{"ip": status.get("podIP")}]
    return [
        name_of(obj),
        f"{summary.ready}/{total}",
        summary.reason,
        summary.restarts.text(now),
        age(obj, now),
        addresses[0].get("ip") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _readiness_gates(spec, status),
    ]


def _row_conditions(obj: Object) -> list[dict[str, str]]:
    condition = _ROW_CONDITIONS.get((obj.get("status") or {}).get("phase", ""))
    return [condition] if condition else []


TABLES = {
    "pods": TableFormat(
        (
            NAME,
            Column("Ready", "How many of the pod's containers are ready."),
            Column("Status", "The state that tells most about the pod."),
            Column("Restarts", "How often its containers were restarted, and when last."),
            AGE,
            Column("IP", "The pod's address.", priority=1),
            Column("Node", "The node that the pod is bound to.", priority=1),
            Column("Nominated Node", "The node on which room is being made for the pod.", priority=1),
            Column("Readiness Gates", "How many of the pod's readiness gates are passed.", priority=1),
        ),
        _cells,
        _row_conditions,
    )
}
