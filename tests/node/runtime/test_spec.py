"""The OCI configuration: what a container is given, and what it is never given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from podstead.node.runtime import capabilities, seccomp, spec
from podstead.node.runtime.base import ContainerConfig, Mount, Resources, Security
from podstead.node.runtime.users import ProcessUser

ROOT = ProcessUser()
ALL = frozenset(capabilities.NAMES)


def _build(user: ProcessUser = ROOT, swap: bool = True, unified: bool = False, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": "c1",
        "attempt": 0,
        "image": "busybox",
        "image_id": "a" * 64,
        "args": ("true",),
        "env": (),
        "working_dir": "",
        "log_path": Path("/log"),
    }
    directory = Path("/run/sandbox")
    around = spec.Surroundings(
        namespaces=directory,
        shm=directory / "shm",
        hosts_file=Path("/pod/hosts"),
        resolv_conf=Path("/pod/resolv.conf"),
        hostname_file=directory / "hostname",
        hostname="pod",
        cgroups_path="/parent/podu1/c1",
        unified_cgroups=unified,
        swap_limited=swap,
    )
    return spec.build(ContainerConfig(**values | changes), user, around)


def _destinations(built: dict[str, Any]) -> list[str]:
    return [mount["destination"] for mount in built["mounts"]]


def test_default_capabilities_are_containerds_within_ours() -> None:
    assert len(capabilities.granted(Security(), ALL)) == 14
    assert capabilities.granted(Security(), frozenset({"CHOWN", "SYS_ADMIN"})) == ["CAP_CHOWN"]


@pytest.mark.parametrize(
    ("add", "drop", "wanted"),
    [
        (("NET_ADMIN",), ("ALL",), {"CAP_NET_ADMIN"}),
        (("ALL",), ("SYS_ADMIN",), {f"CAP_{name}" for name in ALL - {"SYS_ADMIN"}}),
        ((), ("CHOWN",), {f"CAP_{name}" for name in capabilities.DEFAULT - {"CHOWN"}}),
        (("CHOWN",), ("CHOWN",), {f"CAP_{name}" for name in capabilities.DEFAULT - {"CHOWN"}}),
    ],
)
def test_added_and_dropped_capabilities(add: tuple[str, ...], drop: tuple[str, ...], wanted: set[str]) -> None:
    security = Security(capabilities_add=add, capabilities_drop=drop)
    assert set(capabilities.granted(security, ALL)) == wanted


def test_privileged_is_all_that_we_have_and_nothing_masked() -> None:
    built = _build(security=Security(privileged=True, allow_privilege_escalation=False, seccomp="RuntimeDefault"))
    assert set(built["process"]["capabilities"]["bounding"]) == {f"CAP_{name}" for name in capabilities.available()}
    assert not {"maskedPaths", "readonlyPaths", "seccomp"} & built["linux"].keys()
    assert built["process"]["noNewPrivileges"] is False
    assert "/dev/null" in [device["path"] for device in built["linux"]["devices"]]
    assert not [device for device in built["linux"]["devices"] if device["path"].startswith("/dev/pts/")]
    sysfs = next(mount for mount in built["mounts"] if mount["destination"] == "/sys")
    assert "ro" not in sysfs["options"]


def test_unprivileged_has_masked_paths_and_no_devices() -> None:
    linux = _build()["linux"]
    assert {"/proc/kcore", "/sys/firmware"} <= set(linux["maskedPaths"])
    assert "/proc/sys" in linux["readonlyPaths"]
    assert linux["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert "devices" not in linux
    assert "seccomp" not in linux


def test_volumes_come_after_the_systems_mounts_and_parents_before_children() -> None:
    volumes = (Mount("/a/b/c", Path("/v1")), Mount("/a", Path("/v2"), readonly=True), Mount("/a/b/", Path("/v3")))
    built = _build(mounts=volumes)
    assert _destinations(built)[-3:] == ["/a", "/a/b/", "/a/b/c"]
    assert built["mounts"][-3]["options"] == ["rbind", "rprivate", "ro"]


def test_a_volume_replaces_our_own_mount_of_that_path() -> None:
    built = _build(mounts=(Mount("/dev/shm/", Path("/v")), Mount("/etc/hosts", Path("/h"))))
    assert sum(Path(path) == Path("/dev/shm") for path in _destinations(built)) == 1
    assert _destinations(built).count("/etc/hosts") == 1


@pytest.mark.parametrize(
    ("kinds", "wanted"),
    [
        (["rprivate"], None),
        (["rslave"], "rslave"),
        (["rslave", "rshared"], "rshared"),
        (["rprivate", "rslave"], "rslave"),
    ],
)
def test_root_propagation_follows_the_volumes(kinds: list[str], wanted: str | None) -> None:
    volumes = tuple(Mount(f"/v{number}", Path("/v"), propagation=kind) for number, kind in enumerate(kinds))
    assert _build(mounts=volumes)["linux"].get("rootfsPropagation") == wanted


def test_environment_has_defaults_that_the_pod_may_override() -> None:
    user = ProcessUser(home="/home/web")
    assert _build(user)["process"]["env"] == [f"PATH={spec.DEFAULT_PATH}", "HOSTNAME=pod", "HOME=/home/web"]
    built = _build(user, env=(("HOME", "/x"), ("A", "1=2")), tty=True)
    assert built["process"]["env"][2:] == ["HOME=/x", "TERM=xterm", "A=1=2"]


def test_limits_are_written_only_where_asked_for() -> None:
    assert _build()["linux"]["resources"].keys() == {"devices"}
    asked = Resources(cpu_shares=512, cpu_quota=50_000, cpu_period=100_000, memory_limit=1 << 20)
    limited = _build(resources=asked)["linux"]["resources"]
    assert limited["cpu"] == {"shares": 512, "quota": 50_000, "period": 100_000}
    assert limited["memory"] == {"limit": 1 << 20, "swap": 1 << 20}
    assert _build(swap=False, resources=asked)["linux"]["resources"]["memory"] == {"limit": 1 << 20}


def test_oom_score_is_never_asked_lower_than_ours_without_the_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    monkeypatch.setattr(capabilities, "available", lambda: frozenset())
    assert spec.allowed_oom_score_adj(own - 1) is None
    assert spec.allowed_oom_score_adj(own + 1) == own + 1
    monkeypatch.setattr(capabilities, "available", lambda: ALL)
    assert spec.allowed_oom_score_adj(-997) == -997
    assert "oomScoreAdj" not in _build()["process"]


def test_pure_v2_gets_a_cgroup_namespace() -> None:
    kinds = [namespace["type"] for namespace in _build(unified=True)["linux"]["namespaces"]]
    assert "cgroup" in kinds
    assert "cgroup" not in [namespace["type"] for namespace in _build()["linux"]["namespaces"]]


def _rules(profile: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [rule for rule in profile["syscalls"] if name in rule["names"]]


def test_seccomp_default_refuses_what_reaches_the_kernel() -> None:
    profile = seccomp.runtime_default(frozenset())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    for name in (
        "mount",
        "bpf",
        "init_module",
        "kexec_load",
        "keyctl",
        "add_key",
        "userfaultfd",
        "io_uring_setup",
        "setns",
    ):
        assert _rules(profile, name) == [], name
    for name in ("read", "openat2", "execve", "futex", "epoll_wait", "clock_gettime"):
        assert _rules(profile, name), name


def test_seccomp_gives_back_what_a_capability_allows() -> None:
    admin = seccomp.runtime_default(frozenset({"CAP_SYS_ADMIN"}))
    assert _rules(admin, "mount")
    assert [rule["action"] for rule in _rules(admin, "clone3")] == ["SCMP_ACT_ALLOW"]
    plain = seccomp.runtime_default(frozenset())
    (clone,), (clone3,) = _rules(plain, "clone"), _rules(plain, "clone3")
    assert clone["args"] == [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    (clone,) = _rules(seccomp.runtime_default(frozenset(), "s390x"), "clone")
    assert clone["args"][0]["index"] == 1
