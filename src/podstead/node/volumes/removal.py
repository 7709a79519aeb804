"""Removes large volumes beside everything else: in a process of its own with low priority, one at a time.

In a thread the removal of 100,000 files holds up the event loop a little a hundred thousand times.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from podstead.linux import process, remove
from podstead.node.volumes.base import VolumeError

AT_ONCE = 2000
"""Names that are removed in a thread, which takes some 20 ms: about what a process takes to start."""


class Remover:
    """Of one node."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()

    async def remove(self, path: Path) -> None:
        """Remove a tree as `remove_tree` does; raises VolumeError (FailedUnMount)."""
        async with self._one_at_a_time:
            # The module alone, without what it is a part of: nothing else is imported.
            done = await process.run([sys.executable, "-I", "-S", remove.__file__, str(path)])
        if done.returncode == 0:
            return
        text = os.fsdecode(done.stdout) or done.stderr.decode(errors="replace").strip()
        if done.returncode == remove.MOUNT_INSIDE:
            raise VolumeError(f"{text} is a mount point: unmount it first", "FailedUnMount")
        raise VolumeError(f"cannot remove a volume: {text}", "FailedUnMount")
