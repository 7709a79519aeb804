"""Use as the kernel tells it, read from trees of files as v1 and v2 have them, and from this machine."""

from __future__ import annotations

import os
from pathlib import Path

from podstead.node.stats import kernel

V1 = {
    "cpuacct/p/c/cpuacct.usage": "5000000000\n",
    "cpu/p/c/cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 700\n",
    "memory/p/c/memory.usage_in_bytes": "3000\n",
    "memory/p/c/memory.limit_in_bytes": "9223372036854771712\n",
    "memory/p/c/memory.stat": "cache 1\ntotal_cache 900\ntotal_rss 2000\ntotal_inactive_file 500\ntotal_pgfault 7\n",
    "pids/p/c/pids.current": "3\n",
}
V2 = {
    "p/c/cpu.stat": "usage_usec 5000000\nuser_usec 1\nnr_periods 10\nnr_throttled 4\nthrottled_usec 7\n",
    "p/c/memory.current": "3000\n",
    "p/c/memory.max": "4096\n",
    "p/c/memory.stat": "anon 2000\nfile 900\ninactive_file 500\npgfault 7\npgmajfault 1\n",
    "p/c/pids.current": "3\n",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_v1(tmp_path: Path) -> None:
    usage = kernel.group_usage("/p/c", unified=False, root=tree(tmp_path, V1))
    assert usage is not None
    assert (usage.cpu, usage.memory, usage.working_set, usage.rss, usage.cache) == (5 * 10**9, 3000, 2500, 2000, 900)
    assert (usage.limit, usage.processes, usage.page_faults, usage.cpu_throttled) == (None, 3, 7, 700)


def test_v2(tmp_path: Path) -> None:
    usage = kernel.group_usage("/p/c", unified=True, root=tree(tmp_path, V2))
    assert usage is not None
    assert (usage.cpu, usage.memory, usage.working_set, usage.rss, usage.cache) == (5 * 10**9, 3000, 2500, 2000, 900)
    assert (usage.limit, usage.processes, usage.major_page_faults, usage.cpu_throttled) == (4096, 3, 1, 7000)


def test_a_group_that_is_gone_has_no_usage(tmp_path: Path) -> None:
    assert kernel.group_usage("/p/c", unified=True, root=tmp_path) is None
    assert kernel.group_usage("/p/c", unified=False, root=tmp_path) is None


def test_the_machine_itself() -> None:
    usage = kernel.node_usage(unified=(Path("/sys/fs/cgroup") / "cgroup.controllers").exists())
    assert usage.limit is not None
    assert 0 < usage.working_set <= usage.memory <= usage.limit
    assert usage.cpu > 0 and usage.processes > 1


def test_a_v2_root_without_cpu_time_falls_back_to_proc(tmp_path: Path) -> None:
    assert kernel.node_usage(unified=True, root=tmp_path).cpu > 10**9


def test_links_without_the_loopback(tmp_path: Path) -> None:
    head = "Inter-| Receive | Transmit\n face |bytes\n"
    lines = "    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n"
    tree(tmp_path, {"42/net/dev": head + lines})
    assert kernel.interfaces(42, tmp_path) == [kernel.Interface("eth0", 10, 2, 3, 4, 50, 6, 7, 8)]
    assert kernel.interfaces(43, tmp_path) == []
    assert all(link.name != "lo" for link in kernel.interfaces(os.getpid()))
