"""A pod's phase and conditions, from the statuses of its containers: pure.

Source: Kubernetes documentation, Pod Lifecycle ("Pod phase", "Pod conditions"); KEP-753, KEP-5067, KEP-5307.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from podstead import clock
from podstead.client.base import Object
from podstead.node.decisions import is_sidecar, restarts
from podstead.objects.pod import Container, Pod

Statuses = Sequence[Mapping[str, Any]]
"""containerStatuses or initContainerStatuses, in the order of the spec."""


def pod_phase(pod: Pod, containers: Statuses, init: Statuses, terminating: bool) -> str:
    """Return the phase. `terminating`: no container will be started again."""
    started = any(_has_started(status) for status in containers)
    pending, running = False, False
    for container, status in zip(pod.spec.init_containers, init, strict=True):
        if is_sidecar(container):
            pending = pending or (not started and not terminating and not _sidecar_has_started(status))
            running = running or "running" in status["state"]
            continue
        code = _exit_code(status)
        if code and (terminating or not restarts(pod, container, code)):
            return "Failed"
        pending = pending or (code is None and not terminating)
    waiting, ended = False, []
    for container, status in zip(pod.spec.containers, containers, strict=True):
        code = _exit_code(status)
        running = running or "running" in status["state"]
        if code is not None:
            ended.append((container, code, "terminated" in status["state"]))
        elif "waiting" in status["state"]:
            waiting = True
    if pending or (waiting and not terminating):
        return "Pending"
    if running:
        return "Running"
    if not terminating and any(restarts(pod, container, code) for container, code, _ in ended):
        return "Running"
    succeeded = not waiting and all(code == 0 and over for _, code, over in ended)
    return "Succeeded" if succeeded else "Failed"


def _exit_code(status: Mapping[str, Any]) -> int | None:
    """Return how it ended last, unless it runs again or has never ended."""
    if "running" in status["state"]:
        return None
    terminated = status["state"].get("terminated") or status["lastState"].get("terminated")
    return None if terminated is None else int(terminated["exitCode"])


def _has_started(status: Mapping[str, Any]) -> bool:
    return "waiting" not in status["state"] or bool(status["lastState"])


def _sidecar_has_started(status: Mapping[str, Any]) -> bool:
    return bool(status["started"] or "terminated" in status["state"] or status["lastState"])


def conditions(
    pod: Pod, old: Object, sandbox_ready: bool, containers: Statuses, init: Statuses, phase: str
) -> list[dict[str, Any]]:
    """Return the node's conditions. `old` is the status in the API: transition times that still hold are kept."""
    before = {condition["type"]: condition for condition in old.get("conditions") or ()}
    ready = _ready(pod, containers, init, phase)
    own = {
        "PodReadyToStartContainers": (sandbox_ready, "", ""),
        "Initialized": _initialized(pod, containers, init, phase),
        "Ready": _gated(pod, before) if ready[0] else ready,
        "ContainersReady": ready,
        "PodScheduled": (True, "", ""),
    }
    return [_condition(pod, kind, value, before.get(kind)) for kind, value in own.items()]


def _ready(pod: Pod, containers: Statuses, init: Statuses, phase: str) -> tuple[bool, str, str]:
    if phase == "Succeeded":
        return False, "PodCompleted", ""
    if phase == "Failed":
        return False, "PodFailed", ""
    sidecars = [
        status for container, status in zip(pod.spec.init_containers, init, strict=True) if is_sidecar(container)
    ]
    unready = [status["name"] for status in (*sidecars, *containers) if not status["ready"]]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return True, "", ""


def _gated(pod: Pod, present: Mapping[str, Mapping[str, Any]]) -> tuple[bool, str, str]:
    """Hold a pod whose containers are ready against its readiness gates: conditions that others set (KEP-580)."""
    problems = []
    for kind in (gate.condition_type for gate in pod.spec.readiness_gates):
        if kind not in present:
            problems.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif (status := present[kind].get("status")) != "True":
            problems.append(f'the status of pod readiness gate "{kind}" is not "True", but {status}')
    return (False, "ReadinessGatesNotReady", ", ".join(problems)) if problems else (True, "", "")


def _initialized(pod: Pod, containers: Statuses, init: Statuses, phase: str) -> tuple[bool, str, str]:
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    if any(_has_started(status) for status in containers):
        return True, "", ""
    pairs = zip(pod.spec.init_containers, init, strict=True)
    incomplete = [status["name"] for container, status in pairs if not _is_complete(container, status)]
    if incomplete:
        return False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(incomplete)}]"
    return True, "", ""


def _is_complete(container: Container, status: Mapping[str, Any]) -> bool:
    return bool(status["started"] if is_sidecar(container) else status["ready"])


def _condition(pod: Pod, kind: str, value: tuple[bool, str, str], before: Mapping[str, Any] | None) -> dict[str, Any]:
    holds, reason, message = value
    text = "True" if holds else "False"
    unchanged = before is not None and before.get("status") == text
    condition: dict[str, Any] = {
        "type": kind,
        "status": text,
        "observedGeneration": pod.metadata.generation,
        "lastProbeTime": None,
        "lastTransitionTime": (unchanged and before and before.get("lastTransitionTime")) or clock.rfc3339(),
    }
    return condition | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})
