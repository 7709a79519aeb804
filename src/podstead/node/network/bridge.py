"""The pods' network on one bridge: implements node.runtime.base.PodNetwork.

Links are named after the bridge and the pod's address (`pst1a2b3c4d0005`), 15 bytes, so that what an earlier server
left is known by name alone. The pod's end is made in the pod's own namespace, as eth0, in the same call.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from podstead.linux import namespaces
from podstead.linux import netlink as nl
from podstead.node.network import firewall
from podstead.node.network.addresses import AddressPool
from podstead.node.network.hostports import HostPorts
from podstead.node.runtime.base import PortMapping, RuntimeFailure
from podstead.node.settled import settled
from podstead.paths import Paths

POD_LINK = "eth0"
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_NO_IPV6 = nl.attribute(
    nl.IFLA_AF_SPEC,
    [
        nl.attribute(
            socket.AF_INET6, [nl.attribute(nl.IFLA_INET6_ADDR_GEN_MODE, struct.pack("=B", nl.IN6_ADDR_GEN_MODE_NONE))]
        )
    ],
)
"""No link-local address: the network is IPv4 only, and neighbour discovery on each link would be noise."""


class BridgeNetwork:
    """One bridge with the gateway's address, the first of `subnet`, which is a /16 to /28.

    `allocate` is for the loop; the rest does its work in threads. Every method may be repeated, also after a SIGKILL
    in the middle of it.
    """

    def __init__(self, paths: Paths, subnet: IPv4Network) -> None:
        self.subnet = subnet
        self._bridge = paths.bridge
        self._table = paths.nft_table
        self._pool = AddressPool(paths.network_state, subnet)
        self._ports = HostPorts(paths.host_ports, paths.nft_table)
        self._group = (int(paths.short_id, 16) & 0x7FFFFFFF) | 1
        """The links' group, by which they are removed together."""
        self._mtu = 1500
        self._warning: str | None = None
        self._local_route = False
        """Whether the host's loopback address may be a packet's sender on the bridge."""

    @property
    def name(self) -> str:
        """The bridge's, as the kernel knows it."""
        return self._bridge

    @property
    def gateway(self) -> str:
        """The bridge's address: the pods' default route, and where they reach the API server."""
        return str(self._pool.gateway)

    def forward_warning(self) -> str | None:
        """Return what `setup` found to drop the pods' packets (Docker's FORWARD policy) and the remedy, in one line."""
        return self._warning

    async def setup(self) -> None:
        """Make the bridge, the nftables table and forwarding; raises RuntimeFailure (reason NetworkNotReady)."""
        ports = self._ports.rules(self._bridge, self.subnet)
        rules = firewall.script(self._table, self._bridge, self.subnet, ports)
        warning, *outcomes = await asyncio.gather(
            firewall.blocker(self._bridge),
            firewall.apply(rules),
            settled(asyncio.to_thread(self._make_bridge)),
            return_exceptions=True,
        )
        for outcome in (*outcomes, warning):
            if isinstance(outcome, OSError):
                raise RuntimeFailure(
                    f"cannot set up bridge {self._bridge}: {outcome.strerror}", reason="NetworkNotReady"
                ) from outcome
            if isinstance(outcome, BaseException):
                raise outcome
        self._warning = warning if isinstance(warning, str) else None

    def allocate(self, sandbox_id: str) -> str:
        """Give out an address (the same one if asked again) and record it; RuntimeFailure if none is left."""
        return str(self._pool.allocate(sandbox_id))

    async def attach(self, sandbox_id: str, netns: Path) -> None:
        """Plumb the namespace pinned at `netns` with the allocated address; raises RuntimeFailure."""
        address = self._pool.allocate(sandbox_id)
        try:
            with nl.Netlink() as host:
                await settled(namespaces.in_network(netns, lambda: self._plumb(host, address, netns)))
        except OSError as error:
            raise RuntimeFailure(
                f"cannot set up the pod's network ({address} on {self._bridge}): {error.strerror or error}",
                reason="FailedCreatePodSandBox",
            ) from error

    async def publish(self, sandbox_id: str, ports: Sequence[PortMapping]) -> None:
        """Have the host's ports lead to the sandbox's until `detach`; raises RuntimeFailure."""
        address = self._pool.allocate(sandbox_id)
        await settled(self._ports.publish(sandbox_id, str(address), ports))
        if not self._local_route:
            await asyncio.to_thread(Path(f"/proc/sys/net/ipv4/conf/{self._bridge}/route_localnet").write_text, "1")
            self._local_route = True

    async def detach(self, sandbox_id: str) -> None:
        """Take ports and links away and give the address back; unknown ids are not an error."""
        await settled(self._ports.withdraw(sandbox_id))
        address = self._pool.address_of(sandbox_id)
        if address is None:
            return
        await settled(asyncio.to_thread(self._remove_link, self._link_name(address)))
        self._pool.release(sandbox_id)

    async def sweep(self, known: set[str]) -> None:
        """Detach every sandbox that is not `known`, and remove links of this instance that no sandbox holds."""
        for sandbox_id in {*self._pool.sandboxes(), *self._ports.sandboxes()}:
            if sandbox_id not in known:
                await self.detach(sandbox_id)
        addresses = (self._pool.address_of(sandbox_id) for sandbox_id in self._pool.sandboxes())
        held = {self._link_name(address) for address in addresses if address is not None}
        await asyncio.to_thread(self._remove_links, held)

    async def teardown(self) -> None:
        """Remove links, bridge, table and addresses, whatever of it is there.

        Forwarding stays as it is: others may have come to need it.
        """
        await asyncio.to_thread(self._remove_links, set[str](), bridge=True)
        await firewall.apply(firewall.removal(self._table))
        self._ports.clear()
        self._pool.clear()

    # -- in threads

    def _make_bridge(self) -> None:
        gateway = self._pool.gateway
        with nl.Netlink() as host:
            self._refuse_overlap(host)
            self._mtu = _mtu_outwards(host)
            self._create_bridge(host)
            bridge = host.link(self._bridge)
            if bridge is None:
                raise RuntimeFailure(f"bridge {self._bridge} vanished", reason="NetworkNotReady")
            stale = [one for one in host.addresses() if one.index == bridge.index and one.local != gateway.packed]
            host.request(
                *(nl.remove_address(one) for one in stale),
                nl.Request(nl.RTM_NEWLINK, 0, nl.link_body(_NO_IPV6, index=bridge.index)),
                nl.add_address(
                    bridge.index, gateway.packed, self.subnet.prefixlen, self.subnet.broadcast_address.packed
                ),
                nl.Request(nl.RTM_NEWLINK, 0, nl.link_body(index=bridge.index, up=True)),
            )
        if _FORWARD.read_text().strip() == "0":
            _FORWARD.write_text("1\n")

    def _refuse_overlap(self, host: nl.Netlink) -> None:
        names = {link.index: link.name for link in host.links()}
        for one in host.addresses():
            name = names.get(one.index, "")
            if name != self._bridge and IPv4Address(one.local) in self.subnet:
                text = f"the pods' subnet {self.subnet} is in use on this host: {name} has {IPv4Address(one.local)}"
                raise RuntimeFailure(text, reason="NetworkNotReady")

    def _create_bridge(self, host: nl.Netlink) -> None:
        """A fixed MAC address keeps the bridge from taking on the lowest of its ports', which come and go."""
        settings = nl.attribute(nl.IFLA_BR_MCAST_SNOOPING, b"\0") + nl.attribute(nl.IFLA_BR_FORWARD_DELAY, 0)
        body = nl.link_body(
            nl.attribute(nl.IFLA_IFNAME, self._bridge),
            nl.attribute(nl.IFLA_ADDRESS, _mac(self._pool.gateway)),
            nl.attribute(
                nl.IFLA_LINKINFO,
                [nl.attribute(nl.IFLA_INFO_KIND, "bridge"), nl.attribute(nl.IFLA_INFO_DATA, [settings])],
            ),
        )
        try:
            host.request(nl.Request(nl.RTM_NEWLINK, nl.NLM_F_CREATE | nl.NLM_F_EXCL, body))
        except FileExistsError:
            pass

    def _plumb(self, host: nl.Netlink, address: IPv4Address, netns: Path) -> None:
        """Runs in the pod's namespace; `host` is a socket that was opened outside of it."""
        with nl.Netlink() as pod:
            if not self._is_plumbed(host, pod, address):
                self._clear_way(host, pod, address)
                self._create_pair(host, address, netns)
            name = nl.attribute(nl.IFLA_IFNAME, self._link_name(address))
            bridge = nl.attribute(nl.IFLA_MASTER, self._bridge_index(host))
            host.request(
                nl.Request(nl.RTM_NEWLINK, 0, nl.link_body(name, _NO_IPV6)),
                nl.Request(nl.RTM_NEWLINK, 0, nl.link_body(name, bridge, up=True)),
            )
            index = socket.if_nametoindex(POD_LINK)
            pod.request(
                nl.Request(nl.RTM_NEWLINK, 0, nl.link_body(index=socket.if_nametoindex("lo"), up=True)),
                nl.Request(nl.RTM_NEWLINK, 0, nl.link_body(_NO_IPV6, index=index)),
                nl.add_address(index, address.packed, self.subnet.prefixlen, self.subnet.broadcast_address.packed),
                nl.Request(nl.RTM_NEWLINK, 0, nl.link_body(index=index, up=True)),
                nl.add_default_route(self._pool.gateway.packed),
            )

    def _is_plumbed(self, host: nl.Netlink, pod: nl.Netlink, address: IPv4Address) -> bool:
        """Whether both ends are there already (an earlier attach, perhaps cut short after the pair was made)."""
        inner = pod.link(POD_LINK)
        return inner is not None and inner.mac == _mac(address) and host.link(self._link_name(address)) is not None

    def _clear_way(self, host: nl.Netlink, pod: nl.Netlink, address: IPv4Address) -> None:
        """Remove a link of that name that leads elsewhere, and an eth0 that is not ours in the pod."""
        for end, name in ((host, self._link_name(address)), (pod, POD_LINK)):
            link = end.link(name)
            if link is not None:
                end.remove_link(link.index)

    def _create_pair(self, host: nl.Netlink, address: IPv4Address, netns: Path) -> None:
        mtu = nl.attribute(nl.IFLA_MTU, self._mtu)
        descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            peer = nl.link_body(
                nl.attribute(nl.IFLA_IFNAME, POD_LINK),
                nl.attribute(nl.IFLA_ADDRESS, _mac(address)),
                nl.attribute(nl.IFLA_NET_NS_FD, descriptor),
                mtu,
            )
            data = [nl.attribute(nl.VETH_INFO_PEER, peer)]
            kind = [nl.attribute(nl.IFLA_INFO_KIND, "veth"), nl.attribute(nl.IFLA_INFO_DATA, data)]
            body = nl.link_body(
                nl.attribute(nl.IFLA_IFNAME, self._link_name(address)),
                nl.attribute(nl.IFLA_LINKINFO, kind),
                nl.attribute(nl.IFLA_GROUP, self._group),
                mtu,
            )
            host.request(nl.Request(nl.RTM_NEWLINK, nl.NLM_F_CREATE | nl.NLM_F_EXCL, body))
        finally:
            os.close(descriptor)

    def _bridge_index(self, host: nl.Netlink) -> int:
        bridge = host.link(self._bridge)
        if bridge is None:
            raise OSError(errno.ENODEV, f"there is no bridge {self._bridge}")
        return bridge.index

    def _remove_link(self, name: str) -> None:
        with nl.Netlink() as host:
            link = host.link(name)
            if link is not None:
                host.remove_link(link.index)

    def _remove_links(self, held: set[str], *, bridge: bool = False) -> None:
        """Remove the pods' links whose names are not in `held`, and the bridge after them if asked."""
        with nl.Netlink() as host:
            links = host.links()
            ours = [link for link in links if link.name != self._bridge and link.name.startswith(self._bridge)]
            grouped = {link.index for link in links if link.group == self._group}
            if len(ours) > 1 and not held and grouped == {link.index for link in ours}:
                host.remove_group(self._group)
                ours = []
            for link in ours:
                if link.name not in held:
                    host.remove_link(link.index)
            own = host.link(self._bridge) if bridge else None
            if own is not None:
                host.remove_link(own.index)

    def _link_name(self, address: IPv4Address) -> str:
        return f"{self._bridge}{int(address) - int(self.subnet.network_address):04x}"


def _mac(address: IPv4Address) -> bytes:
    """Return the address's own MAC address (locally administered), so that a neighbour's cache is right for ever."""
    return b"\x0a\x58" + address.packed


def _mtu_outwards(host: nl.Netlink) -> int:
    """Return the MTU of the host's default route, else Ethernet's; a pod that sends more relies on path discovery."""
    outwards = {route.index for route in host.routes() if route.prefix_length == 0}
    return min((link.mtu for link in host.links() if link.index in outwards and link.mtu), default=1500)
