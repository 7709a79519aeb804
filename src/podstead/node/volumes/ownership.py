"""fsGroup: a volume belongs to the pod's group, and what is made in it later does too. Blocking.

Source: Kubernetes documentation, "Configure a Security Context" (fsGroup, fsGroupChangePolicy); KEP-695.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

READ_WRITE, READ_ONLY, ENTER = 0o660, 0o440, 0o110
ALWAYS, ON_ROOT_MISMATCH = "Always", "OnRootMismatch"


def mode_for(mode: int, *, directory: bool, readonly: bool = False) -> int:
    """Return the permission bits with which the group can use what has `mode`; a directory passes its group on."""
    mode |= READ_ONLY if readonly else READ_WRITE
    return mode | ENTER | stat.S_ISGID if directory else mode


def apply(root: Path, group: int, *, readonly: bool = False, policy: str = ALWAYS) -> None:
    """Give `root` and all below it to `group`, links themselves and not what they lead to. Raises OSError.

    With OnRootMismatch a tree whose root is as it has to be is left as it is: it was done before. The root comes last,
    so that a tree that was cut short is not taken for one that was done.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if policy == ON_ROOT_MISMATCH and _fits(os.fstat(descriptor), group, readonly=readonly):
            return
        for _, directories, files, parent in os.fwalk(".", topdown=False, follow_symlinks=False, dir_fd=descriptor):
            for name in (*directories, *files):
                _own(name, parent, group, readonly=readonly)
        _give(descriptor, os.fstat(descriptor), group, readonly=readonly)
    finally:
        os.close(descriptor)


def _fits(found: os.stat_result, group: int, *, readonly: bool) -> bool:
    wanted = mode_for(0, directory=True, readonly=readonly)
    return found.st_gid == group and found.st_mode & wanted == wanted


def _own(name: str, parent: int, group: int, *, readonly: bool) -> None:
    """One entry of the directory `parent`, which is held: neither call leaves it, whatever a container puts there."""
    try:
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return
    try:
        found = os.fstat(descriptor)
        if stat.S_ISLNK(found.st_mode):
            os.chown(name, -1, group, dir_fd=parent, follow_symlinks=False)
        else:
            _give(descriptor, found, group, readonly=readonly)
    finally:
        os.close(descriptor)


def _give(descriptor: int, found: os.stat_result, group: int, *, readonly: bool) -> None:
    """chown(2) first: it takes set-id bits away."""
    itself = Path(f"/proc/self/fd/{descriptor}")
    os.chown(itself, -1, group)
    itself.chmod(mode_for(stat.S_IMODE(found.st_mode), directory=stat.S_ISDIR(found.st_mode), readonly=readonly))
