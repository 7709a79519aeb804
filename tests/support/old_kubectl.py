"""Old and new kubectl, and the streams that each uses: WebSocket, or SPDY alone."""

from __future__ import annotations

import functools
import shutil
import subprocess

import pytest

from support.instance import REPOSITORY

FORMS = ("websocket", "spdy", "1.20")
"""kubectl 1.37 as it is, 1.37 that is told to use SPDY, and Debian 12's 1.20, which knows nothing else."""

_SPDY_ONLY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}


@functools.cache
def old_kubectl() -> str:
    """Return the path of kubectl 1.20; skips the test where it cannot be had (no apt, no archive in reach)."""
    if shutil.which("apt-get") is None:
        pytest.skip("kubectl 1.20 comes from Debian's archive")
    done = subprocess.run(
        [str(REPOSITORY / "script" / "old-kubectl")], text=True, capture_output=True, timeout=600, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"kubectl 1.20 cannot be fetched: {done.stderr.strip()[-200:]}")
    return done.stdout.strip()


def command(form: str) -> tuple[str, dict[str, str]]:
    """Return the program and what is added to its environment."""
    if form == "1.20":
        return old_kubectl(), {}
    return "kubectl", _SPDY_ONLY if form == "spdy" else {}
