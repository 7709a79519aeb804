"""The network of the node's pods: one bridge an instance, a veth pair a pod, NAT by one nftables table."""

from podstead.node.network.bridge import BridgeNetwork
from podstead.node.network.subnet import choose_subnet

__all__ = ["BridgeNetwork", "choose_subnet"]
