"""Giving out pods' addresses, and choosing the subnet that they come from."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from podstead.node.network import subnet as subnet_module
from podstead.node.network.addresses import AddressPool
from podstead.node.network.subnet import RANGES, choose_subnet, host_networks
from podstead.node.runtime.base import RuntimeFailure

SMALL = IPv4Network("10.99.0.0/29")


def test_gives_out_each_address_once_and_no_special_one(tmp_path: Path) -> None:
    pool = AddressPool(tmp_path / "net", SMALL)
    given = [str(pool.allocate(f"s{number}")) for number in range(5)]
    assert given == ["10.99.0.2", "10.99.0.3", "10.99.0.4", "10.99.0.5", "10.99.0.6"]
    with pytest.raises(RuntimeFailure, match=r"no pod address is left in 10\.99\.0\.0/29"):
        pool.allocate("one-more")


def test_the_same_sandbox_gets_the_same_address(tmp_path: Path) -> None:
    pool = AddressPool(tmp_path, SMALL)
    assert pool.allocate("s") == pool.allocate("s") == pool.address_of("s")


def test_an_address_is_not_used_again_at_once(tmp_path: Path) -> None:
    pool = AddressPool(tmp_path, SMALL)
    first = pool.allocate("first")
    pool.release("first")
    assert pool.allocate("second") != first
    restarted = AddressPool(tmp_path, SMALL)
    restarted.release("second")
    assert restarted.allocate("third") == IPv4Address("10.99.0.4")


def test_a_restart_forgets_no_address(tmp_path: Path) -> None:
    pool = AddressPool(tmp_path, SMALL)
    given = {f"s{number}": pool.allocate(f"s{number}") for number in range(3)}
    restarted = AddressPool(tmp_path, SMALL)
    assert {sandbox: restarted.allocate(sandbox) for sandbox in given} == given
    assert restarted.allocate("new") not in given.values()
    assert sorted(restarted.sandboxes()) == ["new", "s0", "s1", "s2"]


def test_a_file_that_appeared_meanwhile_is_respected(tmp_path: Path) -> None:
    pool = AddressPool(tmp_path, SMALL)
    assert pool.sandboxes() == []
    (tmp_path / "10.99.0.2").write_text("somebody")
    assert pool.allocate("s") == IPv4Address("10.99.0.3")


def test_remains_of_a_crash_and_of_another_subnet_are_removed(tmp_path: Path) -> None:
    for name, content in (("10.99.0.2", ""), ("10.98.0.2", "old"), (".draft", "draft"), ("last", "nonsense")):
        (tmp_path / name).write_text(content)
    pool = AddressPool(tmp_path, SMALL)
    assert pool.sandboxes() == []
    assert pool.allocate("s") == IPv4Address("10.99.0.2")
    assert {file.name for file in tmp_path.iterdir()} == {"10.99.0.2", "last"}


def test_release_and_clear_may_be_repeated(tmp_path: Path) -> None:
    pool = AddressPool(tmp_path / "net", SMALL)
    pool.allocate("s")
    for _ in range(2):
        pool.release("s")
        pool.clear()
    assert not (tmp_path / "net").exists()
    assert pool.allocate("s") == IPv4Address("10.99.0.2")


def test_the_subnet_has_room_for_110_pods_and_is_free(tmp_path: Path) -> None:
    chosen = choose_subnet([])
    assert chosen.num_addresses - 3 >= 110
    assert not any(chosen.overlaps(used) for used in host_networks())


def test_instances_do_not_share_a_subnet() -> None:
    taken: list[IPv4Network] = []
    for number in range(20):
        taken.append(choose_subnet(taken, seed=f"instance-{number}"))
    assert len(set(taken)) == 20
    assert choose_subnet(taken, seed="instance-0") not in taken


def test_what_the_host_uses_is_avoided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subnet_module, "host_networks", lambda: [RANGES[0]])
    assert choose_subnet([]).subnet_of(RANGES[1])
    assert choose_subnet([IPv4Network("10.88.0.0/16")]) == IPv4Network("10.89.0.0/24")
    with pytest.raises(RuntimeFailure, match="no free IPv4 subnet"):
        choose_subnet(RANGES)


@pytest.mark.skipif(not os.path.exists("/proc/net/route"), reason="needs Linux")  # noqa: PTH110
def test_the_hosts_own_networks_are_seen() -> None:
    found = host_networks()
    assert any(IPv4Address("127.0.0.1") in network for network in found)
    assert all(network.prefixlen >= 8 for network in found)
