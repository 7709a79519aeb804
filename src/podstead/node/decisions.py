"""What is to be done with a container: desired (spec, restart policy) against actual (its latest attempt). Pure."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from podstead.node.runtime.base import ContainerState, ContainerStatus
from podstead.objects.pod import Container as PodContainer
from podstead.objects.pod import Pod

Attempts = Mapping[str, Sequence[ContainerStatus]]
"""By container name, the oldest first."""


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


def is_sidecar(container: PodContainer) -> bool:
    """Of an init container: whether it runs beside the others as long as the pod does (KEP-753)."""
    return container.restart_policy == "Always"


def restarts(pod: Pod, container: PodContainer, exit_code: int) -> bool:
    """Tell whether `container` is made again after it has ended with `exit_code`.

    Its own rules come first, then its own policy, then the pod's (KEP-5307). An init container that succeeded is for
    its caller to know.
    """
    if any(rule.fits(exit_code) for rule in container.restart_policy_rules):
        return True
    policy = container.restart_policy or pod.spec.restart_policy
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def decide(pod: Pod, container: PodContainer, latest: ContainerStatus | None, replaced: Container[str] = ()) -> Action:
    """Return the next step for `container` whose latest attempt is `latest` (None: there was none).

    `replaced`: ids of containers that were ended because the pod's spec changed; they are made again whatever the
    policy says. Source: Pod Lifecycle, "Container restart policy".
    """
    if latest is None or (latest.state is ContainerState.EXITED and latest.id in replaced):
        return Action.CREATE
    if latest.state is ContainerState.RUNNING:
        return Action.NONE
    if latest.state is ContainerState.CREATED:
        return Action.START
    return Action.RESTART if restarts(pod, container, latest.exit_code) else Action.LEAVE


def decide_ephemeral(latest: ContainerStatus | None) -> Action:
    """Return the next step for an ephemeral container: it is made once and never again (KEP-277)."""
    if latest is None:
        return Action.CREATE
    return Action.START if latest.state is ContainerState.CREATED else Action.LEAVE


@dataclass(frozen=True, slots=True)
class Initialization:
    """How far the init containers have come, and what is to be done with those that are not as they should be."""

    done: bool
    """The pod's containers may start."""
    actions: Mapping[str, Action]
    """By name, those of init containers to be created, started or made again, in the order of the spec."""


def initialization(
    pod: Pod, attempts: Attempts, sandbox_id: str, unstarted: Collection[str] = (), replaced: Container[str] = ()
) -> Initialization:
    """Return what is to be done with the init containers.

    They run one by one, a sidecar until it has started. What ran in an earlier sandbox does not count: a new one is
    initialized anew. A pod whose containers have been made once is initialized; from then on (and before, for those
    that have had their turn) only sidecars are kept running. `sandbox_id` is that of the sandbox that containers run
    in from now on, empty where it is still to be made; `unstarted` are ids of containers that run but have not started
    yet. Source: Init Containers, "Detailed behavior"; KEP-753.
    """
    latest = {name: own[-1] for name, own in attempts.items() if own and own[-1].sandbox_id == sandbox_id}
    init = pod.spec.init_containers
    done = not init or any(container.name in latest for container in pod.spec.containers)
    turn = max((index for index, container in enumerate(init) if container.name in latest), default=-1)
    actions: dict[str, Action] = {}
    for index, container in enumerate(init):
        if is_sidecar(container) and (done or index < turn):
            actions[container.name] = decide(pod, container, latest.get(container.name), replaced)
    if not done and turn >= 0:
        action = _turn(pod, init[turn], latest[init[turn].name], unstarted, replaced)
        if action is not None:
            actions[init[turn].name] = action
            return Initialization(False, actions)
        done = turn == len(init) - 1
    if not done:
        actions[init[turn + 1].name] = Action.CREATE
    return Initialization(done, actions)


def _turn(
    pod: Pod, container: PodContainer, latest: ContainerStatus, unstarted: Collection[str], replaced: Container[str]
) -> Action | None:
    """Return what is to be done with the init container whose turn it is; None: the next one's turn has come."""
    if latest.state is ContainerState.UNKNOWN:
        return Action.NONE  # It is being created.
    if is_sidecar(container):
        if latest.state is ContainerState.RUNNING and latest.id not in unstarted:
            return None
        return decide(pod, container, latest, replaced)
    if latest.state is ContainerState.EXITED and latest.exit_code == 0:
        return None
    return decide(pod, container, latest)


def by_name(containers: Iterable[ContainerStatus]) -> dict[str, list[ContainerStatus]]:
    """Group attempts by container name, the oldest first."""
    grouped: dict[str, list[ContainerStatus]] = {}
    for status in sorted(containers, key=lambda status: status.attempt):
        grouped.setdefault(status.name, []).append(status)
    return grouped


def finished(pod: Pod, attempts: Attempts, replaced: Container[str] = ()) -> bool:
    """Tell whether every container of the pod has ended for good, or an init container has failed for good."""
    if any(
        _failed_for_good(pod, container, attempts.get(container.name, ())) for container in pod.spec.init_containers
    ):
        return True
    return all(
        decide(pod, container, attempts.get(container.name, [None])[-1], replaced) is Action.LEAVE
        for container in pod.spec.containers
    )


def _failed_for_good(pod: Pod, container: PodContainer, attempts: Sequence[ContainerStatus]) -> bool:
    if not attempts or is_sidecar(container):
        return False
    latest = attempts[-1]
    failed = latest.state is ContainerState.EXITED and latest.exit_code != 0
    return failed and not restarts(pod, container, latest.exit_code)


def changed(pod: Pod, attempts: Attempts) -> list[ContainerStatus]:
    """Return the running containers that are not what the spec says any more.

    Of a container's spec only the image can be changed (and makes a difference to the kubelet, which hashes it). An
    init container that runs to its end is left to it.
    """
    wanted = {container.name: container.image for container in (*pod.spec.containers, *pod.spec.sidecars)}
    return [
        statuses[-1]
        for name, statuses in attempts.items()
        if name in wanted and statuses[-1].state is ContainerState.RUNNING and statuses[-1].image != wanted[name]
    ]


def superfluous(attempts: Sequence[ContainerStatus]) -> Sequence[ContainerStatus]:
    """Return the attempts that are kept for nobody: all ended ones but the last before the latest (`logs -p`)."""
    return attempts[:-2]
