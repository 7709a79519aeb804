"""Nodes: selectable by spec.unschedulable."""

from __future__ import annotations

from typing import ClassVar

from podstead.registry.strategies.base import Object, Strategy, text


class NodeStrategy(Strategy):
    """A node registers itself with its status: unlike other kinds it keeps the one that it is created with."""

    extra_field_labels: ClassVar[frozenset[str]] = frozenset({"spec.unschedulable"})

    def prepare_for_create(self, new: Object) -> None:
        return

    def fields(self, obj: Object) -> dict[str, str]:
        return {"spec.unschedulable": text(bool(obj.get("spec", {}).get("unschedulable")))}
