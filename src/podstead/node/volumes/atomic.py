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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from podstead import clock
from podstead.linux.remove import remove_tree

DATA, _FRESH = "..data", "..data_tmp"
_PATH_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class File:
    """Content and permission bits of one file."""

    content: bytes
    mode: int = 0o644


def check_path(path: str) -> None:
    """Raise ValueError where `path` would not be a file inside the volume that the user may see."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or len(path) > _PATH_LIMIT or ".." in parts or "\0" in path:
        raise ValueError(f"{path!r} is no relative path inside of a volume")
    if parts[0].startswith(".."):
        raise ValueError(f"{path!r} begins with '..'")


def write(directory: Path, files: Mapping[str, File]) -> bool:
    """Have `directory` show exactly `files`, by relative path; returns whether anything changed.

    Made again after a crash at any point, it ends in the same state. Raises OSError, ValueError (`check_path`).
    """
    for path in files:
        check_path(path)
    present = _target(directory)
    if present is not None and _holds(present, files):
        _finish(directory, present.name, files)
        return False
    fresh = directory / f"..{clock.now():%Y_%m_%d_%H_%M_%S}.{secrets.randbelow(10**9):09d}"
    fresh.mkdir()
    fresh.chmod(0o755)
    for path, file in files.items():
        _write_file(fresh, path, file)
    link = directory / _FRESH
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.rename(directory / DATA)
    _finish(directory, fresh.name, files)
    return True


def _target(directory: Path) -> Path | None:
    try:
        target = directory / (directory / DATA).readlink()
    except OSError:
        return None
    return target if target.is_dir() else None


def _holds(present: Path, files: Mapping[str, File]) -> bool:
    found = {str(path.relative_to(present)) for path in present.rglob("*") if not path.is_dir()}
    return found == {str(PurePosixPath(path)) for path in files} and all(
        (present / path).read_bytes() == file.content and (present / path).stat().st_mode & 0o7777 == file.mode
        for path, file in files.items()
    )


def _write_file(root: Path, path: str, file: File) -> None:
    target = root / path
    for parent in reversed(target.relative_to(root).parents[:-1]):
        (root / parent).mkdir(exist_ok=True)
        (root / parent).chmod(0o755)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(file.content)
        os.fchmod(descriptor, file.mode)


def _finish(directory: Path, current: str, files: Mapping[str, File]) -> None:
    """Make the links that the user sees; take away those of before, and old sets."""
    names = {PurePosixPath(path).parts[0] for path in files}
    for name in names:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{name}")
    for entry in directory.iterdir():
        if entry.name in names or entry.name in (DATA, current):
            continue
        if entry.is_symlink():
            entry.unlink()
        elif entry.name.startswith(".."):
            remove_tree(entry)
