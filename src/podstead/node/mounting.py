"""What a container sees of the pod's volumes: from its volumeMounts to what the runtime is to mount.

`volume_uses` says what is asked for, without looking at anything; `MountPreparer` then sees to it on the node: images
of image volumes mounted, sub-paths bound, volumes shared through which mounts propagate.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from podstead.linux import mounts
from podstead.node.images.usage import VolumeRecord
from podstead.node.runtime.base import Image, Mount
from podstead.node.volumes import shared, subpath
from podstead.node.volumes.base import VolumeError
from podstead.node.volumes.image import mount_image
from podstead.objects.pod import Container, Pod, VolumeMount
from podstead.objects.volumes import Volume
from podstead.paths import Paths

log = logging.getLogger(__name__)

_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")
_PROPAGATION = {"": "rprivate", "None": "rprivate", "HostToContainer": shared.SLAVE, "Bidirectional": shared.SHARED}
_CONFIG = "CreateContainerConfigError"


@dataclass(frozen=True, slots=True)
class VolumeUse(Mount):
    """A mount of a volume, whose directory is `host_path`, before `MountPreparer` has been at work."""

    volume: str = ""
    index: int = 0
    """Which of the container's volumeMounts it is."""
    sub_path: str = ""


def volume_uses(
    pod: Pod, container: Container, volumes: Mapping[str, Path], variables: Mapping[str, str]
) -> list[VolumeUse]:
    """Return what the container mounts of `volumes` (by name); `variables` are those that a subPathExpr may name.

    Raises VolumeError (CreateContainerConfigError).
    """
    declared = {volume.name: volume for volume in pod.spec.volumes}
    return [
        _use(mount, index, declared.get(mount.name, Volume()), volumes[mount.name], variables)
        for index, mount in enumerate(container.volume_mounts)
    ]


def _use(mount: VolumeMount, index: int, volume: Volume, path: Path, variables: Mapping[str, str]) -> VolumeUse:
    options = set(mount.bind_mount_options)
    if volume.image is not None:
        options.add("noexec")
    return VolumeUse(
        container_path=mount.mount_path if mount.mount_path.startswith("/") else f"/{mount.mount_path}",
        host_path=path,
        # Nobody but the node writes to some, whatever the mount says: Kubernetes, "Projected Volumes".
        readonly=mount.read_only or volume.is_content or volume.image is not None,
        propagation=_PROPAGATION[mount.mount_propagation],
        recursive_readonly=recursive_read_only(mount),
        options=tuple(sorted(options)),
        volume=mount.name,
        index=index,
        sub_path=_sub_path(mount, variables),
    )


def recursive_read_only(mount: VolumeMount) -> bool:
    """Whether what is mounted below is read-only too; raises VolumeError where that is a must and not possible."""
    if not mount.read_only or mount.recursive_read_only not in ("Enabled", "IfPossible"):
        return False
    possible = mounts.recursive_readonly_possible()
    if not possible and mount.recursive_read_only == "Enabled":
        text = f'volume "{mount.name}" requested recursive read-only mode, but it is not supported by the runtime'
        raise VolumeError(f"failed to resolve recursive read-only mode: {text}", _CONFIG)
    return possible


def _sub_path(mount: VolumeMount, variables: Mapping[str, str]) -> str:
    """Return where in the volume to begin; raises VolumeError with the kubelet's words."""
    path = mount.sub_path
    if mount.sub_path_expr:
        path = _expand(mount.sub_path_expr, variables)
    if path.startswith("/"):
        raise VolumeError(f"error SubPath `{path}` must not be an absolute path", _CONFIG)
    if ".." in path.split("/"):
        raise VolumeError(f"unable to provision SubPath `{path}`: must not contain '..'", _CONFIG)
    if "\0" in path:
        raise VolumeError(f"unable to provision SubPath {path!r}: must not contain a null character", _CONFIG)
    return path


def _expand(expression: str, variables: Mapping[str, str]) -> str:
    """Replace $(NAME); unlike elsewhere a name without a value is an error, for the directory would be another."""
    names = [match[1] for match in _REFERENCE.finditer(expression) if match[1] is not None]
    missing = sorted({name for name in names if not variables.get(name)})
    if missing:
        raise VolumeError(f"missing value for {', '.join(missing)}", _CONFIG)
    return _REFERENCE.sub(lambda match: "$" if match[1] is None else variables[match[1]], expression)


class MountPreparer:
    """For one pod. `images` are those of its image volumes, by the volume's name."""

    def __init__(self, paths: Paths, uid: str, images: Mapping[str, Image]) -> None:
        self._paths = paths
        self._uid = uid
        self._images = images

    def needed(self, asked: Sequence[Mount]) -> bool:
        """Whether `prepare` would do anything."""
        return any(
            isinstance(use, VolumeUse) and (use.sub_path or use.propagation != "rprivate" or use.volume in self._images)
            for use in asked
        )

    def prepare(self, container: str, asked: Sequence[Mount]) -> list[Mount]:
        """Return what the runtime is to mount. Blocking; may be repeated. Raises VolumeError."""
        return [self._prepare(container, use) if isinstance(use, VolumeUse) else use for use in asked]

    def _prepare(self, container: str, use: VolumeUse) -> Mount:
        image = self._images.get(use.volume)
        if image is not None:
            self._mount_image(use, image)
        if use.propagation != "rprivate":
            self._propagate(use)
        source = self._bind(container, use, image) if use.sub_path else use.host_path
        return Mount(use.container_path, source, use.readonly, use.propagation, use.recursive_readonly, use.options)

    def _mount_image(self, use: VolumeUse, image: Image) -> None:
        record = VolumeRecord(use.volume, self._uid, image.id)
        try:
            mount_image(use.host_path, record, image.layers, self._paths.image_graph)
        except OSError as error:
            text = f"ImageVolumeMountFailed: {error.filename}: {error.strerror}"
            raise VolumeError(text, "CreateContainerError") from error

    def _propagate(self, use: VolumeUse) -> None:
        try:
            if use.host_path.is_relative_to(self._paths.pods):
                shared.share(use.host_path)
            else:
                shared.check_propagates(use.host_path, use.propagation)
        except OSError as error:
            raise VolumeError(f"cannot share {use.host_path}: {error.strerror}", "CreateContainerError") from error

    def _bind(self, container: str, use: VolumeUse, image: Image | None) -> Path:
        target = self._paths.sub_paths(self._uid) / use.volume / container / str(use.index)
        try:
            subpath.bind(use.host_path, use.sub_path, target, make=image is None)
        except OSError as error:
            # As the kubelet, tell the user nothing of what the node looks like where a link may lead.
            log.warning("pod %s, container %s: subPath %s: %s", self._uid, container, use.sub_path, error)
            if image is not None:
                text = f"ImageVolumeMountFailed: subPath {use.sub_path} does not exist in the image"
                raise VolumeError(text, "CreateContainerError") from error
            did = "create subPath directory" if isinstance(error, subpath.NotMade) else "prepare subPath"
            text = f'failed to {did} for volumeMount "{use.volume}" of container "{container}"'
            raise VolumeError(text, _CONFIG) from error
        return target
