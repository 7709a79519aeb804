"""The mounts that an OCI runtime sees which refuses hybrid cgroups (crun): all but the cgroup2 mount, in two sizes.

A mount namespace that is copied keeps alive what is unmounted elsewhere. So the copy with everything in it, which a
container's creation needs, lasts as long as the creation; and what lasts longer, an exec, runs where there is nothing
but the system's own mounts. Neither the server nor a monitor ever enters one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from podstead.linux import mounts, namespaces

_KERNEL = tuple(Path(name) for name in ("/proc", "/sys", "/dev"))
# Where programs and their libraries may be mounted from, apart from the root file system.
_PROGRAMS = "/ /usr /usr/bin /usr/sbin /usr/lib /usr/lib64 /usr/local /bin /sbin /lib /lib64 /etc /nix /nix/store /gnu"


class MountViews:
    """The views of one server. `run` is the instance's run directory, `hidden` what neither view has."""

    def __init__(self, run: Path, hidden: Path) -> None:
        self._needed = frozenset((run, *run.parents, *map(Path, _PROGRAMS.split())))
        self._hidden = hidden
        self._system = -1

    @asynccontextmanager
    async def whole(self) -> AsyncIterator[Path]:
        """Give the path of a mount namespace (for nsenter) with everything that is mounted now."""
        # Mounts are copied in some 0.1 ms; what is unmounted here meanwhile goes there too.
        descriptor = namespaces.copied_mounts(self._hide, propagation=mounts.MS_SLAVE)
        try:
            yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")
        finally:
            os.close(descriptor)

    async def prepare(self) -> None:
        """Make the system's view, which takes some milliseconds where much is mounted."""
        if self._system < 0:
            descriptor = await asyncio.to_thread(self._copy_system)
            if self._system < 0:
                self._system = descriptor
            else:
                os.close(descriptor)

    @property
    def system(self) -> int:
        """The descriptor of a mount namespace with the system's own mounts and the run directory."""
        if self._system < 0:
            self._system = self._copy_system()
        return self._system

    def close(self) -> None:
        if self._system >= 0:
            os.close(self._system)
            self._system = -1

    def _hide(self) -> None:
        mounts.umount(self._hidden, lazy=True)

    def _copy_system(self) -> int:
        return namespaces.copied_mounts(self._strip, propagation=mounts.MS_PRIVATE)

    def _strip(self) -> None:
        self._hide()
        for entry in mounts.mount_table("thread-self"):
            if entry.target not in self._needed and not any(map(entry.target.is_relative_to, _KERNEL)):
                mounts.umount(entry.target, lazy=True)  # with all below it
