"""What this node is: capacity, addresses, system information, as the Node object tells them."""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from podstead import KUBERNETES_VERSION, __version__
from podstead.objects.quantity import ZERO, Quantity

MAX_PODS = 110
"""The kubelet's default for maxPods."""
RESERVABLE = ("cpu", "memory", "ephemeral-storage")
NOTHING: Mapping[str, str] = MappingProxyType({})


def node_name() -> str:
    """Return the host's name as a DNS-1123 subdomain."""
    name = re.sub(r"[^a-z0-9.-]", "-", socket.gethostname().lower()).strip("-.")[:253]
    return name or "podstead"


def memory_capacity() -> int:
    """Return the machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def architecture() -> str:
    """Return the machine's architecture by Go's name."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}.get(machine, machine)


def capacity(data: Path) -> dict[str, str]:
    """Return cpu, memory, ephemeral-storage (of the file system of `data`) and pods, as quantities."""
    return {
        "cpu": str(len(os.sched_getaffinity(0))),
        "ephemeral-storage": f"{shutil.disk_usage(data).total // 1024}Ki",
        "memory": f"{memory_capacity() // 1024}Ki",
        "pods": str(MAX_PODS),
    }


def allocatable(data: Path, reserved: Mapping[str, str] = NOTHING) -> dict[str, str]:
    """Return what pods may have of the capacity: what is not `reserved` for the machine (quantities by resource)."""
    found = capacity(data)
    for resource, amount in reserved.items():
        left = Quantity.parse(found[resource]) - Quantity.parse(amount)
        found[resource] = max(left, ZERO).canonical()
    return found


def parse_reserved(text: str) -> dict[str, str]:
    """Read `cpu=500m,memory=1Gi`, the kubelet's form of --system-reserved; raises ValueError."""
    found: dict[str, str] = {}
    for entry in filter(None, text.split(",")):
        resource, _, amount = entry.partition("=")
        if resource not in RESERVABLE:
            raise ValueError(f'cannot reserve "{resource}": only {", ".join(RESERVABLE)}')
        if Quantity.parse(amount) < ZERO:
            raise ValueError(f"{resource}: less than nothing")
        found[resource] = amount
    return found


def addresses(name: str, internal_ip: str) -> list[dict[str, str]]:
    return [{"type": "InternalIP", "address": internal_ip}, {"type": "Hostname", "address": name}]


def labels(name: str) -> dict[str, str]:
    arch, system = architecture(), "linux"
    return {
        "beta.kubernetes.io/arch": arch,
        "beta.kubernetes.io/os": system,
        "kubernetes.io/arch": arch,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": system,
    }


def system_info(runtime_version: str) -> dict[str, Any]:
    """Return status.nodeInfo. `runtime_version` is like `runc://1.1.5`."""
    return {
        "machineID": _first_line("/etc/machine-id"),
        "systemUUID": _first_line("/sys/class/dmi/id/product_uuid"),
        "bootID": _first_line("/proc/sys/kernel/random/boot_id"),
        "kernelVersion": platform.release(),
        "osImage": _os_image(),
        "containerRuntimeVersion": runtime_version,
        "kubeletVersion": f"{KUBERNETES_VERSION}+podstead-{__version__}",
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": architecture(),
    }


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().partition("\n")[0].strip()
    except OSError:
        return ""


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"
