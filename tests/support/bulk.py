"""How much the stream tests move, and how much memory that may cost the server."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.instance import TestInstance

SIZE = int(os.environ.get("PODSTEAD_TEST_STREAM_MB", "64")) << 20
"""Bytes each way: PODSTEAD_TEST_STREAM_MB=1024 moves 1 GiB."""
ROOM = 48 << 20
"""Bytes that the server may grow by meanwhile, however much passes through it."""


@contextmanager
def bounded_memory(instance: TestInstance) -> Iterator[None]:
    """Assert that the server's resident memory does not grow by more than ROOM at any moment within the block."""
    process = Path("/proc") / str(instance.server()["pid"])
    (process / "clear_refs").write_text("5\n")  # proc_pid_clear_refs(5): the peak begins anew at what it is now
    before = _kilobytes(process, "VmRSS")
    yield
    grown = (_kilobytes(process, "VmHWM") - before) << 10
    assert grown <= ROOM, f"the server grew by {grown >> 20} MiB"


def _kilobytes(process: Path, field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", (process / "status").read_text())
    assert found is not None
    return int(found[1])
