"""The tables of role bindings; roles have none of their own, as in Kubernetes."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of
from podstead.apiserver.tables.cells import text


def _binding(obj: Object, now: datetime) -> list[Cell]:
    role, subjects = obj.get("roleRef") or {}, obj.get("subjects") or ()

    def named(kind: str) -> str:
        return ", ".join(text(each, "name") for each in subjects if each.get("kind") == kind)

    accounts = [each for each in subjects if each.get("kind") == "ServiceAccount"]
    return [
        name_of(obj),
        f"{role.get('kind', '')}/{role.get('name', '')}",
        age(obj, now),
        named("User"),
        named("Group"),
        ", ".join(f"{each.get('namespace', '')}/{each.get('name', '')}" for each in accounts),
    ]


_BINDING = TableFormat(
    (
        NAME,
        Column("Role", "The role that is given."),
        AGE,
        Column("Users", "The users that get it.", priority=1),
        Column("Groups", "The groups that get it.", priority=1),
        Column("ServiceAccounts", "The service accounts that get it.", priority=1),
    ),
    _binding,
)

TABLES = {"clusterrolebindings": _BINDING, "rolebindings": _BINDING}
