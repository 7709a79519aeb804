"""The first process of a shared PID namespace, run as it is written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from podstead.node.runtime.base import RuntimeFailure
from podstead.node.runtime.pause import program


def test_it_waits_with_its_children_reaped_by_the_kernel(tmp_path: Path) -> None:
    path = tmp_path / "pause"
    path.write_bytes(program())
    path.chmod(0o555)
    process = subprocess.Popen([path])
    try:
        status = Path(f"/proc/{process.pid}/status")
        # Between exec and the first system call nothing is ignored yet.
        while "SigIgn:\t0000000000010000" not in (text := status.read_text()):
            assert process.poll() is None, text
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
    finally:
        process.kill()
        process.wait()


def test_a_machine_that_it_is_not_written_for_is_named() -> None:
    assert len(program("aarch64")) == 192
    with pytest.raises(RuntimeFailure, match="not there for riscv64"):
        program("riscv64")
