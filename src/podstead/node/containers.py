"""From a container of a pod's spec and its image to what the runtime creates: argv, environment, mounts, limits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path

from podstead.node.runtime.base import ContainerConfig, Image, Mount, Resources, Security
from podstead.node.runtime.capabilities import NAMES
from podstead.objects.pod import Container, Pod, qos_class
from podstead.objects.quantity import Quantity

POD_UID, POD_NAME, POD_NAMESPACE, CONTAINER_NAME, ATTEMPT = (
    "io.kubernetes.pod.uid",
    "io.kubernetes.pod.name",
    "io.kubernetes.pod.namespace",
    "io.kubernetes.container.name",
    "io.kubernetes.container.attempt",
)
TERMINATION_FILE = "io.podstead.container.termination-file"

_QUOTA_PERIOD = 100_000
_MIN_QUOTA, _MIN_SHARES, _MAX_SHARES = 1_000, 2, 262_144
_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")


class ConfigError(Exception):
    """A container cannot be configured; `reason`: CreateContainerConfigError or CreateContainerError."""

    def __init__(self, message: str, reason: str = "CreateContainerConfigError") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container finds on its node: paths of its volumes, its log and its termination message file."""

    volumes: Mapping[str, Path]
    log_path: Path
    termination_file: Path
    memory_capacity: int
    """Bytes; for the OOM score of burstable pods."""
    services: Mapping[str, str] = dataclass_field(default_factory=dict)
    """Variables that tell where services are; the container's own win over them, they over the image's."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace $(NAME) by its value; $$ gives $, an unknown name stays as it is written.

    Source: Kubernetes documentation, "Define Dependent Environment Variables".
    """

    def replace(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return variables.get(match.group(1), match.group(0))

    return _REFERENCE.sub(replace, text)


def service_variables(host: str, port: int) -> dict[str, str]:
    """Return the variables of the service `kubernetes`, which every container has.

    Source: Kubernetes documentation, "Service", Environment variables.
    """
    url, prefix = f"tcp://{host}:{port}", f"KUBERNETES_PORT_{port}_TCP"
    return {
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": str(port),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(port),
        "KUBERNETES_PORT": url,
        prefix: url,
        f"{prefix}_PROTO": "tcp",
        f"{prefix}_PORT": str(port),
        f"{prefix}_ADDR": host,
    }


def environment(container: Container, image: Image, services: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the image's variables overlaid by those of services and the container's.

    A reference sees what is defined before it, and services.
    """
    merged = dict(_split(entry) for entry in image.config.env)
    defined = dict(services)
    for variable in container.env:
        defined[variable.name] = expand(variable.value, defined)
    return list((merged | defined).items())


def arguments(
    container: Container, image: Image, variables: Mapping[str, str], services: Mapping[str, str]
) -> list[str]:
    """Return argv. Source: "Define a Command and Arguments for a Container"; raises ConfigError if there is none."""
    declared = {**services, **{variable.name: variables[variable.name] for variable in container.env}}
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
        cpu_shares=min(max(cpu_request * 1024 // 1000, _MIN_SHARES), _MAX_SHARES),
        cpu_quota=max(cpu_limit * _QUOTA_PERIOD // 1000, _MIN_QUOTA) if cpu_limit else 0,
        cpu_period=_QUOTA_PERIOD if cpu_limit else 0,
        memory_limit=_value(limits.limit("memory")),
        oom_score_adj=_oom_score(pod, container, memory_capacity),
    )


def _oom_score(pod: Pod, container: Container, memory_capacity: int) -> int:
    quality = qos_class(pod)
    if quality == "Guaranteed":
        return -997
    if quality == "BestEffort":
        return 1000
    requested = _value(container.resources.request("memory"))
    return min(max(1000 - 1000 * requested // memory_capacity, 3), 999)


def security(pod: Pod, container: Container, image: Image) -> Security:
    """Join the pod's and the container's security contexts (the container's wins); raises ConfigError."""
    of_pod, own = pod.spec.security_context, container.security_context

    def pick(name: str) -> int | None:
        value: int | None = getattr(own, name)
        return value if value is not None else getattr(of_pod, name)

    run_as_user = pick("run_as_user")
    if pick("run_as_non_root"):
        _check_non_root(pod, container, image, run_as_user)
    profile = own.seccomp_profile or of_pod.seccomp_profile
    confined = profile is not None and profile.type == "RuntimeDefault" and not own.privileged
    return Security(
        run_as_user=run_as_user,
        run_as_group=pick("run_as_group"),
        supplemental_groups=of_pod.supplemental_groups,
        privileged=own.privileged,
        readonly_rootfs=own.read_only_root_filesystem,
        allow_privilege_escalation=own.allow_privilege_escalation is not False,
        capabilities_add=_names(own.capabilities.add, "add"),
        capabilities_drop=_names(own.capabilities.drop, "drop"),
        seccomp="RuntimeDefault" if confined else "Unconfined",
    )


def _check_non_root(pod: Pod, container: Container, image: Image, run_as_user: int | None) -> None:
    where = f'(pod: "{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})", container: {container.name})'
    if run_as_user == 0:
        raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
    if run_as_user is not None:
        return
    user = image.config.user.partition(":")[0]
    if user in ("", "0"):
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")
    if not user.isdigit():
        message = f"container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root"
        raise ConfigError(f"{message} {where}")


def container_config(
    pod: Pod, container: Container, image: Image, attempt: int, surroundings: Surroundings, target_id: str = ""
) -> ContainerConfig:
    """Return what the runtime is to create; raises ConfigError. `target_id`: the container whose processes it sees."""
    services = surroundings.services
    variables = environment(container, image, services)
    # Nobody but the node writes there, whatever the mount says: Kubernetes, "Projected Volumes".
    readonly = {volume.name for volume in pod.spec.volumes if volume.is_content}
    mounts = [
        Mount(
            _absolute(mount.mount_path),
            surroundings.volumes[mount.name],
            readonly=mount.read_only or mount.name in readonly,
        )
        for mount in container.volume_mounts
    ]
    if container.termination_message_path:
        mounts.append(Mount(_absolute(container.termination_message_path), surroundings.termination_file))
    args = arguments(container, image, dict(variables), services)
    working_dir = container.working_dir or image.config.working_dir
    _check_no_nul(
        {
            "command": args,
            "env": [text for variable in variables for text in variable],
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
        env=variables,
        working_dir=working_dir or "/",
        log_path=surroundings.log_path,
        mounts=mounts,
        resources=resources(pod, container, surroundings.memory_capacity),
        security=security(pod, container, image),
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
    """Refuse what the kernel would cut short at a NUL: another command would run than the one that was asked for."""
    for field, values in texts.items():
        if any("\0" in value for value in values):
            raise ConfigError(f"{field} has a NUL character in it", "CreateContainerError")


def _absolute(path: str) -> str:
    """A relative mount path is below / (Kubernetes accepts one and the runtimes read it so)."""
    return path if path.startswith("/") else f"/{path}"


def _split(entry: str) -> tuple[str, str]:
    name, _, value = entry.partition("=")
    return name, value


def _names(capabilities: Sequence[str], verb: str) -> tuple[str, ...]:
    names = tuple(name.upper().removeprefix("CAP_") for name in capabilities)
    for name in names:
        if name != "ALL" and name not in NAMES:
            raise ConfigError(f'unknown capability "CAP_{name}" to {verb}', "CreateContainerError")
    return names


def _milli(quantity: Quantity | None) -> int:
    return quantity.milli() if quantity else 0


def _value(quantity: Quantity | None) -> int:
    return quantity.value() if quantity else 0
