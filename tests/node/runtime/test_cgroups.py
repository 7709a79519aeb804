"""cgroups in v1, hybrid and v2: a pure v2 tree is made of files, the machine's own is real."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from runtime_instance import Instance, Pod

from podstead.node.runtime.cgroups import Cgroups, remove_instance_cgroups


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma misc\n")
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    return tmp_path


def _v2_group(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "cgroup.controllers").write_text("cpu memory pids\n")
    (path / "cgroup.subtree_control").write_text("")
    return path


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was written where, for files on disk keep only the last."""
    from podstead.node.runtime import cgroups

    seen: list[tuple[str, str]] = []

    def write(file: Path, text: str) -> None:
        if text == "+io":
            raise OSError(22, "no such controller here")
        seen.append((f"{file.parent.name}/{file.name}", text))

    monkeypatch.setattr(cgroups, "_write", write)
    return seen


def test_v2_hands_controllers_down_and_survives_a_refusal(unified: Path, writes: list[tuple[str, str]]) -> None:
    for path in ("podstead-x", "podstead-x/burstable", "podstead-x/besteffort"):
        _v2_group(unified / path)
    groups = Cgroups("podstead-x", unified)
    assert groups.unified
    groups.prepare()
    root = [text for path, text in writes if path == f"{unified.name}/cgroup.subtree_control"]
    assert root == ["+cpu", "+cpuset", "+pids", "+hugetlb"]
    assert [text for path, text in writes if path.startswith("podstead-x/")] == ["+cpu", "+memory", "+pids"]
    assert ("burstable/cgroup.subtree_control", "+memory") in writes
    assert (unified / "podstead-x/monitors").is_dir()
    _v2_group(unified / "podstead-x/podu1")
    groups.prepare_pod("u1")
    assert [text for path, text in writes if path.startswith("podu1/")] == ["+cpu", "+memory", "+pids"]


def test_v2_monitors_have_one_group(unified: Path, writes: list[tuple[str, str]]) -> None:
    Cgroups("podstead-x", unified).enter_monitors(4711)
    assert writes == [("monitors/cgroup.procs", "4711")]


def test_v2_kill_and_oom(unified: Path, writes: list[tuple[str, str]]) -> None:
    groups = Cgroups("podstead-x", unified)
    path = groups.container_path("u1", "c1")
    assert path == "/podstead-x/podu1/c1"
    assert not groups.oom_killed(path)
    group = _v2_group(unified / "podstead-x/podu1/c1")
    (group / "memory.events").write_text("low 0\noom 1\noom_kill 0\noom_group_kill 0\n")
    assert not groups.oom_killed(path)
    (group / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")
    assert groups.oom_killed(path)
    groups.kill(path)
    assert writes == [("c1/cgroup.kill", "1")]
    groups.kill(f"{path}-not-there")


def test_v1_follows_no_links_and_knows_swap(tmp_path: Path) -> None:
    for name in ("cpu,cpuacct", "memory", "systemd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    (tmp_path / "cpu").symlink_to("cpu,cpuacct")
    (tmp_path / "other").mkdir()
    groups = Cgroups("podstead-x", tmp_path)
    assert not groups.unified
    assert not groups.swap_limited
    (tmp_path / "memory/memory.memsw.limit_in_bytes").touch()
    assert groups.swap_limited
    for name in ("cpu,cpuacct", "memory"):
        (tmp_path / name / "podstead-x/podu1/c1/inner").mkdir(parents=True)
    assert groups.pods() == {"u1"}
    groups.remove_pod("u1")
    assert groups.pods() == set()
    groups.prepare()
    assert (tmp_path / "systemd/podstead-x/monitors").is_dir()
    groups.remove_all()
    assert sorted(path.name for path in tmp_path.glob("*/*") if path.is_dir()) == []


async def test_monitor_and_container_are_in_groups_of_their_own(instance: Instance, pod: Pod) -> None:
    container_id = await pod.run("sleep", "10000")
    pid = (await pod.runtime.container_status(container_id)).pid
    parent = instance.paths.cgroup
    assert f"/{parent}/podu1/{container_id}" in Path(f"/proc/{pid}/cgroup").read_text()
    (monitor,) = instance.processes()
    assert f"/{parent}/monitors" in Path(f"/proc/{monitor}/cgroup").read_text()
    with pytest.raises(OSError, match="busy"):
        remove_instance_cgroups(instance.paths)
    await pod.runtime.remove_pod_sandbox(pod.sandbox.id)
    remove_instance_cgroups(instance.paths)
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{parent}"))


def test_moves_are_expedited_where_the_process_is(
    unified: Path, writes: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from podstead.node.runtime import cgroups

    listing = unified / "listing"
    monkeypatch.setattr(cgroups, "_OWN_GROUPS", listing)
    listing.write_text("0::/system.slice/podstead.service\n")
    own = _v2_group(unified / "system.slice/podstead.service")
    (own / "cgroup.procs").write_text("")
    Cgroups("podstead-x", unified).expedite_moves()
    assert writes == [("podstead.service/cgroup.procs", str(os.getpid()))]


def test_moves_are_expedited_on_this_machine() -> None:
    """The process stays in its groups."""
    before = Path("/proc/self/cgroup").read_text()
    Cgroups("podstead-x").expedite_moves()
    assert Path("/proc/self/cgroup").read_text() == before
