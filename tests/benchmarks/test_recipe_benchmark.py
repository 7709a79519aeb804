"""The benchmark runs to its end and its table has all rows; how fast anything is is not for a test to say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROWS = (
    "create -> both containers running",
    "- scheduled (seen by the scheduler -> bound)",
    "- image found (this and below: since the node saw the pod)",
    "- volumes set up",
    "- sandbox made",
    "- network plumbed",
    "- containers created",
    "- containers started",
    "- Running in the API",
    "- seen by a watch",
    "the same, by kubectl create",
    "exec of true",
    "the same, by kubectl exec",
    "kubectl exec of true, above kubectl version --client",
    "exec of true while 3 pods start, p99",
    "delete, grace 0 -> processes gone",
    "delete, grace 0 -> object gone (podman: command back)",
    "cold start -> node Ready (fresh data)",
    "second start -> node Ready (kept data)",
    "3 pods at once -> all running (podman: one by one)",
    "3 pods deleted at once, grace 0 -> processes gone",
    "idle processor time, no pod",
    "idle processor time, 3 pods",
    "memory (PSS), no pod",
    "memory (RSS), no pod",
    "memory (PSS), 1 pod",
    "memory (RSS), 1 pod",
    "memory (PSS), 3 pods",
    "memory (RSS), 3 pods",
    "memory (PSS) a pod more, of 3 pods",
    "memory (PSS), no pod, after all pods of the run",
)
PODMAN_TOO = ("create -> both containers running", "exec of true", "delete, grace 0 -> processes gone")


@pytest.mark.timeout(90)
def test_a_quick_run_shows_every_row_and_leaves_nothing(tmp_path: Path) -> None:
    values = tmp_path / "values.json"
    # The short time limit of the run ends it before that of the test does: it cleans up then.
    argv = [sys.executable, str(REPOSITORY / "benchmarks" / "recipe.py"), "--quick", "--time-limit", "60"]
    done = subprocess.run(
        [*argv, "--json", str(values), "--directory", str(tmp_path)], text=True, capture_output=True, timeout=85
    )
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(values.read_text())["rows"]}
    assert tuple(rows) == ROWS
    shown = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("|")][2:]
    assert tuple(shown) == ROWS
    assert all(row["podstead"]["values"] for row in rows.values())
    if shutil.which("podman"):
        assert all("podman" in rows[name] for name in PODMAN_TOO) or "podman is left out: " in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [values.name]
    mounts = Path("/proc/mounts").read_text()
    assert str(tmp_path) not in mounts
