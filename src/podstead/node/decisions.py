"""What is to be done with a container: desired (spec, restart policy) against actual (its latest attempt). Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from enum import Enum, auto

from podstead.node.runtime.base import ContainerState, ContainerStatus
from podstead.objects.pod import Pod


class Action(Enum):
    """The next step for one container."""

    NONE = auto()
    CREATE = auto()
    """The first time, or again at once what was lost before it ran."""
    START = auto()
    RESTART = auto()
    """Make the next attempt, when the back-off allows it."""
    LEAVE = auto()
    """It has ended for good."""


def decide(pod: Pod, latest: ContainerStatus | None, replaced: Container[str] = ()) -> Action:
    """Return the next step for the container whose latest attempt is `latest` (None: there was none).

    `replaced`: ids of containers that were ended because the pod's spec changed; they are made again whatever the
    policy says. Source: Pod Lifecycle, "Container restart policy".
    """
    if latest is None or (latest.state is ContainerState.EXITED and latest.id in replaced):
        return Action.CREATE
    if latest.state is ContainerState.RUNNING:
        return Action.NONE
    if latest.state is ContainerState.CREATED:
        return Action.START
    policy = pod.spec.restart_policy
    if policy == "Always" or (policy == "OnFailure" and latest.exit_code != 0):
        return Action.RESTART
    return Action.LEAVE


def decide_ephemeral(latest: ContainerStatus | None) -> Action:
    """Return the next step for an ephemeral container: it is made once and never again (KEP-277)."""
    if latest is None:
        return Action.CREATE
    return Action.START if latest.state is ContainerState.CREATED else Action.LEAVE


def by_name(containers: Iterable[ContainerStatus]) -> dict[str, list[ContainerStatus]]:
    """Group attempts by container name, the oldest first."""
    grouped: dict[str, list[ContainerStatus]] = {}
    for status in sorted(containers, key=lambda status: status.attempt):
        grouped.setdefault(status.name, []).append(status)
    return grouped


def finished(pod: Pod, attempts: Mapping[str, Sequence[ContainerStatus]], replaced: Container[str] = ()) -> bool:
    """Tell whether every container of the pod has ended for good."""
    latest = (attempts.get(container.name, [None])[-1] for container in pod.spec.containers)
    return all(decide(pod, status, replaced) is Action.LEAVE for status in latest)


def changed(pod: Pod, attempts: Mapping[str, Sequence[ContainerStatus]]) -> list[ContainerStatus]:
    """Return the running containers that are not what the spec says any more.

    Of a container's spec only the image can be changed (and makes a difference to the kubelet, which hashes it).
    """
    wanted = {container.name: container.image for container in pod.spec.containers}
    return [
        statuses[-1]
        for name, statuses in attempts.items()
        if name in wanted and statuses[-1].state is ContainerState.RUNNING and statuses[-1].image != wanted[name]
    ]


def superfluous(attempts: Sequence[ContainerStatus]) -> Sequence[ContainerStatus]:
    """Return the attempts that are kept for nobody: all ended ones but the last before the latest (`logs -p`)."""
    return attempts[:-2]
