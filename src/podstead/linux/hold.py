"""Holds a directory for one process: a lock that goes with the process, however that ends (flock(2))."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Held(Exception):
    """Another process holds it."""


@contextmanager
def hold(file: Path) -> Iterator[None]:
    """Hold `file`, made with its directory where it is missing; raises Held at once, or OSError.

    Child processes do not inherit it.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Held(str(file)) from None
        yield
    finally:
        os.close(descriptor)
