"""The table of nodes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


def _status(obj: Object) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or []
    ready = next((condition for condition in conditions if condition.get("type") == "Ready"), None)
    words = ["Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"]
    if (obj.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(obj: Object) -> str:
    labels: dict[str, str] = obj.get("metadata", {}).get("labels") or {}
    roles = {label.removeprefix(_ROLE_PREFIX) for label in labels if label.startswith(_ROLE_PREFIX)}
    roles.add(labels.get(_ROLE_LABEL, ""))
    return ",".join(sorted(roles - {""})) or "<none>"


def _address(status: dict[str, Any], kind: str) -> str:
    addresses = status.get("addresses") or []
    return next((str(entry["address"]) for entry in addresses if entry.get("type") == kind), "<none>")


def _cells(obj: Object, now: datetime) -> list[Cell]:
    status = obj.get("status") or {}
    info = status.get("nodeInfo") or {}
    return [
        name_of(obj),
        _status(obj),
        _roles(obj),
        age(obj, now),
        info.get("kubeletVersion", ""),
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


TABLES = {
    "nodes": TableFormat(
        (
            NAME,
            Column("Status", "Whether the node is ready, and whether pods may be scheduled to it."),
            Column("Roles", "The roles that the node's labels give it."),
            AGE,
            Column("Version", "The version that the node agent reports."),
            Column("Internal-IP", "The node's first internal address.", priority=1),
            Column("External-IP", "The node's first external address.", priority=1),
            Column("OS-Image", "The operating system that the node reports.", priority=1),
            Column("Kernel-Version", "The kernel that the node reports.", priority=1),
            Column("Container-Runtime", "The container runtime and version that the node reports.", priority=1),
        ),
        _cells,
    )
}
