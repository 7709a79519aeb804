"""Tables (meta.k8s.io Table): what `kubectl get` prints, one module an API group with a real server's columns.

Columns and cells are those of Kubernetes' own printers; a kind that has none there (roles, limit ranges, definitions of
custom resources) gets its name and creation time, as there.
"""

from __future__ import annotations

from importlib import import_module

from podstead.apiserver.tables.base import GENERIC, TableFormat

# The modules of the core group, by plural; each has TABLES, its formats by plural.
_CORE = {
    "componentstatuses": "core",
    "configmaps": "core",
    "endpoints": "networking",
    "events": "events",
    "namespaces": "core",
    "nodes": "nodes",
    "persistentvolumeclaims": "storage",
    "persistentvolumes": "storage",
    "pods": "pods",
    "podtemplates": "core",
    "replicationcontrollers": "apps",
    "resourcequotas": "core",
    "secrets": "core",
    "serviceaccounts": "core",
    "services": "networking",
}
_GROUPS = {
    "admissionregistration.k8s.io": "admission",
    "apiregistration.k8s.io": "apiregistration",
    "apps": "apps",
    "autoscaling": "autoscaling",
    "batch": "batch",
    "certificates.k8s.io": "certificates",
    "coordination.k8s.io": "coordination",
    "discovery.k8s.io": "networking",
    "events.k8s.io": "events",
    "flowcontrol.apiserver.k8s.io": "flowcontrol",
    "metrics.k8s.io": "usage",
    "networking.k8s.io": "networking",
    "node.k8s.io": "scheduling",
    "policy": "policy",
    "rbac.authorization.k8s.io": "rbac",
    "resource.k8s.io": "resource",
    "scheduling.k8s.io": "scheduling",
    "storage.k8s.io": "storage",
    "storagemigration.k8s.io": "storage",
}


def for_resource(group: str, plural: str) -> TableFormat:
    """Return the columns and cells of a kind; name and creation time for one that has no table of its own."""
    module = _GROUPS.get(group) if group else _CORE.get(plural)
    if module is None:
        return GENERIC
    tables: dict[str, TableFormat] = import_module(f"{__name__}.{module}").TABLES
    return tables.get(plural, GENERIC)
