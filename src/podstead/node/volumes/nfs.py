"""nfs: a directory that a server exports, mounted for the pod.

    holds it      the server
    lives         as long as the server keeps it; the mount as long as the pod
    loses it      nothing that happens to the pod or the node
    waits         while the server cannot be reached; where this node cannot mount NFS at all

It takes a kernel with NFS and mount.nfs (Debian's nfs-common).
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from podstead.linux import mounts, process
from podstead.node.volumes.base import VolumeError
from podstead.objects.pod import Pod
from podstead.objects.volumes import NFS, Volume

_FILESYSTEMS = Path("/proc/filesystems")
_MODULES = Path("/lib/modules")
_PATIENCE = 120.0
"""Seconds for one try to mount."""


class NFSPlugin:
    """See VolumePlugin."""

    kind = "nfs"
    directory = "nfs"

    def serves(self, volume: Volume) -> bool:
        return volume.nfs is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        """See VolumePlugin. Raises VolumeError, with mount's own words where it was called."""
        assert volume.nfs is not None
        helper = shutil.which("mount.nfs", path="/sbin:/usr/sbin:/usr/local/sbin")
        if helper is None:
            raise VolumeError("nfs is not possible on this node: there is no mount.nfs (Debian's package nfs-common)")
        if not await asyncio.to_thread(_kernel_has_nfs):
            raise VolumeError("nfs is not possible on this node: its kernel has no NFS client")
        path.mkdir(mode=0o750, exist_ok=True)
        if any(entry.target == path for entry in mounts.mount_table()):
            return path
        await self._mount(helper, volume.nfs, path)
        return path

    async def _mount(self, helper: str, source: NFS, path: Path) -> None:
        options = ["-o", "ro"] if source.read_only else []
        try:
            done = await process.run([helper, f"{source.server}:{source.path}", str(path), *options], timeout=_PATIENCE)
        except TimeoutError as error:
            raise VolumeError(f"mount failed: {source.server} did not answer within {_PATIENCE:.0f} s") from error
        if done.returncode != 0:
            raise VolumeError(f"mount failed: {done.stderr.decode(errors='replace').strip()}")

    async def tear_down(self, path: Path) -> None:
        """Unmount it; what the server has stays as it is."""
        try:
            while await asyncio.to_thread(mounts.umount, path):
                pass
        except OSError as error:
            raise VolumeError(f"cannot unmount {path}: {error.strerror}", "FailedUnMount") from error


def _kernel_has_nfs() -> bool:
    """Whether the kernel has it, or a module for it that mount would load."""
    if any(line.split()[-1] in ("nfs", "nfs4") for line in _FILESYSTEMS.read_text().splitlines() if line):
        return True
    release = Path("/proc/sys/kernel/osrelease").read_text().strip()
    listed = _MODULES / release / "modules.dep"
    return listed.exists() and "/nfs/nfs.ko" in listed.read_text()
