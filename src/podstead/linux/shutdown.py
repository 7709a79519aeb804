"""Whether the machine is going down, so that what must not outlive the server then is ended in time."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SYSTEMD = Path("/run/systemd/system")
"""Exists where systemd is the service manager (sd_booted(3))."""
_LAST_PHASE = "systemd-shutdow"
"""The name (15 characters, proc(5)) of what takes process 1 over once all units are stopped: systemd-shutdown(8)."""
_PATIENCE = 10.0


def going_down() -> bool:
    """Tell whether systemd powers the machine off or reboots it; False where there is no systemd. Blocking."""
    if not _SYSTEMD.is_dir():
        return False
    if Path("/proc/1/comm").read_text().strip() == _LAST_PHASE:
        return True
    try:
        state = subprocess.run(
            ["systemctl", "is-system-running"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    return state.strip() == b"stopping"
