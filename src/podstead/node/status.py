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
_OWN_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
_OWN_FIELDS = (
    "observedGeneration",
    "phase",
    "conditions",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "containerStatuses",
    "ephemeralContainerStatuses",
    "qosClass",
    "reason",
    "message",
)
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
    seen_at: datetime
    """When the node saw the pod first: its startTime, if the API has none yet."""
    pod_ip: str = ""
    sandbox_ready: bool = False
    containers: Mapping[str, Sequence[ContainerStatus]] = field(default_factory=dict)
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    image_names: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """By image (as the pod names it) and image id: the name and imageID to report."""
    terminating: bool = False
    """Every container has been told to end and none will be started again."""
    failure: tuple[str, str] | None = None
    """Reason and message of a failure of the pod as a whole (DeadlineExceeded, Evicted)."""


def pod_status(pod: Pod, old: Object, facts: Facts, runtime: str) -> dict[str, Any]:
    """Return the pod's status. `old` is the one in the API: transition times that still hold are kept."""
    known = {status["name"]: status for status in old.get("containerStatuses") or ()}
    containers = [
        _container_status(container, known.get(container.name), facts, runtime) for container in pod.spec.containers
    ]
    phase = "Failed" if facts.failure and facts.terminating else _phase(pod, containers, facts.terminating)
    if old.get("phase") in TERMINAL:
        phase = old["phase"]
    status: dict[str, Any] = {
        "observedGeneration": pod.metadata.generation,
        "phase": phase,
        "conditions": _conditions(pod, old, facts, containers, phase),
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": facts.host_ip}],
        "startTime": old.get("startTime") or clock.rfc3339(facts.seen_at),
        "containerStatuses": containers,
        "qosClass": old.get("qosClass") or qos_class(pod),
    }
    if pod.spec.ephemeral_containers:
        known = {one["name"]: one for one in old.get("ephemeralContainerStatuses") or ()}
        ephemeral = [
            _container_status(container, known.get(container.name), facts, runtime)
            for container in pod.spec.ephemeral_containers
        ]
        status["ephemeralContainerStatuses"] = [{**one, "ready": False} for one in ephemeral]
    if facts.pod_ip:
        status |= {"podIP": facts.pod_ip, "podIPs": [{"ip": facts.pod_ip}]}
    if facts.failure:
        status |= {"reason": facts.failure[0], "message": facts.failure[1]}
    elif old.get("reason") and phase in TERMINAL:
        status |= {key: old[key] for key in ("reason", "message") if key in old}
    return status


def merged(own: Object, present: Object) -> dict[str, Any]:
    """Return the status to write: `own` (of `pod_status`) and what others have written into the API's present one.

    Others' are conditions of other types, fields that no node writes, and an end: what has failed stays failed.
    """
    foreign = [one for one in present.get("conditions") or () if one["type"] not in _OWN_CONDITIONS]
    others = {key: value for key, value in present.items() if key not in _OWN_FIELDS}
    status = {**others, **own, "conditions": [*own["conditions"], *foreign]}
    if present.get("phase") in TERMINAL and own["phase"] != present["phase"]:
        status |= {key: present[key] for key in ("phase", "reason", "message") if key in present}
    return status


def lost_attempt(known: Mapping[str, Any] | None) -> tuple[int, dict[str, Any]]:
    """Return restartCount and lastState of a container of which the runtime has no record (any more).

    `known` is its status in the API. One that ran counts as an attempt, though nobody knows how it ended.
    """
    if known is None:
        return 0, {}
    count, last, state = known.get("restartCount", 0), known.get("lastState") or {}, known.get("state") or {}
    if not known.get("containerID"):
        return count, last
    if "terminated" in state:
        return count + 1, {"terminated": state["terminated"]}
    if "running" in state:
        return count + 1, {"terminated": {**_never_ran("Running"), "containerID": known["containerID"]}}
    return (count + 1 if last else count), last


def _container_status(
    container: Container, known: Mapping[str, Any] | None, facts: Facts, runtime: str
) -> dict[str, Any]:
    attempts = facts.containers.get(container.name, ())
    if not attempts:
        return _status_without_record(container, known, facts)
    latest, waiting = attempts[-1], facts.waiting.get(container.name)
    last_state: dict[str, Any] = {}
    exited_before = [attempt for attempt in attempts[:-1] if attempt.state is ContainerState.EXITED]
    if exited_before:
        last_state = {"terminated": _terminated(exited_before[-1], runtime)}
    elif latest.attempt > 0 and known is not None:
        same = known.get("restartCount") == latest.attempt
        last_state = (known.get("lastState") or {}) if same else lost_attempt(known)[1]
    if latest.state is ContainerState.RUNNING:
        state = {"running": {"startedAt": _time(latest.started_at)}}
    elif latest.state is ContainerState.EXITED:
        state = {"terminated": _terminated(latest, runtime)}
        if waiting is not None and not facts.terminating:
            last_state, state = state, _waiting(waiting)
    else:
        state = _waiting(waiting or Waiting(CONTAINER_CREATING))
    running = "running" in state
    name, image_id = facts.image_names.get((latest.image, latest.image_id), (latest.image, f"sha256:{latest.image_id}"))
    status: dict[str, Any] = {
        "name": container.name,
        "state": state,
        "lastState": last_state,
        "ready": running,
        "restartCount": latest.attempt,
        "image": name,
        "imageID": image_id,
        "started": running,
    }
    return status | ({"containerID": f"{runtime}://{latest.id}"} if latest.id else {})


def _status_without_record(container: Container, known: Mapping[str, Any] | None, facts: Facts) -> dict[str, Any]:
    """Nothing was made yet, or a record was lost: with the runtime's state, or by a server that died while creating."""
    count, last_state = lost_attempt(known)
    if not facts.terminating:
        state = _waiting(facts.waiting.get(container.name, Waiting(CONTAINER_CREATING)))
    elif known is not None and "terminated" in (known.get("state") or {}):
        return dict(known)
    else:
        state = {"terminated": _never_ran()}
    return {
        "name": container.name,
        "state": state,
        "lastState": last_state,
        "ready": False,
        "restartCount": count,
        "image": container.image,
        "imageID": "",
        "started": False,
    }


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


def _never_ran(used_to_be: str = "") -> dict[str, Any]:
    """A pod ended before this container was made, or its record was lost: the kubelet's words for both."""
    message = "The container could not be located when the pod was terminated"
    if used_to_be:
        message = f"The container could not be located when the pod was deleted.  The container used to be {used_to_be}"
    return {
        "exitCode": 137,
        "reason": "ContainerStatusUnknown",
        "message": message,
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
            succeeded += "terminated" in state and state["terminated"]["exitCode"] == 0
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
        "PodScheduled": (True, "", ""),
    }
    before = {condition["type"]: condition for condition in old.get("conditions") or ()}
    return [_condition(pod, kind, value, before.get(kind)) for kind, value in own.items()]


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
