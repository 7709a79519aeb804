"""NamespaceLifecycle: nothing is created in a namespace that is not there or that ends; some namespaces never end."""

from __future__ import annotations

from podstead.objects import errors
from podstead.registry.admission.base import Attributes, Base, Lookup, Operation

IMMORTAL = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})


class NamespaceLifecycle(Base):
    """403 for both, 404 for a namespace that is not there."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def admit(self, attributes: Attributes) -> None:
        info = attributes.info
        if attributes.operation is Operation.DELETE:
            if info.resource == "namespaces" and attributes.name in IMMORTAL:
                raise errors.forbidden("namespaces", attributes.name, "this namespace may not be deleted")
            return
        # What is there may change, and end, in a namespace that ends; so may subresources (a binding, an eviction).
        if attributes.operation is not Operation.CREATE or not info.namespaced or attributes.subresource:
            return
        namespace = self._lookup.find("namespaces", attributes.namespace)
        if namespace is None:
            raise errors.not_found("namespaces", attributes.namespace)
        if namespace["metadata"].get("deletionTimestamp") or namespace["status"].get("phase") == "Terminating":
            raise _terminating(attributes)


def _terminating(attributes: Attributes) -> errors.StatusError:
    namespace, info = attributes.namespace, attributes.info
    error = errors.forbidden(
        info.plural,
        attributes.name,
        f"unable to create new content in namespace {namespace} because it is being terminated",
        info.group,
    )
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    error.details = {**(error.details or {}), "causes": [cause]}
    return error
