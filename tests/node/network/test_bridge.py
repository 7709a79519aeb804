"""The pods' network, with real bridges, namespaces and sockets; each test has an instance of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from podstead.linux import mounts, namespaces
from podstead.linux.netlink import Netlink
from podstead.node.network import BridgeNetwork, choose_subnet, firewall
from podstead.node.runtime.base import PortMapping, RuntimeFailure
from podstead.paths import Paths

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("nft") is None, reason="needs root and nft")

DEADLINE = 5.0


def _run(*argv: str, stdin: str = "") -> str:
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True, timeout=20).stdout


class Node:
    """An instance's network and the pods in it."""

    def __init__(self, directory: Path, subnet: IPv4Network | None = None) -> None:
        name = f"net-{uuid.uuid4().hex[:8]}"
        self.paths = Paths(name, directory / "data", directory / "run")
        self.subnet = subnet or choose_subnet([], seed=name)
        self.network = BridgeNetwork(self.paths, self.subnet)
        self.pods: list[Path] = []

    def again(self) -> BridgeNetwork:
        """The network as a restarted server sees it."""
        return BridgeNetwork(self.paths, self.subnet)

    async def pod(self, sandbox_id: str) -> tuple[str, Path]:
        """A pod's address and its network namespace, plumbed."""
        directory = self.paths.sandboxes / sandbox_id
        self.pods.append(directory)
        await namespaces.pin(directory, sandbox_id)
        address = self.network.allocate(sandbox_id)
        await self.network.attach(sandbox_id, directory / "net")
        return address, directory / "net"

    def links(self) -> list[str]:
        with Netlink() as netlink:
            return [link.name for link in netlink.links() if link.name.startswith(self.paths.bridge)]

    def tables(self) -> str:
        return _run("nft", "list", "tables")

    async def close(self) -> None:
        await self.network.teardown()
        for directory in self.pods:
            namespaces.unpin(directory)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    subject = Node(tmp_path)
    try:
        await subject.network.setup()
        yield subject
    finally:
        await subject.close()
        for target in mounts.mounts_below(tmp_path):
            mounts.umount(target, lazy=True)


def _listen() -> socket.socket:
    listener = socket.create_server(("0.0.0.0", 0))
    listener.settimeout(DEADLINE)
    return listener


def _talk(address: str, port: int) -> None:
    with socket.create_connection((address, port), timeout=DEADLINE) as client:
        client.sendall(b"hello")


def _hear(listener: socket.socket) -> tuple[str, bytes]:
    connection, peer = listener.accept()
    with connection:
        connection.settimeout(DEADLINE)
        return peer[0], connection.recv(5)


async def _reaches(source: Path, address: str, target: Path | None) -> str:
    """Connect from namespace `source` to a listener in `target` (None: the host); returns the peer's address there."""
    listener = _listen() if target is None else await namespaces.in_network(target, _listen)
    with listener:
        port = listener.getsockname()[1]
        hearing = asyncio.create_task(asyncio.to_thread(_hear, listener))
        await namespaces.in_network(source, lambda: _talk(address, port))
        peer, data = await hearing
    assert data == b"hello"
    return peer


async def test_pods_reach_each_other_themselves_and_the_host(node: Node) -> None:
    first, first_ns = await node.pod("first")
    second, second_ns = await node.pod("second")
    assert await _reaches(first_ns, second, second_ns) == first
    assert await _reaches(second_ns, first, first_ns) == second
    assert await _reaches(first_ns, first, first_ns) == first
    assert await _reaches(first_ns, "127.0.0.1", first_ns) == "127.0.0.1"
    assert await _reaches(first_ns, node.network.gateway, None) == first


async def test_the_host_reaches_a_pod(node: Node) -> None:
    address, netns = await node.pod("pod")
    with await namespaces.in_network(netns, _listen) as listener:
        hearing = asyncio.create_task(asyncio.to_thread(_hear, listener))
        await asyncio.to_thread(_talk, address, listener.getsockname()[1])
        assert await hearing == (node.network.gateway, b"hello")


async def test_pods_go_out_under_the_hosts_address(node: Node, tmp_path: Path) -> None:
    """`outside` is a machine that knows the host and nothing of pods."""
    _, pod_ns = await node.pod("pod")
    outside = tmp_path / "outside"
    name = f"out{node.paths.short_id}"
    between = choose_subnet([node.subnet], seed=node.paths.name)
    host_ip, outside_ip = str(between[1]), str(between[2])
    await namespaces.pin(outside, "outside")
    try:
        _run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p")
        _run("ip", "link", "set", f"{name}p", "netns", str(outside / "net"))
        _run("ip", "address", "add", f"{host_ip}/24", "dev", name)
        _run("ip", "link", "set", name, "up")
        inside = ("nsenter", f"--net={outside}/net", "ip")
        _run(*inside, "address", "add", f"{outside_ip}/24", "dev", f"{name}p")
        _run(*inside, "link", "set", f"{name}p", "up")
        assert await _reaches(pod_ns, outside_ip, outside / "net") == host_ip
    finally:
        _run("ip", "link", "delete", name)
        namespaces.unpin(outside)


async def test_a_pods_link_is_as_it_should_be(node: Node) -> None:
    address, netns = await node.pod("pod")

    def look() -> tuple[bytes, list[str], list[tuple[bytes, int]]]:
        with Netlink() as netlink:
            link = netlink.link("eth0")
            assert link is not None
            default = [
                (route.destination, route.prefix_length) for route in netlink.routes() if not route.prefix_length
            ]
            addresses = [f"{socket.inet_ntoa(one.local)}/{one.prefix_length}" for one in netlink.addresses()]
            return link.mac, sorted(addresses), default

    mac, addresses, default = await namespaces.in_network(netns, look)
    assert mac == b"\x0a\x58" + socket.inet_aton(address)
    assert addresses == sorted([f"{address}/24", "127.0.0.1/8"])
    assert default == [(b"\0\0\0\0", 0)]
    tentative = _run("nsenter", f"--net={netns}", "ip", "-6", "address", "show", "dev", "eth0")
    assert tentative == ""


async def test_attach_is_idempotent_and_heals(node: Node) -> None:
    address, netns = await node.pod("pod")
    await node.network.attach("pod", netns)
    _run("nsenter", f"--net={netns}", "ip", "route", "delete", "default")
    _run("nsenter", f"--net={netns}", "ip", "address", "flush", "dev", "eth0")
    await node.again().attach("pod", netns)
    assert await _reaches(netns, node.network.gateway, None) == address
    assert len(node.links()) == 2


async def test_a_link_left_by_a_dead_pod_is_replaced(node: Node) -> None:
    """Killed between giving the address back and removing the link: the address comes round again."""
    address, _ = await node.pod("old")
    for file in node.paths.network_state.iterdir():
        file.unlink()
    network = BridgeNetwork(node.paths, node.subnet)
    assert network.allocate("new") == address
    directory = node.paths.sandboxes / "new"
    node.pods.append(directory)
    await namespaces.pin(directory, "new")
    await network.attach("new", directory / "net")
    assert await _reaches(directory / "net", network.gateway, None) == address


async def test_attach_without_a_bridge_or_namespace_says_why(node: Node) -> None:
    directory = node.paths.sandboxes / "pod"
    with pytest.raises(RuntimeFailure, match="No such file"):
        await node.network.attach("pod", directory / "net")
    node.pods.append(directory)
    await namespaces.pin(directory, "pod")
    _run("ip", "link", "delete", node.paths.bridge)
    with pytest.raises(RuntimeFailure, match=f"there is no bridge {node.paths.bridge}"):
        await node.network.attach("pod", directory / "net")


async def test_detach_gives_everything_back(node: Node) -> None:
    address, _ = await node.pod("pod")
    await node.network.detach("pod")
    await node.network.detach("pod")
    await node.network.detach("never-seen")
    assert node.links() == [node.paths.bridge]
    assert not (node.paths.network_state / address).exists()


async def test_setup_may_be_repeated_with_pods_attached(node: Node) -> None:
    address, netns = await node.pod("pod")
    await node.again().setup()
    await node.network.setup()
    assert await _reaches(netns, node.network.gateway, None) == address
    assert node.tables().split("\n").count(f"table ip {node.paths.nft_table}") == 1


async def test_sweep_removes_what_nobody_knows(node: Node) -> None:
    address, netns = await node.pod("known")
    await node.pod("lost")
    network = node.again()
    await network.sweep({"known"})
    assert len(node.links()) == 2
    assert {file.name for file in node.paths.network_state.iterdir()} == {address, "last"}
    assert await _reaches(netns, network.gateway, None) == address


async def test_teardown_leaves_nothing_and_may_be_repeated(node: Node) -> None:
    await node.pod("first")
    await node.pod("second")
    await node.network.teardown()
    await node.again().teardown()
    assert node.links() == []
    assert node.paths.nft_table not in node.tables()
    assert not node.paths.network_state.exists()


async def test_teardown_of_what_is_half_made(node: Node) -> None:
    await node.pod("first")
    await node.pod("second")
    _run("ip", "link", "delete", node.paths.bridge)
    await firewall.apply(firewall.removal(node.paths.nft_table))
    await node.again().teardown()
    assert node.links() == []


async def test_a_subnet_in_use_is_refused(node: Node, tmp_path: Path) -> None:
    other = Node(tmp_path / "other", node.subnet)
    try:
        with pytest.raises(RuntimeFailure, match=f"{node.subnet} is in use on this host: {node.paths.bridge}"):
            await other.network.setup()
    finally:
        await other.close()
    assert not other.links()
    assert other.paths.nft_table not in other.tables()


async def test_without_nft_one_line_says_what_to_install(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nonexistent")
        with pytest.raises(RuntimeFailure, match="nft is not installed") as caught:
            await node.network.setup()
    assert caught.value.reason == "NetworkNotReady"


async def test_a_cancelled_attach_is_over_when_it_returns(node: Node) -> None:
    directory = node.paths.sandboxes / "pod"
    node.pods.append(directory)
    await namespaces.pin(directory, "pod")
    attaching = asyncio.create_task(node.network.attach("pod", directory / "net"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    attaching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attaching
    await node.network.detach("pod")
    assert node.links() == [node.paths.bridge]


async def test_a_table_that_drops_forwarding_is_named(node: Node) -> None:
    """In a network namespace of its own, so that the host's firewall stays as it is."""
    rules = """
    table ip filter {
      chain DOCKER-USER { counter return
      }
      chain FORWARD { type filter hook forward priority filter; policy drop; jump DOCKER-USER
      }
    }
    """
    place = node.paths.run / "firewall"
    node.pods.append(place)
    await namespaces.pin(place, "firewall")
    enter = ("nsenter", f"--net={place}/net")

    async def blocker() -> str | None:
        listing = await asyncio.to_thread(_run, *enter, "nft", "-j", "list", "ruleset")
        return firewall.explain(listing.encode(), node.paths.bridge)

    assert await blocker() is None
    _run(*enter, "nft", "-f", "-", stdin=rules)
    warning = await blocker()
    assert warning is not None
    assert f"iptables -I DOCKER-USER -i {node.paths.bridge} -j ACCEPT" in warning
    accept = f'add rule ip filter DOCKER-USER iifname "{node.paths.bridge}" counter accept'
    _run(*enter, "nft", accept)
    assert await blocker() is None


def test_sandbox_configuration_is_not_shared(tmp_path: Path) -> None:
    """Two instances share neither bridge nor table nor, told of each other, a subnet."""
    first, second = Node(tmp_path / "1"), Node(tmp_path / "2")
    assert first.paths.bridge != second.paths.bridge
    assert first.paths.nft_table != second.paths.nft_table
    assert not choose_subnet([first.subnet], seed=first.paths.name).overlaps(first.subnet)


async def test_ports_of_the_host_survive_a_restart_and_go_with_the_pod(node: Node) -> None:
    address, _ = await node.pod("s")
    ports = [PortMapping("TCP", 40001, 80), PortMapping("UDP", 40002, 53, "127.0.0.1"), PortMapping("TCP", 1, 1, "::1")]
    for _ in range(2):
        await node.network.publish("s", ports)

    def listed() -> str:
        return _run("nft", "list", "table", "ip", node.paths.nft_table)

    every, single = f"tcp . 40001 : {address} . 80", f"127.0.0.1 . udp . 40002 : {address} . 53"
    assert every in listed()
    assert single in listed()
    again = node.again()
    await again.setup()
    assert every in listed()
    assert single in listed()
    await again.sweep(set())
    assert "4000" not in listed()
    await again.detach("s")
