"""Files of a volume that change all at once: the kubelet's own layout, which programs watch and follow.

    ..2026_01_31_12_00_00.123456789/token     what is served
    ..data -> ..2026_01_31_12_00_00.123456789   swapped by rename(2)
    token -> ..data/token                       what the user sees

A reader that opens a file by its name gets the old or the new one, never half of one, and never one file of the old
set with another of the new if it opens `..data` first. Blocking: call from a thread.
"""

# A ConfigMap may be shown in a thousand places, and pathlib takes longer than the kernel does for each:
# ruff: noqa: PTH101, PTH102, PTH104, PTH106, PTH108, PTH112, PTH115, PTH120, PTH211

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

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
    parts = path.split("/")
    if not path.strip("/.") or path.startswith("/") or len(path) > _PATH_LIMIT or ".." in parts or "\0" in path:
        raise ValueError(f"{path!r} is no relative path inside of a volume")
    if _normal(path).startswith(".."):
        raise ValueError(f"{path!r} begins with '..'")


def _normal(path: str) -> str:
    """`./a//b` is `a/b`."""
    return os.path.normpath(path) if "/" in path else path


def write(directory: Path, files: Mapping[str, File], group: int | None = None) -> bool:
    """`publish`, then `clean`."""
    changed = publish(directory, files, group)
    clean(directory, files)
    return changed


def publish(directory: Path, files: Mapping[str, File], group: int | None = None, *, anew: bool = False) -> bool:
    """Have `directory` show `files`, by relative path; returns whether anything changed. What was before lies about
    until `clean`.

    `group` is the pod's fsGroup: it owns all of it and may read it. With `anew` what is there is not looked at, as it
    is known to be another. Made again after a crash at any point, it ends in the same state. Raises OSError, ValueError
    (`check_path`).
    """
    for path in files:
        check_path(path)
    wanted = {_normal(path): file for path, file in files.items()}
    if group is not None:
        wanted = {path: replace(file, mode=file.mode | _GROUP_FILE) for path, file in wanted.items()}
    root = str(directory)
    present = None if anew else _target(root)
    changed = present is None or not _holds(present, wanted, group)
    if changed:
        if group is not None:
            os.chown(root, -1, group)
            directory.chmod(stat.S_IMODE(directory.stat().st_mode) | _GROUP_DIRECTORY)
        fresh = f"..{clock.now():%Y_%m_%d_%H_%M_%S}.{secrets.randbelow(10**9):09d}"
        _make_directory(f"{root}/{fresh}", group)
        made = {f"{root}/{fresh}"}
        for path, file in wanted.items():
            _write_file(f"{root}/{fresh}/{path}", file, group, made)
        _link(fresh, f"{root}/{_FRESH}")
        os.rename(f"{root}/{_FRESH}", f"{root}/{DATA}")
    for name in _names(files):
        if not os.path.lexists(f"{root}/{name}"):
            os.symlink(f"{DATA}/{name}", f"{root}/{name}")
    return changed


def _link(target: str, path: str) -> None:
    try:
        os.symlink(target, path)
    except FileExistsError:
        os.unlink(path)
        os.symlink(target, path)


def clean(directory: Path, files: Mapping[str, File]) -> None:
    """Take away what is none of `files`, which have been published: old sets, and links to what is no more."""
    kept = {*_names(files), DATA, os.readlink(directory / DATA)}
    for entry in list(os.scandir(directory)):
        if entry.name in kept:
            continue
        if entry.is_symlink():
            (directory / entry.name).unlink()
        elif entry.name.startswith(".."):
            _remove(directory / entry.name)


def _remove(old: Path) -> None:
    """Remove a set of files; most have no directories in them."""
    try:
        for entry in list(os.scandir(old)):
            os.unlink(entry.path)
        os.rmdir(old)
    except OSError:
        remove_tree(old)


def _names(files: Mapping[str, File]) -> set[str]:
    """What a user sees at the top of the volume."""
    return {_normal(path).partition("/")[0] for path in files}


def _target(root: str) -> str | None:
    try:
        target = f"{root}/{os.readlink(f'{root}/{DATA}')}"
    except OSError:
        return None
    return target if os.path.isdir(target) else None


def _holds(present: str, files: Mapping[str, File], group: int | None) -> bool:
    cut = len(present) + 1
    found = {f"{parent}/{name}"[cut:] for parent, _, names in os.walk(present) for name in names}
    return found == set(files) and all(_same(f"{present}/{path}", file, group) for path, file in files.items())


def _same(path: str, file: File, group: int | None) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as present:
        status = os.fstat(descriptor)
        owners = (file.user or 0, group or 0)
        if (stat.S_IMODE(status.st_mode), status.st_size) != (file.mode, len(file.content)):
            return False
        return (status.st_uid, status.st_gid) == owners and present.readall() == file.content


def _make_directory(path: str, group: int | None) -> None:
    os.mkdir(path)
    if group is not None:
        os.chown(path, -1, group)
    os.chmod(path, _DIRECTORY_MODE if group is None else _DIRECTORY_MODE | _GROUP_DIRECTORY)


def _make_parents(path: str, group: int | None, made: set[str]) -> None:
    """Make the directory `path` and those above it that are not in `made`."""
    if path not in made:
        _make_parents(os.path.dirname(path), group, made)
        _make_directory(path, group)
        made.add(path)


def _write_file(target: str, file: File, group: int | None, made: set[str]) -> None:
    """Write one file of the new set; `made` are the directories that are there."""
    _make_parents(os.path.dirname(target), group, made)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as out:
        rest = memoryview(file.content)
        while rest:
            rest = rest[out.write(rest) or 0 :]
        if file.user is not None or group is not None:
            os.fchown(descriptor, -1 if file.user is None else file.user, -1 if group is None else group)
        os.fchmod(descriptor, file.mode)
