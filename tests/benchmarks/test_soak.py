"""The short form of the soak: what it asserts holds over some thousand writes; benchmarks/soak.py has the long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_constant_churn_keeps_every_promise(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    script = REPOSITORY / "benchmarks" / "soak.py"
    command = [sys.executable, script, "--writes", "6000", "--keep", "600", "--directory", tmp_path, "--json", figures]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(figures.read_text())
    assert told["writes"] > 5900 and told["pages"] and told["backups"]
    # Churn takes the pages again that compaction frees: the second half of the run needs hardly more than the first.
    sizes = [database for _, database, _ in told["sizes"]]
    assert max(sizes) < 1.5 * sizes[len(sizes) // 2]
