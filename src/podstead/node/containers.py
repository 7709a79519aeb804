"""From a container of a pod's spec and its image to what the runtime creates: argv, environment, mounts, limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from podstead.node.environment import ConfigError, Sources, expand, variables
from podstead.node.mounting import volume_uses
from podstead.node.podlimits import oom_score_adj, quota, shares
from podstead.node.runtime.base import ContainerConfig, Image, Mount, Resources
from podstead.node.runtime.limits import DEFAULT_PERIOD
from podstead.node.security import security
from podstead.objects.pod import Container, Pod
from podstead.objects.quantity import Quantity

POD_UID, POD_NAME, POD_NAMESPACE, CONTAINER_NAME, ATTEMPT = (
    "io.kubernetes.pod.uid",
    "io.kubernetes.pod.name",
    "io.kubernetes.pod.namespace",
    "io.kubernetes.container.name",
    "io.kubernetes.container.attempt",
)
TERMINATION_FILE = "io.podstead.container.termination-file"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container finds on its node: paths of its volumes, its log and its termination message file."""

    volumes: Mapping[str, Path]
    log_path: Path
    termination_file: Path
    memory_capacity: int
    """Bytes; for the OOM score of burstable pods."""
    sources: Sources = field(default_factory=Sources)
    """What its variables are made from."""
    seccomp_profiles: Path = Path("/nonexistent")


def arguments(container: Container, image: Image, declared: Mapping[str, str]) -> list[str]:
    """Return argv; `declared` are the variables that $(NAME) can name, which the image's are not.

    Source: "Define a Command and Arguments for a Container". Raises ConfigError if there is none.
    """
    command = [expand(word, declared) for word in container.command]
    args = [expand(word, declared) for word in container.args]
    argv = [*command, *args] if command else [*image.config.entrypoint, *(args or image.config.cmd)]
    if not argv:
        raise ConfigError("no command specified", "CreateContainerError")
    return argv


def resources(pod: Pod, container: Container, memory_capacity: int) -> Resources:
    """Return limits in cgroup terms. Source: Resource Management for Pods and Containers; kubelet QoS OOM scores."""
    limits = container.resources
    cpu_request, cpu_limit = _milli(limits.request("cpu")), _milli(limits.limit("cpu"))
    return Resources(
        cpu_shares=shares(cpu_request),
        cpu_quota=quota(cpu_limit),
        cpu_period=DEFAULT_PERIOD if cpu_limit else 0,
        memory_limit=_value(limits.limit("memory")),
        oom_score_adj=oom_score_adj(pod, container, memory_capacity),
    )


def container_config(
    pod: Pod, container: Container, image: Image, attempt: int, surroundings: Surroundings, target_id: str = ""
) -> ContainerConfig:
    """Return what the runtime is to create; raises ConfigError, VolumeError.

    Its mounts of volumes are `VolumeUse`s, for `MountPreparer`. `target_id`: the container whose processes it sees.
    """
    declared = variables(pod, container, surroundings.sources)
    environment = [*_of_image(image, declared), *declared.items()]
    mounts: list[Mount] = [*volume_uses(pod, container, surroundings.volumes, declared)]
    if container.termination_message_path:
        mounts.append(Mount(_absolute(container.termination_message_path), surroundings.termination_file))
    args = arguments(container, image, declared)
    working_dir = container.working_dir or image.config.working_dir
    _check_no_nul(
        {
            "command": args,
            "env": [text for variable in environment for text in variable],
            "workingDir": [working_dir],
            "mountPath": [mount.container_path for mount in mounts],
        }
    )
    return ContainerConfig(
        name=container.name,
        attempt=attempt,
        image=container.image,
        image_id=image.id,
        args=args,
        env=environment,
        working_dir=working_dir or "/",
        log_path=surroundings.log_path,
        mounts=mounts,
        resources=resources(pod, container, surroundings.memory_capacity),
        security=security(pod, container, image, surroundings.seccomp_profiles),
        user=image.config.user,
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        target_id=target_id,
        labels={
            POD_UID: pod.metadata.uid,
            POD_NAME: pod.metadata.name,
            POD_NAMESPACE: pod.metadata.namespace,
            CONTAINER_NAME: container.name,
            ATTEMPT: str(attempt),
            TERMINATION_FILE: str(surroundings.termination_file),
        },
    )


def _check_no_nul(texts: Mapping[str, Sequence[str]]) -> None:
    """Refuse what the kernel would cut short at a NUL: another command would run than the one that was asked for.

    And a Secret's bytes that are no text, which nothing on the way to the kernel could hold.
    """
    for name, values in texts.items():
        if any("\0" in value for value in values):
            raise ConfigError(f"{name} has a NUL character in it", "CreateContainerError")
        if not all(value.isascii() or _is_text(value) for value in values):
            raise ConfigError(f"{name} contains invalid UTF-8", "CreateContainerError")


def _is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _absolute(path: str) -> str:
    """A relative mount path is below / (Kubernetes accepts one and the runtimes read it so)."""
    return path if path.startswith("/") else f"/{path}"


def _of_image(image: Image, declared: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the image's variables that nobody declares otherwise."""
    named = dict(entry.partition("=")[::2] for entry in image.config.env)
    return [(name, value) for name, value in named.items() if name not in declared]


def _milli(quantity: Quantity | None) -> int:
    return quantity.milli() if quantity else 0


def _value(quantity: Quantity | None) -> int:
    return quantity.value() if quantity else 0
