"""Whether the machine goes down, from what stands for systemd's own signs."""

from __future__ import annotations

from pathlib import Path

import pytest

from podstead.linux import shutdown


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `systemctl` that says what the file `state` holds, where systemd seems to be booted."""
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/state\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(shutdown, "_SYSTEMD", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("state", "expected"), [("running", False), ("degraded", False), ("stopping", True)])
def test_systemd_says_whether_it_is_stopping(systemd: Path, state: str, expected: bool) -> None:
    (systemd / "state").write_text(f"{state}\n")
    assert shutdown.going_down() is expected


def test_without_systemd_a_server_that_ends_leaves_its_pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutdown, "_SYSTEMD", tmp_path / "missing")
    assert shutdown.going_down() is False
