"""Removes a directory tree that others may have written: never through a symlink, never across a mount point."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
import sys
from pathlib import Path

_SYS_OPENAT2 = ctypes.c_long(437)
_RESOLVE_NO_XDEV, _RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x01, 0x02, 0x04, 0x08
_RESOLVE = _RESOLVE_NO_XDEV | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HOW = struct.pack("=QQQ", _OPEN_DIRECTORY, 0, _RESOLVE)
_HOW_SIZE = ctypes.c_size_t(len(_HOW))
_FS_IOC_GETFLAGS = 0x80006601 | struct.calcsize("l") << 16
_FS_IOC_SETFLAGS = 0x40006602 | struct.calcsize("l") << 16
_FS_IMMUTABLE_FL, _FS_APPEND_FL = 0x10, 0x20

_OPEN_LEVELS = 32
"""Directories held open at once, the innermost; those above are found again by `..`."""
_PENDING_NAMES = 1 << 16
"""Names of subdirectories remembered at once, over all levels."""
_PATIENCE = 100
"""Times that a directory may be found filled again by somebody before this gives up."""

_libc = ctypes.CDLL(None, use_errno=True)


class MountInside(Exception):
    """A mount point lies in the tree; it and what lies under it were not touched."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is a mount point")
        self.path = path


class Unfinished(Exception):
    """There is more in the tree than was to be removed at once."""


def remove_tree(path: Path, *, keep_root: bool = False, limit: int = 0) -> None:
    """Remove `path` and all below it, or with `keep_root` only what is below; nothing there is not an error.

    Blocking (100,000 files take about a second). A symlink is removed, not followed, also where `path` itself is one;
    the directories above `path` are the caller's to trust. Immutable and append-only flags are cleared where they
    are in the way. Depth is not limited by recursion, open files or PATH_MAX; memory does not grow with a
    directory's size.

    Raises MountInside at the first mount point met, the rest partly removed; Unfinished after `limit` names (0: never);
    OSError otherwise (ENOTEMPTY if somebody goes on filling the tree, ESTALE if somebody moves parts of it about).
    """
    try:
        above = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _Removal(path, above, limit).run(keep_root)
    finally:
        os.close(above)


class _Level:
    """A directory on the way down. `pending` are subdirectories to enter; `done`: the scan has reached the end."""

    __slots__ = ("descriptor", "done", "identity", "name", "pending", "refills")

    def __init__(self, name: str, descriptor: int, refills: int = 0) -> None:
        self.name = name
        self.descriptor = descriptor
        self.identity = _identity(descriptor)
        self.pending: list[str] = []
        self.done = False
        self.refills = refills


class _Removal:
    """One walk. An explicit stack instead of recursion, of which only the innermost levels keep a descriptor.

    What changes under the walk is met when a directory turns out not to be empty: it is scanned again.
    """

    def __init__(self, path: Path, above: int, limit: int) -> None:
        self._left = limit
        self._path = path
        self._above = above
        self._stack: list[_Level] = []
        self._pending = 0

    def run(self, keep_root: bool) -> None:
        try:
            root = self._enter(self._above, self._path.name)
            if root is not None:
                self._push(self._path.name, root)
            elif keep_root and os.path.lexists(self._path):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self._path))
            elif not self._remove(self._above, self._path.name):
                raise OSError(errno.ESTALE, "changed while it was being removed", str(self._path))
            while self._stack:
                self._step(keep_root)
        finally:
            for level in self._stack:
                if level.descriptor >= 0:
                    os.close(level.descriptor)

    def _step(self, keep_root: bool) -> None:
        """Do the next thing for the innermost directory: enter a subdirectory, scan it, or leave it."""
        level = self._stack[-1]
        if level.pending:
            name = level.pending.pop()
            self._pending -= 1
            child = self._enter(level.descriptor, name)
            if child is None:
                self._remove(level.descriptor, name)
            else:
                self._push(name, child)
        elif not level.done:
            self._scan(level)
        elif not keep_root or len(self._stack) > 1:
            self._leave(level)
        elif self._scan(level):
            level.refills = self._refilled(level)
        else:
            self._pop()

    def _push(self, name: str, descriptor: int, refills: int = 0) -> None:
        self._stack.append(_Level(name, descriptor, refills))
        if len(self._stack) > _OPEN_LEVELS:
            outer = self._stack[-1 - _OPEN_LEVELS]
            if outer.descriptor >= 0:
                os.close(outer.descriptor)
                outer.descriptor = -1

    def _pop(self) -> None:
        level = self._stack.pop()
        try:
            if self._stack and self._stack[-1].descriptor < 0:
                self._reopen(self._stack[-1], level.descriptor)
        finally:
            os.close(level.descriptor)

    def _reopen(self, level: _Level, child: int) -> None:
        """Open a directory again from its subdirectory; it must be the very one that the walk came through."""
        descriptor = os.open("..", _OPEN_DIRECTORY, dir_fd=child)
        if _identity(descriptor) != level.identity:
            os.close(descriptor)
            raise OSError(errno.ESTALE, "moved while it was being removed", str(self._display()))
        level.descriptor = descriptor

    def _scan(self, level: _Level) -> bool:
        """Unlink what is not a directory, remember subdirectories; returns whether anything was there."""
        room = max(1, _PENDING_NAMES - self._pending)
        level.done, found = True, False
        with os.scandir(level.descriptor) as entries:
            for entry in entries:
                found = True
                if not entry.is_dir(follow_symlinks=False):
                    self._remove(level.descriptor, entry.name)
                elif len(level.pending) < room:
                    level.pending.append(entry.name)
                else:
                    level.done = False
                    break
        self._pending += len(level.pending)
        return found

    def _leave(self, level: _Level) -> None:
        """Remove the emptied directory from the one above it; one that was filled meanwhile is entered again."""
        self._pop()
        above = self._stack[-1].descriptor if self._stack else self._above
        if self._remove(above, level.name, directory=True):
            return
        descriptor = self._enter(above, level.name)
        if descriptor is not None:
            self._push(level.name, descriptor, self._refilled(level))

    def _refilled(self, level: _Level) -> int:
        if level.refills >= _PATIENCE:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(self._display()))
        return level.refills + 1

    def _remove(self, parent: int, name: str, *, directory: bool = False) -> bool:
        """Remove one name; returns False if it is a directory with something in it, or was not thought to be one."""
        if self._left:
            self._left -= 1
            if not self._left:
                raise Unfinished
        cleared = False
        while True:
            try:
                if directory:
                    os.rmdir(name, dir_fd=parent)
                else:
                    os.unlink(name, dir_fd=parent)
            except FileNotFoundError:
                return True
            except OSError as error:
                if error.errno == errno.ENOTDIR:
                    directory = False
                elif error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR):
                    return False
                elif error.errno == errno.EBUSY:
                    raise MountInside(self._display(name)) from None
                elif error.errno == errno.EPERM and not cleared:
                    cleared = True
                    self._clear_flags(parent, name)
                else:
                    raise OSError(error.errno, error.strerror, str(self._display(name))) from None
            else:
                return True

    def _clear_flags(self, parent: int, name: str) -> None:
        _clear_flags(parent, name)
        if parent != self._above:
            _clear_flags(parent, ".")

    def _enter(self, parent: int, name: str) -> int | None:
        """Open a directory, never through a symlink; None if it is none or gone. Raises MountInside."""
        while True:
            try:
                return _open_beneath(parent, name)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    return None
                if error.errno == errno.EXDEV:
                    raise MountInside(self._display(name)) from None
                if error.errno not in (errno.EAGAIN, errno.EINTR):
                    raise OSError(error.errno, error.strerror, str(self._display(name))) from None

    def _display(self, name: str = "") -> Path:
        if not self._stack:
            return self._path
        return self._path.joinpath(*(level.name for level in self._stack[1:]), name)


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _open_beneath(parent: int, name: str) -> int:
    """Open the directory `name` in `parent` by openat2(2); raises OSError, EXDEV for a mount point."""
    descriptor: int = _libc.syscall(_SYS_OPENAT2, parent, os.fsencode(name), _HOW, _HOW_SIZE)
    if descriptor >= 0:
        return descriptor
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EPERM):
        return _open_checked(parent, name)
    raise OSError(number, os.strerror(number))


def _open_checked(parent: int, name: str) -> int:
    """The same where openat2 is refused (a seccomp filter from before Linux 5.6): by the descriptors' mount ids."""
    descriptor = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
    try:
        if _mount_id(descriptor) != _mount_id(parent):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _mount_id(descriptor: int) -> int:
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines():
        if line.startswith("mnt_id:"):
            return int(line.split()[1])
    raise OSError(errno.ENOSYS, "the kernel tells no mount ids")


def _clear_flags(parent: int, name: str) -> None:
    """Clear the immutable and append-only flags of a file or directory, if it has any and its file system knows them.

    It is looked at before it is opened: opening a device node would have effects.
    """
    try:
        found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError:
        return
    try:
        mode = os.fstat(found).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return
        descriptor = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            flags = bytearray(8)
            fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, flags)
            value = int.from_bytes(flags[:4], sys.byteorder)
            if value & (_FS_IMMUTABLE_FL | _FS_APPEND_FL):
                wanted = value & ~(_FS_IMMUTABLE_FL | _FS_APPEND_FL)
                fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, wanted.to_bytes(4, sys.byteorder) + bytes(4))
        finally:
            os.close(descriptor)
    except OSError:
        return
    finally:
        os.close(found)


_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30}
_IOPRIO_WHO_PROCESS, _IOPRIO_LOWEST = 1, 2 << 13 | 7
_NICE = 10
MOUNT_INSIDE = 3


def main(path: str) -> int:
    """A process of its own for a large tree: behind all others in the queues for processors and disks.

    Returns MOUNT_INSIDE for MountInside, with the mount point on standard output, 1 for an OSError, with its text.
    """
    os.nice(_NICE)
    if (number := _IOPRIO_SET.get(os.uname().machine)) is not None:
        _libc.syscall(ctypes.c_long(number), _IOPRIO_WHO_PROCESS, 0, _IOPRIO_LOWEST)
    try:
        remove_tree(Path(path))
    except MountInside as error:
        sys.stdout.buffer.write(os.fsencode(error.path))
        return MOUNT_INSIDE
    except OSError as error:
        sys.stdout.buffer.write(os.fsencode(f"{error.filename}: {error.strerror}"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
