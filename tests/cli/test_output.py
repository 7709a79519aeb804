"""What `podstead ls` and `podstead status` print where no server runs; tests/e2e/test_cli.py has one that does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from podstead import paths
from podstead.cli import instance as instances
from podstead.cli.main import cli


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "DATA_ROOT", tmp_path / "lib")
    monkeypatch.setattr(paths, "RUN_ROOT", tmp_path / "run")
    monkeypatch.setattr(paths, "INSTANCES", tmp_path / "lib" / ".instances")


def output(*words: str) -> str:
    return CliRunner().invoke(cli, words).output


def test_no_instance() -> None:
    assert output("ls").split() == ["NAME", "STATE", "API", "DATA", "PODS"]
    assert output("ls", "-o", "json") == "[]\n"
    assert yaml.safe_load(output("ls", "-o", "yaml")) == []
    absent = CliRunner().invoke(cli, ["status", "--name", "x", "-o", "json"])
    assert (absent.exit_code, json.loads(absent.output)) == (3, {"name": "x", "state": "absent"})
    assert output("status", "--name", "x") == "podstead 'x': there is no such instance (podstead up --name x)\n"


def test_instances_that_are_down_and_one_that_starts() -> None:
    down, starting = instances.settle("a-down", None, 7001), instances.settle("b-starting", None, 7002)
    instances.note_running(starting.paths, foreground=False, ready=False)
    expected = [
        {
            "name": one.name,
            "state": state,
            "url": one.url,
            "context": f"podstead-{one.name}",
            "dataDir": one.data,
            "subnet": one.subnet,
            "pods": None,
        }
        for one, state in ((down, "down"), (starting, "starting"))
    ]
    assert json.loads(output("ls", "-o", "json")) == yaml.safe_load(output("ls", "-o", "yaml")) == expected
    rows = [line.split() for line in output("ls").splitlines()[1:]]
    assert rows == [[one["name"], one["state"], one["url"], one["dataDir"], "-"] for one in expected]
    found = CliRunner().invoke(cli, ["status", "--name", "b-starting", "-o", "yaml"])
    assert found.exit_code == 3
    assert yaml.safe_load(found.output)["state"] == "starting"
    assert output("status", "--name", "a-down") == f"podstead 'a-down' is down; its data is in {down.data}\n"


def test_the_command_starts_without_what_only_some_commands_need() -> None:
    """`podstead version` takes under 100 ms, and so does what Tab asks; each of these costs some of them."""
    heavy = "asyncio yaml ssl msgspec uvloop aiohttp subprocess shutil hashlib tempfile importlib.metadata"
    script = f"import sys, podstead.cli.main; print([one for one in {heavy.split()!r} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "[]\n"
