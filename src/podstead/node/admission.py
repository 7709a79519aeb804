"""What the node refuses of a pod that was bound to it: unsafe parameters of the kernel, ports that are taken.

Source: Kubernetes documentation, "Using sysctls in a Kubernetes Cluster" (safe and unsafe); the kubelet's predicates
for pods that no scheduler placed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from podstead.objects.hostports import conflict, taken
from podstead.objects.pod import Pod

SAFE_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    )
)
"""Those that are of a namespace of the pod's own and reach no other pod."""


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str
    message: str


def refusal(pod: Pod, others: Iterable[Pod]) -> Refusal | None:
    """Return why this node does not run `pod`; `others` are those that it runs."""
    for sysctl in pod.spec.security_context.sysctls:
        name = dotted(sysctl.name)
        if name not in SAFE_SYSCTLS:
            return Refusal("SysctlForbidden", f'forbidden sysctl: "{name}" not allowlisted')
        namespace, shared = ("ipc", pod.spec.host_ipc) if name.startswith("kernel.") else ("net", pod.spec.host_network)
        if shared:
            return Refusal("SysctlForbidden", f'forbidden sysctl: "{name}" not allowed with host {namespace} enabled')
    # One that the node has begun with had its ports then.
    if not pod.status.start_time and conflict(taken(pod), (port for other in others for port in taken(other))):
        text = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
        return Refusal("NodePorts", text)
    return None


def dotted(name: str) -> str:
    """A name of sysctl(8) may have slashes for its dots; the first separator says which it is."""
    first = next((character for character in name if character in "./"), ".")
    return name.translate(str.maketrans("/.", "./")) if first == "/" else name
