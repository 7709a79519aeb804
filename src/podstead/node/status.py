"""The status of a pod, computed from its spec and what its containers are: pure functions, no I/O.

Source: Kubernetes documentation, Pod Lifecycle (phases, conditions, container states).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from podstead import clock
from podstead.client.base import Object
from podstead.node.runtime.base import ContainerState, ContainerStatus
from podstead.objects.pod import Container, Pod, qos_class

TERMINAL = ("Succeeded", "Failed")
CONTAINER_CREATING = "ContainerCreating"
_EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container is not running yet, or not running again yet."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the worker knows of its pod. `containers`: by container name, oldest attempt first."""

    host_ip: str
    pod_ip: str = ""
    sandbox_ready: bool = False
    containers: Mapping[str, Sequence[ContainerStatus]] = field(default_factory=dict)
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    image_names: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By image id: the name and imageID to report."""
    terminating: bool = False
    """Every container has been told to end and none will be started again."""
    failure: tuple[str, str] | None = None
    """Reason and message of a failure of the pod as a whole (DeadlineExceeded, Evicted)."""


def pod_status(pod: Pod, old: Object, facts: Facts, runtime: str) -> dict[str, Any]:
    """Return the pod's status. `old` is the one in the API: transition times that still hold are kept."""
    containers = [_container_status(container, pod, facts, runtime) for container in pod.spec.containers]
    phase = "Failed" if facts.failure and facts.terminating else _phase(pod, containers, facts.terminating)
    if old.get("phase") in TERMINAL:
        phase = old["phase"]
    status: dict[str, Any] = {
        "observedGeneration": pod.metadata.generation,
        "phase": phase,
        "conditions": _conditions(pod, old, facts, containers, phase),
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": facts.host_ip}],
        "startTime": old.get("startTime") or clock.rfc3339(),
        "containerStatuses": containers,
        "qosClass": old.get("qosClass") or qos_class(pod),
    }
    if facts.pod_ip:
        status |= {"podIP": facts.pod_ip, "podIPs": [{"ip": facts.pod_ip}]}
    if facts.failure:
        status |= {"reason": facts.failure[0], "message": facts.failure[1]}
    elif old.get("reason") and phase in TERMINAL:
        status |= {key: old[key] for key in ("reason", "message") if key in old}
    return status


def _container_status(container: Container, pod: Pod, facts: Facts, runtime: str) -> dict[str, Any]:
    attempts = facts.containers.get(container.name, ())
    latest = attempts[-1] if attempts else None
    waiting = facts.waiting.get(container.name)
    status: dict[str, Any] = {"name": container.name}
    last_state: dict[str, Any] = {}
    exited_before = [attempt for attempt in attempts[:-1] if attempt.state is ContainerState.EXITED]
    if exited_before:
        last_state = {"terminated": _terminated(exited_before[-1], runtime)}
    if latest is None:
        state = _waiting(waiting or Waiting(CONTAINER_CREATING))
        if facts.terminating:
            state = {"terminated": _never_ran()}
    elif latest.state is ContainerState.RUNNING:
        state = {"running": {"startedAt": _time(latest.started_at)}}
    elif latest.state is ContainerState.EXITED:
        state = {"terminated": _terminated(latest, runtime)}
        if waiting is not None and not facts.terminating:
            last_state, state = state, _waiting(waiting)
    else:
        state = _waiting(waiting or Waiting(CONTAINER_CREATING))
    running = "running" in state
    name, image_id = container.image, ""
    if latest is not None:
        name, image_id = facts.image_names.get(latest.image_id, (latest.image, f"sha256:{latest.image_id}"))
    status |= {
        "state": state,
        "lastState": last_state,
        "ready": running,
        "restartCount": latest.attempt if latest else 0,
        "image": name,
        "imageID": image_id,
        "started": running,
    }
    if latest is not None and latest.id:
        status["containerID"] = f"{runtime}://{latest.id}"
    return status


def _waiting(waiting: Waiting) -> dict[str, Any]:
    return {"waiting": {"reason": waiting.reason} | ({"message": waiting.message} if waiting.message else {})}


def _terminated(status: ContainerStatus, runtime: str) -> dict[str, Any]:
    terminated: dict[str, Any] = {
        "exitCode": status.exit_code,
        "reason": status.reason or ("Completed" if status.exit_code == 0 else "Error"),
        "startedAt": _time(status.started_at),
        "finishedAt": _time(status.finished_at),
    }
    if status.message:
        terminated["message"] = status.message
    if status.id:
        terminated["containerID"] = f"{runtime}://{status.id}"
    return terminated


def _never_ran() -> dict[str, Any]:
    """A pod ended before this container was made: the kubelet's words for it."""
    return {
        "exitCode": 137,
        "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was terminated",
        "startedAt": None,
        "finishedAt": None,
    }


def _time(moment: datetime | None) -> str:
    return clock.rfc3339(moment) if moment else _EPOCH


def _phase(pod: Pod, containers: Sequence[Mapping[str, Any]], terminating: bool) -> str:
    running = waiting = stopped = succeeded = 0
    for status in containers:
        state, last = status["state"], status["lastState"].get("terminated")
        if "running" in state:
            running += 1
        elif "terminated" in state or last is not None:
            stopped += 1
            succeeded += (state.get("terminated") or last)["exitCode"] == 0
        else:
            waiting += 1
    if waiting:
        return "Pending"
    if running:
        return "Running"
    if stopped == succeeded and (terminating or pod.spec.restart_policy != "Always"):
        return "Succeeded"
    if terminating or pod.spec.restart_policy == "Never":
        return "Failed"
    return "Running"


def _conditions(
    pod: Pod, old: Object, facts: Facts, containers: Sequence[Mapping[str, Any]], phase: str
) -> list[dict[str, Any]]:
    unready = [status["name"] for status in containers if not status["ready"]]
    if phase == "Succeeded":
        ready: tuple[bool, str, str] = (False, "PodCompleted", "")
    elif phase == "Failed":
        ready = (False, "PodFailed", "")
    elif unready:
        ready = (False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    else:
        ready = (True, "", "")
    initialized = (True, "PodCompleted" if phase == "Succeeded" else "", "")
    own = {
        "PodReadyToStartContainers": (facts.sandbox_ready, "", ""),
        "Initialized": initialized,
        "Ready": ready,
        "ContainersReady": ready,
    }
    before = {condition["type"]: condition for condition in old.get("conditions") or ()}
    foreign = [condition for kind, condition in before.items() if kind not in own]
    return [_condition(pod, kind, value, before.get(kind)) for kind, value in own.items()] + foreign


def _condition(pod: Pod, kind: str, value: tuple[bool, str, str], before: Mapping[str, Any] | None) -> dict[str, Any]:
    holds, reason, message = value
    text = "True" if holds else "False"
    unchanged = before is not None and before.get("status") == text
    condition: dict[str, Any] = {
        "type": kind,
        "status": text,
        "observedGeneration": pod.metadata.generation,
        "lastProbeTime": None,
        "lastTransitionTime": before["lastTransitionTime"] if before and unchanged else clock.rfc3339(),
    }
    return condition | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})
