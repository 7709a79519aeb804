"""Tables (meta.k8s.io Table): what `kubectl get` prints, one module a kind with a real server's columns."""

from __future__ import annotations

from importlib import import_module

from podstead.apiserver.tables.base import GENERIC, TableFormat

_MODULES = {
    ("", "configmaps"): "configmaps",
    ("", "events"): "events",
    ("", "namespaces"): "namespaces",
    ("", "nodes"): "nodes",
    ("", "pods"): "pods",
    ("", "secrets"): "secrets",
    ("", "serviceaccounts"): "serviceaccounts",
}


def for_resource(group: str, plural: str) -> TableFormat:
    """Return the columns and cells of a kind; name and creation time for one that has no table of its own."""
    module = _MODULES.get((group, plural))
    if module is None:
        return GENERIC
    table: TableFormat = import_module(f"{__name__}.{module}").TABLE
    return table
