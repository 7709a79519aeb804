"""Who owns whom, by uid: what the garbage collector remembers of all objects.

Only objects that have an owner, or whose end waits for their dependents, are kept, and of these no more than what
names them. An object that owns others but is owned by none is a uid with a set of dependents.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from sys import intern

from podstead.client.base import Metadata
from podstead.objects.exchange import OwnerReference

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
"""Finalizers that the collector lifts."""

NO_NODES: frozenset[Node] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """An object as it was last seen; replaced by another, never changed."""

    resource: str
    namespace: str
    name: str
    uid: str
    owners: tuple[OwnerReference, ...]
    deleting: bool
    foreground: bool
    """It is being deleted, and its dependents go first."""
    orphans: bool
    """It is being deleted, and its dependents are to stay."""

    def blocks(self, owner: str) -> bool:
        """Tell whether the owner of that uid, deleted in the foreground, waits for this object."""
        return any(reference.uid == owner and reference.block_owner_deletion for reference in self.owners)


def node_of(resource: str, metadata: Metadata) -> Node | None:
    """Return what is to be remembered of an object, None if nothing is."""
    owners = metadata.owner_references or ()
    deleting = bool(metadata.deletion_timestamp)
    finalizers = (metadata.finalizers or ()) if deleting else ()
    foreground, orphans = FOREGROUND in finalizers, ORPHAN in finalizers
    if not (owners or foreground or orphans):
        return None
    return Node(
        resource, intern(metadata.namespace), metadata.name, metadata.uid, owners, deleting, foreground, orphans
    )


class OwnerGraph:
    """Nodes by uid, and each owner's dependents."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self._dependents: dict[str, set[Node]] = {}

    def dependents(self, uid: str) -> Iterable[Node]:
        return self._dependents.get(uid, NO_NODES)

    def owns(self, uid: str) -> bool:
        return uid in self._dependents

    def put(self, node: Node) -> None:
        """Add a node, in place of an earlier state of the same object."""
        self.remove(node.uid)
        node = self._sharing(node)
        self.nodes[node.uid] = node
        for reference in node.owners:
            self._dependents.setdefault(reference.uid, set()).add(node)

    def _sharing(self, node: Node) -> Node:
        """Return the node with the references of one with the same owners, if there is any."""
        sibling = next(iter(self.dependents(node.owners[0].uid)), None) if node.owners else None
        if sibling is None or sibling.owners != node.owners:
            return node
        return replace(node, owners=sibling.owners)

    def remove(self, uid: str) -> Node | None:
        """Forget an object; its dependents stay known as those of its uid."""
        node = self.nodes.pop(uid, None)
        if node is not None:
            for owner in {reference.uid for reference in node.owners}:
                left = self._dependents[owner]
                left.discard(node)
                if not left:
                    del self._dependents[owner]
        return node
