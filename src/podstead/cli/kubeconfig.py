"""The user's kubeconfig: one context merged in, taken out again, everything else kept as it is."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from podstead.cli.instance import InstanceError

_LOCK_PATIENCE = 5.0
"""Seconds."""

_SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}


def default_path() -> Path:
    """Return the file that kubectl would change: the first of $KUBECONFIG, else ~/.kube/config."""
    listed = [part for part in os.environ.get("KUBECONFIG", "").split(":") if part]
    return Path(listed[0]) if listed else Path.home() / ".kube" / "config"


def merge(file: Path, context: str, admin: dict[str, Any]) -> None:
    """Put the one cluster, user and context of `admin` into `file` as `context` and make it the current one."""
    with _locked(file):
        config = _read(file)
        for section, kind in _SECTIONS.items():
            entry: dict[str, Any] = dict(admin[section][0][kind])
            if section == "contexts":
                entry |= {"cluster": context, "user": context}
            others = [one for one in config.get(section) or [] if one.get("name") != context]
            config[section] = [*others, {"name": context, kind: entry}]
        config |= {"apiVersion": "v1", "kind": "Config", "current-context": context}
        _write(file, config)


def remove(file: Path, context: str) -> None:
    """Take `context` and its cluster and user out of `file`; a file without it is left alone."""
    if not file.exists():
        return
    with _locked(file):
        config = _read(file)
        changed = False
        for section in _SECTIONS:
            entries = config.get(section) or []
            kept = [one for one in entries if one.get("name") != context]
            changed = changed or len(kept) != len(entries)
            config[section] = kept
        if config.get("current-context") == context:
            config["current-context"] = ""
        if changed:
            _write(file, config)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold the lock that kubectl takes to change a kubeconfig: FILE.lock, which nobody may have made before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = Path(f"{file}.lock")
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            lock.touch(mode=0o600, exist_ok=False)
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                raise InstanceError(f"{lock} is held: remove it if no kubectl is running") from None
            time.sleep(0.02)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _read(file: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _not_one(file, str(error).splitlines()[0]) from error
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise _not_one(file, "not a mapping")
    for section in _SECTIONS:
        entries = config.get(section) or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise _not_one(file, f"its {section} are no list of mappings")
    return config


def _not_one(file: Path, why: str) -> InstanceError:
    return InstanceError(f"{file} is no kubeconfig: {why} (correct it, or move it away)")


def _write(file: Path, config: dict[str, Any]) -> None:
    """Replace `file` in one step, readable by its owner alone; a link is followed, so that it stays a link.

    The owner stays who it is: under sudo the file is the user's own.
    """
    target = file.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".kubeconfig")
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w") as stream:
            yaml.safe_dump(config, stream, sort_keys=False)
            if target.exists():
                before = target.stat()
                os.fchown(stream.fileno(), before.st_uid, before.st_gid)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
