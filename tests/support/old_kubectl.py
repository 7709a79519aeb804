"""kubectl 1.20, as Debian 12 ships it: extracted beside the caches of the tests, never installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGE = "kubernetes-client"
TIMEOUT = 120


@pytest.fixture(scope="session")
def old_kubectl(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of kubectl 1.20; the test is skipped where Debian's package of it is not to be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "podstead-tests"
    found = cache / "kubectl-1.20"
    if not found.exists():
        made = _extracted(tmp_path_factory.mktemp("kubectl"))
        cache.mkdir(parents=True, exist_ok=True)
        shutil.copy2(made, partial := found.with_name(f"{found.name}.{os.getpid()}"))
        partial.rename(found)
    return str(found)


def _extracted(directory: Path) -> Path:
    try:
        for command in (["apt-get", "download", PACKAGE], ["sh", "-c", f"dpkg-deb -x {PACKAGE}_*.deb ."]):
            subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=TIMEOUT)
        made = directory / "usr/bin/kubectl"
        version = subprocess.run([made, "version", "--client"], capture_output=True, text=True, timeout=TIMEOUT).stdout
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no kubectl 1.20: {error}")
    if "v1.20." not in version:
        pytest.skip(f"Debian's {PACKAGE} here is another version: {version.strip()}")
    return made
