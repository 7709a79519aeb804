"""The status of a pod, computed from its spec and what its containers are: pure functions, no I/O.

Source: Kubernetes documentation, Pod Lifecycle (phases, conditions, container states).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from podstead import clock
from podstead.client.base import Object
from podstead.node.mounting import recursive_read_only
from podstead.node.phase import conditions, pod_phase
from podstead.node.resizing import IN_PROGRESS, PENDING, ResizeCondition, plain_resources
from podstead.node.room import REJECTED
from podstead.node.runtime.base import ContainerState, ContainerStatus
from podstead.node.volumes.base import VolumeError
from podstead.objects.pod import Container, Pod, ResourceRequirements, VolumeMount, qos_class

TERMINAL = ("Succeeded", "Failed")
CONTAINER_CREATING, POD_INITIALIZING = "ContainerCreating", "PodInitializing"
_OWN_CONDITIONS = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    PENDING,
    IN_PROGRESS,
)
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
    "initContainerStatuses",
    "ephemeralContainerStatuses",
    "qosClass",
    "reason",
    "message",
)
_STATUS_FIELDS = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_EPOCH = "1970-01-01T00:00:00Z"
_MESSAGES_LIMIT = 12 << 10
"""Bytes of termination messages in a pod's status, shared out evenly: Container.terminationMessagePath."""


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
    in_post_start: Collection[str] = ()
    """Ids of containers that run but are shown as being created."""
    unstarted: Collection[str] = ()
    unready: Collection[str] = ()
    """Ids of running containers that have not started, that are not ready."""
    volume_images: Mapping[str, str] = field(default_factory=dict)
    """By image volume: the digest to report."""
    image_names: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """By image (as the pod names it) and image id: the name and imageID to report."""
    terminating: bool = False
    """Every container has been told to end and none will be started again."""
    failure: tuple[str, str] | None = None
    """Reason and message of a failure of the pod as a whole (DeadlineExceeded, Evicted)."""
    actual: Mapping[str, ResourceRequirements] = field(default_factory=dict)
    """By container id: the resources that it has, which may not be those that it was granted last."""
    resizes: Sequence[ResizeCondition] = ()


def pod_status(pod: Pod, old: Object, facts: Facts, runtime: str) -> dict[str, Any]:
    """Return the pod's status. `old` is the one in the API: transition times that still hold are kept."""
    if facts.failure and facts.failure[1].startswith(REJECTED):
        return _rejected(pod, old, facts, *facts.failure)
    spec, limit = pod.spec, message_limit(pod)

    def statuses(field: str, declared: Sequence[Container]) -> list[dict[str, Any]]:
        known = {status["name"]: status for status in old.get(field) or ()}
        found = [_container_status(pod, one, known.get(one.name), facts, runtime) for one in declared]
        for one, container in zip(found, declared, strict=True):
            _cut_messages(one, limit)
            if container.volume_mounts:
                one["volumeMounts"] = [_mount_status(mount, facts) for mount in container.volume_mounts]
            if field != "ephemeralContainerStatuses":
                one |= _resources(container, facts)
        return found

    containers = statuses("containerStatuses", spec.containers)
    init = statuses("initContainerStatuses", spec.init_containers)
    for container, found in zip(spec.init_containers, init, strict=True):
        if container.restart_policy != "Always":
            found["ready"] = found["state"].get("terminated", {}).get("exitCode") == 0
    if facts.terminating:
        _settle(containers, init)
    phase = "Failed" if facts.failure and facts.terminating else pod_phase(pod, containers, init, facts.terminating)
    if old.get("phase") in TERMINAL:
        phase = old["phase"]
    present = conditions(pod, old, facts.sandbox_ready, containers, init, phase)
    status: dict[str, Any] = {
        "observedGeneration": pod.metadata.generation,
        "phase": phase,
        "conditions": present + [_resize_condition(one, old) for one in facts.resizes],
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": facts.host_ip}],
        "startTime": old.get("startTime") or clock.rfc3339(facts.seen_at),
        "containerStatuses": containers,
        "qosClass": old.get("qosClass") or qos_class(pod),
    }
    if spec.init_containers:
        status["initContainerStatuses"] = init
    if spec.ephemeral_containers:
        ephemeral = statuses("ephemeralContainerStatuses", spec.ephemeral_containers)
        status["ephemeralContainerStatuses"] = [{**one, "ready": False} for one in ephemeral]
    if facts.pod_ip:
        status |= {"podIP": facts.pod_ip, "podIPs": [{"ip": facts.pod_ip}]}
    if facts.failure:
        status |= {"reason": facts.failure[0], "message": facts.failure[1]}
    elif old.get("reason") and phase in TERMINAL:
        status |= {key: old[key] for key in ("reason", "message") if key in old}
    return status


def _rejected(pod: Pod, old: Object, facts: Facts, reason: str, message: str) -> dict[str, Any]:
    """A pod that the node has not let in has a phase, and nothing of it was made."""
    return {
        "observedGeneration": pod.metadata.generation,
        "phase": "Failed",
        "conditions": [],
        "startTime": old.get("startTime") or clock.rfc3339(facts.seen_at),
        "qosClass": old.get("qosClass") or qos_class(pod),
        "reason": reason,
        "message": message,
    }


def _resize_condition(one: ResizeCondition, old: Object) -> dict[str, Any]:
    before: Mapping[str, Any] = next((known for known in old.get("conditions") or () if known["type"] == one.kind), {})
    condition: dict[str, Any] = {
        "type": one.kind,
        "status": "True",
        "observedGeneration": one.generation,
        "lastProbeTime": None,
        "lastTransitionTime": before.get("lastTransitionTime") or clock.rfc3339(),
    }
    return condition | {key: text for key, text in (("reason", one.reason), ("message", one.message)) if text}


def _resources(container: Container, facts: Facts) -> dict[str, Any]:
    """What the container was granted and what it has (KEP-1287); it has the former where it does not run."""
    latest = facts.containers.get(container.name, ())[-1:]
    actual = facts.actual.get(latest[0].id) if latest and latest[0].state is ContainerState.RUNNING else None
    granted = container.resources
    found: dict[str, Any] = {"resources": plain_resources(granted if actual is None else actual)}
    return found | ({"allocatedResources": dict(granted.requests)} if granted.requests else {})


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


def told(pod: Object, container: str) -> Mapping[str, Any] | None:
    """Return the status that the API has of a container of the pod, of whichever kind."""
    status = pod.get("status") or {}
    declared = (one for field in _STATUS_FIELDS for one in status.get(field) or ())
    return next((one for one in declared if one["name"] == container), None)


def default_waiting(pod: Pod) -> Waiting:
    """Return why a container waits of which nothing else is known."""
    return Waiting(POD_INITIALIZING if pod.spec.init_containers else CONTAINER_CREATING)


def message_limit(pod: Pod) -> int:
    """Return how many bytes of a termination message are shown for one container."""
    spec = pod.spec
    return _MESSAGES_LIMIT // (len(spec.containers) + len(spec.init_containers) + len(spec.ephemeral_containers) or 1)


def _mount_status(mount: VolumeMount, facts: Facts) -> dict[str, Any]:
    """Say what became of a volumeMount (KEP-3857, KEP-5365)."""
    status: dict[str, Any] = {"name": mount.name, "mountPath": mount.mount_path}
    if mount.read_only:
        try:
            recursive = recursive_read_only(mount)
        except VolumeError:
            recursive = False
        status |= {"readOnly": True, "recursiveReadOnly": "Enabled" if recursive else "Disabled"}
    if mount.name in facts.volume_images:
        status["volumeStatus"] = {"image": {"imageRef": facts.volume_images[mount.name]}}
    return status


def _cut_messages(status: Mapping[str, Any], limit: int) -> None:
    for state in (status["state"], status["lastState"]):
        terminated = state.get("terminated") or {}
        message = terminated.get("message", "").encode()
        if len(message) > limit:
            terminated["message"] = message[:limit].decode(errors="ignore")


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
    pod: Pod, container: Container, known: Mapping[str, Any] | None, facts: Facts, runtime: str
) -> dict[str, Any]:
    attempts = facts.containers.get(container.name, ())
    if not attempts:
        return _status_without_record(pod, container, known, facts)
    latest, waiting = attempts[-1], _waiting_for(pod, container, facts)
    last_state: dict[str, Any] = {}
    exited_before = [attempt for attempt in attempts[:-1] if attempt.state is ContainerState.EXITED]
    if exited_before:
        last_state = {"terminated": _terminated(exited_before[-1], runtime)}
    elif latest.attempt > 0 and known is not None:
        same = known.get("restartCount") == latest.attempt
        last_state = (known.get("lastState") or {}) if same else lost_attempt(known)[1]
    if latest.state is ContainerState.RUNNING and latest.id not in facts.in_post_start:
        state = {"running": {"startedAt": _time(latest.started_at)}}
    elif latest.state is ContainerState.EXITED:
        state = {"terminated": _terminated(latest, runtime)}
        if waiting is not None and not facts.terminating:
            last_state, state = state, _waiting(waiting)
    else:
        state = _waiting(waiting or default_waiting(pod))
    running = "running" in state
    name, image_id = facts.image_names.get((latest.image, latest.image_id), (latest.image, f"sha256:{latest.image_id}"))
    status: dict[str, Any] = {
        "name": container.name,
        "state": state,
        "lastState": last_state,
        "ready": running and latest.id not in facts.unready and latest.id not in facts.unstarted,
        "restartCount": latest.attempt,
        "image": name,
        "imageID": image_id,
        "started": running and latest.id not in facts.unstarted,
    }
    return status | ({"containerID": f"{runtime}://{latest.id}"} if latest.id else {})


def _waiting_for(pod: Pod, container: Container, facts: Facts) -> Waiting | None:
    waiting = facts.waiting.get(container.name)
    return default_waiting(pod) if waiting == Waiting(CONTAINER_CREATING) else waiting


def _status_without_record(
    pod: Pod, container: Container, known: Mapping[str, Any] | None, facts: Facts
) -> dict[str, Any]:
    """Nothing was made yet, or a record was lost: with the runtime's state, or by a server that died while creating."""
    count, last_state = lost_attempt(known)
    if facts.terminating and known is not None and "terminated" in (known.get("state") or {}):
        return dict(known)
    state = _waiting(_waiting_for(pod, container, facts) or default_waiting(pod))
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


def _settle(containers: Sequence[dict[str, Any]], init: Sequence[dict[str, Any]]) -> None:
    """Tell of a pod that has ended what nobody knows: how those ended that must have run and left no word.

    Of init containers those before the last that is known to have run; of the others all, unless the pod never got
    past its init containers.
    """
    ran = [index for index, one in enumerate(init) if "waiting" not in one["state"] or one["lastState"]]
    unknown = list(init[: ran[-1] + 1]) if ran else []
    if not init or (len(unknown) == len(init) and _passed(init[-1])) or any(map(_has_run, containers)):
        unknown += containers
    for status in unknown:
        if "waiting" in status["state"]:
            status |= {"state": {"terminated": _never_ran()}, "ready": False, "started": False}


def _has_run(status: Mapping[str, Any]) -> bool:
    return "waiting" not in status["state"] or bool(status["lastState"])


def _passed(status: Mapping[str, Any]) -> bool:
    """Whether the pod has got past this, its last init container: it has succeeded, or is a sidecar that started."""
    terminated = status["state"].get("terminated")
    return bool(status["ready"] or status["started"]) if terminated is None else terminated["exitCode"] == 0


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
