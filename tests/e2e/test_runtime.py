"""Which OCI runtime the containers have, as a user chooses and sees it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.instance import TestInstance, pod


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestInstance]:
    monkeypatch.delenv("PODSTEAD_TEST_RUNTIME", raising=False)
    made = TestInstance(f"r{os.getpid()}", tmp_path)
    try:
        yield made
    finally:
        made.down("--purge", check=False)


def _runtime(instance: TestInstance) -> tuple[str, str]:
    """The node's containerRuntimeVersion without its number, and what `podstead status` says."""
    node = instance.get("nodes")["items"][0]["status"]["nodeInfo"]["containerRuntimeVersion"].partition(":")[0]
    status = instance.podstead("status", check=True).stdout
    return node, next(line.split(":", 1)[1].strip() for line in status.splitlines() if line.startswith("runtime:"))


def test_containers_outlive_a_change_of_the_runtime(fresh: TestInstance) -> None:
    fresh.up("--runtime", "runc")
    node, said = _runtime(fresh)
    assert (node, said.split()[0], said.endswith("(as asked for)")) == ("runc", "runc", True)
    refused = fresh.up("--runtime", "crun", check=False)
    assert refused.returncode == 1
    assert refused.stderr == f"Error: podstead '{fresh.name}' is running with --runtime runc: `podstead down` first\n"
    fresh.import_image()
    fresh.create(pod("old"))
    fresh.wait("old")
    before = fresh.get("pod", "old")["status"]["containerStatuses"]

    server = fresh.server()["pid"]
    os.kill(server, signal.SIGKILL)
    fresh.until(lambda: not Path(f"/proc/{server}").exists() or "\nState:\tZ" in _status(server))
    fresh.up("--runtime", "auto")
    node, said = _runtime(fresh)
    assert node == "crun"
    assert "(faster" in said
    fresh.create(pod("new"))
    fresh.wait("new")
    assert fresh.get("pod", "old")["status"]["containerStatuses"] == before
    for name in ("old", "new"):
        assert fresh.kubectl("exec", name, "--", "sh", "-c", "exit 6").returncode == 6
    fresh.kubectl("delete", "pod", "old", "new", check=True)
    fresh.down()
    assert fresh.leftovers() == []


def test_one_that_does_not_work_is_told_with_its_reason(fresh: TestInstance) -> None:
    broken = fresh.up("--runtime", "/bin/true", check=False)
    assert broken.returncode == 1
    assert broken.stderr == (
        "Error: the OCI runtime /bin/true does not work here: /bin/true is no OCI runtime: its --version does not say "
        "`NAME version NUMBER`; choose another with --runtime, or auto for any that works\n"
    )
    assert "the OCI runtime nothing is not installed" in fresh.up("--runtime", "nothing", check=False).stderr
    fresh.up("--runtime", "auto")


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "\nState:\tZ"
