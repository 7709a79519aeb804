"""csi: a volume that a CSI driver makes for the pod alone. No driver can register with this node, so the pod waits.

waits         for a driver of that name, with an event that names it, as on any node where it is not installed
"""

from __future__ import annotations

from pathlib import Path

from podstead.node.volumes.base import VolumeError
from podstead.objects.pod import Pod
from podstead.objects.volumes import Volume


class CSIPlugin:
    """See VolumePlugin."""

    kind = "csi"
    directory = "csi"

    def serves(self, volume: Volume) -> bool:
        return volume.csi is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        """Raises VolumeError, in the kubelet's words."""
        assert volume.csi is not None
        raise VolumeError(
            "kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: "
            f"driver name {volume.csi.driver} not found in the list of registered CSI drivers"
        )

    async def tear_down(self, path: Path) -> None:
        """Nothing was mounted."""
