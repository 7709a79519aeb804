"""The volume plugin protocol: one plugin a volume type, told what to set up by the pod's own spec."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from podstead.objects.pod import Pod
from podstead.objects.volumes import Volume


class VolumeError(Exception):
    """A volume cannot be set up or taken away now; trying again later may help. `reason` is that of the pod's event."""

    def __init__(self, message: str, reason: str = "FailedMount") -> None:
        super().__init__(message)
        self.reason = reason


def set_up_failed(volume: Volume, error: Exception) -> str:
    """Return the kubelet's words for a volume that a pod has to wait for."""
    return f'MountVolume.SetUp failed for volume "{volume.name}" : {error}'


class VolumePlugin(Protocol):
    """One type of volume. All methods may be repeated, also after a SIGKILL in the middle of them.

    The manager calls neither two methods for one volume nor two pods' worth of one volume at the same time.
    """

    @property
    def kind(self) -> str:
        """The volume source's field in the API: `emptyDir`."""
        ...

    @property
    def directory(self) -> str:
        """The kubelet's name for it on disk: `empty-dir`."""
        ...

    def serves(self, volume: Volume) -> bool:
        """Whether `volume` is of this type."""
        ...

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        """Make the volume at `path`, whose parent exists, and return where it can be bound from.

        One that is there already, as after a restart of the server, is left as it is, contents and mode. Raises
        VolumeError; what was made so far is then for `tear_down`.
        """
        ...

    async def tear_down(self, path: Path) -> None:
        """Take away what `set_up` mounted at `path`; the manager removes the directory. Raises VolumeError."""
        ...
