"""Files of a volume that change all at once: the kubelet's own layout, which programs watch and follow.

    ..2026_01_31_12_00_00.123456789/token     what is served
    ..data -> ..2026_01_31_12_00_00.123456789   swapped by rename(2)
    token -> ..data/token                       what the user sees

A reader that opens a file by its name gets the old or the new one, never half of one, and never one file of the old
set with another of the new if it opens `..data` first. Blocking: call from a thread.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from podstead import clock
from podstead.linux.remove import remove_tree

DATA, _FRESH = "..data", "..data_tmp"
_PATH_LIMIT = 4096
_DIRECTORY_MODE = 0o755
_GROUP_FILE, _GROUP_DIRECTORY = 0o440, 0o2550
"""What an fsGroup adds to the modes of a volume that nobody but the node writes to."""


@dataclass(frozen=True, slots=True)
class File:
    """Content, permission bits and owner (None: root) of one file."""

    content: bytes
    mode: int = 0o644
    user: int | None = None


def check_path(path: str) -> None:
    """Raise ValueError where `path` would not be a file inside the volume that the user may see."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or len(path) > _PATH_LIMIT or ".." in parts or "\0" in path:
        raise ValueError(f"{path!r} is no relative path inside of a volume")
    if parts[0].startswith(".."):
        raise ValueError(f"{path!r} begins with '..'")


def write(directory: Path, files: Mapping[str, File], group: int | None = None) -> bool:
    """Have `directory` show exactly `files`, by relative path; returns whether anything changed.

    `group` is the pod's fsGroup: it owns all of it and may read it. Made again after a crash at any point, it ends in
    the same state. Raises OSError, ValueError (`check_path`).
    """
    for path in files:
        check_path(path)
    wanted = {str(PurePosixPath(path)): file for path, file in files.items()}
    if group is not None:
        wanted = {path: replace(file, mode=file.mode | _GROUP_FILE) for path, file in wanted.items()}
    present = _target(directory)
    if present is not None and _holds(present, wanted, group):
        _finish(directory, present.name, wanted)
        return False
    if group is not None:
        os.chown(directory, -1, group)
        directory.chmod(stat.S_IMODE(directory.stat().st_mode) | _GROUP_DIRECTORY)
    fresh = directory / f"..{clock.now():%Y_%m_%d_%H_%M_%S}.{secrets.randbelow(10**9):09d}"
    _make_directory(fresh, group)
    made = {fresh}
    for path, file in wanted.items():
        _write_file(fresh, path, file, group, made)
    link = directory / _FRESH
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.rename(directory / DATA)
    _finish(directory, fresh.name, wanted)
    return True


def _target(directory: Path) -> Path | None:
    try:
        target = directory / (directory / DATA).readlink()
    except OSError:
        return None
    return target if target.is_dir() else None


def _holds(present: Path, files: Mapping[str, File], group: int | None) -> bool:
    found = {
        os.path.relpath(os.path.join(parent, name), present)  # noqa: PTH118, as pathlib takes ten times as long
        for parent, _, names in os.walk(present)
        for name in names
    }
    return found == set(files) and all(_same(present / path, file, group) for path, file in files.items())


def _same(path: Path, file: File, group: int | None) -> bool:
    with path.open("rb") as present:
        status = os.fstat(present.fileno())
        owners = (file.user or 0, group or 0)
        if (stat.S_IMODE(status.st_mode), status.st_size) != (file.mode, len(file.content)):
            return False
        return (status.st_uid, status.st_gid) == owners and present.read() == file.content


def _make_directory(path: Path, group: int | None) -> None:
    path.mkdir()
    if group is not None:
        os.chown(path, -1, group)
    path.chmod(_DIRECTORY_MODE if group is None else _DIRECTORY_MODE | _GROUP_DIRECTORY)


def _write_file(root: Path, path: str, file: File, group: int | None, made: set[Path]) -> None:
    """Write one file of the new set; `made` are the directories that are there."""
    target = root / path
    if target.parent not in made:
        for parent in reversed([one for one in target.parents if one not in made and one.is_relative_to(root)]):
            _make_directory(parent, group)
            made.add(parent)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as out:
        rest = memoryview(file.content)
        while rest:
            rest = rest[out.write(rest) or 0 :]
        if file.user is not None or group is not None:
            os.fchown(descriptor, -1 if file.user is None else file.user, -1 if group is None else group)
        os.fchmod(descriptor, file.mode)


def _finish(directory: Path, current: str, files: Mapping[str, File]) -> None:
    """Make the links that the user sees; take away those of before, and old sets."""
    present = {entry.name: entry for entry in os.scandir(directory)}
    names = {path.partition("/")[0] for path in files}
    for name in names:
        if name not in present:
            (directory / name).symlink_to(f"{DATA}/{name}")
    for name, entry in present.items():
        if name in names or name in (DATA, current):
            continue
        if entry.is_symlink():
            (directory / name).unlink()
        elif name.startswith(".."):
            remove_tree(directory / name)
