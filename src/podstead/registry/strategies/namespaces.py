"""Namespaces: phase, the name label, and finalizers in spec that hold a namespace until its content is gone."""

from __future__ import annotations

from typing import Any, ClassVar

from podstead.registry.strategies.base import Object, Strategy, keep, text

NAME_LABEL = "kubernetes.io/metadata.name"


class NamespaceStrategy(Strategy):
    """A delete marks a namespace Terminating; a controller empties it and then its spec.finalizers, by `finalize`."""

    extra_field_labels: ClassVar[frozenset[str]] = frozenset({"status.phase"})

    def prepare_for_create(self, new: Object) -> None:
        new["status"] = {"phase": "Active"}
        spec = new.setdefault("spec", {})
        finalizers = list(spec.get("finalizers") or ())
        spec["finalizers"] = finalizers if "kubernetes" in finalizers else [*finalizers, "kubernetes"]

    def named(self, new: Object) -> None:
        set_name_label(new)

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        # Only `finalize` changes these.
        new["spec"] = {**new.get("spec", {})}
        keep(new["spec"], old.get("spec", {}), "finalizers")
        set_name_label(new)

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        # The phase follows from the deletion; one that says otherwise is for validation to refuse.
        phase = "Terminating" if old["metadata"].get("deletionTimestamp") else "Active"
        new["status"] = {"phase": phase, **(new.get("status") or {})}
        set_name_label(new)

    def prepare_for_subresource(self, subresource: str, new: Object, old: Object) -> None:
        keep(new, old, "status")
        set_name_label(new)

    def prepare_for_deletion(self, new: Object) -> None:
        new["status"] = {**(new.get("status") or {}), "phase": "Terminating"}

    def lingers(self, obj: Object) -> bool:
        spec: dict[str, Any] = obj.get("spec", {})
        return bool(spec.get("finalizers"))

    def fields(self, obj: Object) -> dict[str, str]:
        return {"status.phase": text(obj.get("status", {}).get("phase"))}


def set_name_label(new: Object) -> None:
    metadata = new["metadata"]
    if metadata.get("name"):
        metadata["labels"] = {**(metadata.get("labels") or {}), NAME_LABEL: metadata["name"]}
