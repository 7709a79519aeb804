"""What a container's process may do: the pod's and the container's security contexts joined.

Source: Kubernetes documentation, "Configure a Security Context for a Pod or Container".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from podstead.node.environment import ConfigError
from podstead.node.runtime.base import Image, Security
from podstead.node.runtime.capabilities import NAMES
from podstead.objects.pod import Container, Pod, SeccompProfile


def security(pod: Pod, container: Container, image: Image, profiles: Path = Path("/nonexistent")) -> Security:
    """Join the contexts, of which the container's wins; `profiles` holds seccomp's local ones. Raises ConfigError."""
    of_pod, own = pod.spec.security_context, container.security_context

    def pick(name: str) -> int | None:
        value: int | None = getattr(own, name)
        return value if value is not None else getattr(of_pod, name)

    run_as_user = pick("run_as_user")
    if pick("run_as_non_root"):
        _check_non_root(pod, container, image, run_as_user)
    groups = of_pod.supplemental_groups
    return Security(
        run_as_user=run_as_user,
        run_as_group=pick("run_as_group"),
        supplemental_groups=groups if of_pod.fs_group is None else (*groups, of_pod.fs_group),
        groups_of_image=of_pod.supplemental_groups_policy != "Strict",
        privileged=own.privileged,
        readonly_rootfs=own.read_only_root_filesystem,
        allow_privilege_escalation=own.allow_privilege_escalation is not False,
        capabilities_add=_names(own.capabilities.add, "add"),
        capabilities_drop=_names(own.capabilities.drop, "drop"),
        seccomp="Unconfined" if own.privileged else _seccomp(own.seccomp_profile or of_pod.seccomp_profile, profiles),
    )


def _seccomp(profile: SeccompProfile | None, profiles: Path) -> str:
    """Return the profile by CRI's name for it."""
    if profile is None or profile.type == "Unconfined":
        return "Unconfined"
    return f"localhost/{profiles / profile.localhost_profile}" if profile.type == "Localhost" else profile.type


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


def _names(capabilities: Sequence[str], verb: str) -> tuple[str, ...]:
    names = tuple(name.upper().removeprefix("CAP_") for name in capabilities)
    for name in names:
        if name != "ALL" and name not in NAMES:
            raise ConfigError(f'unknown capability "CAP_{name}" to {verb}', "CreateContainerError")
    return names
