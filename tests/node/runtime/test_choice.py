"""Which OCI runtime is used: what works here, what was asked for, and that nothing is tried twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from runtime_instance import Instance
from test_adoption import crash

from podstead.linux import process
from podstead.node.runtime.base import RuntimeFailure
from podstead.node.runtime.cgroups import Cgroups

VERSION = 'if [ "$1" = --version ]; then echo crun version 9.9; exit 0; fi\n'
REFUSAL = """echo '{"msg":"no such luck","level":"error"}' >&2; exit 1"""


@pytest.fixture
def node(tmp_path: Path, layer: Path) -> Iterator[Instance]:
    made = Instance.fresh(tmp_path, layer)
    try:
        yield made
    finally:
        made.destroy()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A runtime that notes its calls, and otherwise is runc."""
    return _program(tmp_path / "bin/runtime", f'echo "$@" >> {tmp_path}/calls\nexec {shutil.which("runc")} "$@"')


def _program(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


async def _chosen(node: Instance, wanted: str = "auto") -> str:
    node.wanted = wanted
    runtime = node.make_runtime()
    try:
        choice = await runtime.choose()
        assert choice.description.startswith(f"{choice.name} {choice.version} (")
        return choice.description
    finally:
        await runtime.close()


async def test_the_faster_one_is_taken_and_how_it_works_is_said(node: Instance) -> None:
    hybrid = Cgroups(node.paths.cgroup).mode == "hybrid"
    how = "faster; works in a private mount namespace since cgroups are hybrid" if hybrid else "faster"
    described = await _chosen(node)
    assert described.startswith("crun ")
    assert described.endswith(f"({how})")
    assert not any(node.remains().values()), node.remains()


async def test_a_run_directory_without_programs_is_no_obstacle(node: Instance) -> None:
    """systemd mounts /run noexec, and runc asks for the permission before it answers."""
    node.paths.run.mkdir(parents=True, exist_ok=True)
    options = ("-t", "tmpfs", "-o", "noexec,nosuid,nodev")
    await process.run(["mount", *options, "tmpfs", str(node.paths.run)], check=True, timeout=30)
    try:
        assert (await _chosen(node, "runc")).endswith("(as asked for)")
    finally:
        await process.run(["umount", "--lazy", str(node.paths.run)], check=True, timeout=30)


async def test_what_was_found_out_is_remembered_until_the_program_changes(
    node: Instance, recording: Path, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    first = await _chosen(node, str(recording))
    assert first.endswith("(as asked for)")
    assert [line.split(" create ")[0] for line in calls.read_text().splitlines() if " create " in line]
    before = sorted(calls.read_text().splitlines())
    assert await _chosen(node, str(recording)) == first
    assert sorted(calls.read_text().splitlines()) == before
    os.utime(recording)
    assert await _chosen(node, str(recording)) == first
    assert sorted(calls.read_text().splitlines()) == sorted(before * 2)


async def test_damaged_memory_is_made_anew(node: Instance) -> None:
    await _chosen(node)
    node.paths.runtime_choice.write_text('{"findings": 3')
    assert (await _chosen(node)).startswith("crun ")


async def test_runc_where_crun_fails_and_says_why(
    node: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(tmp_path / "bin/crun", VERSION + REFUSAL)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}:/usr/sbin")
    described = await _chosen(node)
    assert described.startswith("runc ")
    assert described.endswith("(crun, which is faster, does not work here: no such luck)")
    with pytest.raises(RuntimeFailure, match="the OCI runtime crun does not work here: no such luck"):
        await _chosen(node, "crun")


async def test_runc_where_crun_is_not_installed(
    node: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    for program in ("runc", "conmon"):
        (tmp_path / "bin" / program).symlink_to(shutil.which(program) or "")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    assert (await _chosen(node)).endswith("(crun, which is faster, is not installed)")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (VERSION + REFUSAL, "no such luck"),
        (VERSION + "exit 3", "crun create ended with 3"),
        ("echo hello", "is no OCI runtime: its --version does not say `NAME version NUMBER`"),
    ],
)
async def test_one_that_was_asked_for_and_fails_is_told_with_its_reason(
    node: Instance, tmp_path: Path, text: str, reason: str
) -> None:
    broken = _program(tmp_path / "bin/crun", text)
    with pytest.raises(RuntimeFailure) as caught:
        await _chosen(node, str(broken))
    assert str(caught.value).startswith(f"the OCI runtime {broken} does not work here: ")
    assert reason in str(caught.value)
    assert not any(node.remains().values())
    # It is not forgiven for ever: the reason may have gone.
    _program(broken, f'exec {shutil.which("runc")} "$@"')
    assert (await _chosen(node, str(broken))).endswith("(as asked for)")


async def test_server_that_died_in_a_trial_leaves_nothing(instance: Instance, tmp_path: Path) -> None:
    wanted = instance.wanted
    real = shutil.which(wanted)
    # The monitor is not there yet: the parent of `create` is the server.
    dies = f'case "$*" in *" create "*) {real} "$@" && kill -9 $PPID;; *) exec {real} "$@";; esac'
    instance.wanted = str(_program(tmp_path / "bin/dies", dies))
    assert crash(instance, "true") == {}
    assert any(instance.remains().values())
    instance.wanted = wanted
    runtime = instance.make_runtime()
    await runtime.start()
    await runtime.close()
    assert not any(instance.remains().values()), instance.remains()


async def test_what_is_not_there_is_told(node: Instance) -> None:
    with pytest.raises(RuntimeFailure, match="the OCI runtime /nowhere/crun is not installed"):
        await _chosen(node, "/nowhere/crun")
