"""Pods: phase and quality-of-service class, graceful deletion, binding, selectable fields."""

from __future__ import annotations

from typing import Any, ClassVar

from podstead import clock
from podstead.objects import errors
from podstead.objects.pod import from_object, qos_class
from podstead.registry.strategies.base import Object, Strategy, keep, text

DEFAULT_GRACE_SECONDS = 30


class PodStrategy(Strategy):
    """The kubelet ends a pod: a delete of a scheduled one sets its deletionTimestamp, the node removes it with grace 0
    (Kubernetes documentation, "Pod Lifecycle", termination of pods).
    """

    generation: ClassVar[bool] = True
    extra_field_labels: ClassVar[frozenset[str]] = frozenset(
        {
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        }
    )

    def prepare_for_create(self, new: Object) -> None:
        new["status"] = {"phase": "Pending", "qosClass": qos_class(from_object(new))}

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        status = new.setdefault("status", {})
        # Both are the server's: a node that writes only what it knows must not lose them.
        status.setdefault("phase", old.get("status", {}).get("phase", "Pending"))
        if "qosClass" in old.get("status", {}):
            status["qosClass"] = old["status"]["qosClass"]
        if not status.get("observedGeneration"):
            # A writer that does not know the field must not clear it (KEP-5067).
            keep(status, old.get("status", {}), "observedGeneration")

    def prepare_for_subresource(self, subresource: str, new: Object, old: Object) -> None:
        """pods/ephemeralcontainers: nothing but these containers changes (KEP-277). pods/resize: nothing but the
        containers' resources and resizePolicy (KEP-1287).
        """
        if subresource == "resize":
            spec = {**old["spec"], **_resized(new.get("spec", {}), old["spec"])}
        elif subresource == "ephemeralcontainers":
            spec = {**old["spec"], "ephemeralContainers": new.get("spec", {}).get("ephemeralContainers")}
            if not spec["ephemeralContainers"]:
                del spec["ephemeralContainers"]
        else:
            raise NotImplementedError(subresource)
        for field in {*new, *old} - {"apiVersion", "kind", "metadata"}:
            keep(new, old, field)
        new["metadata"], new["spec"] = {**old["metadata"]}, spec
        if self.spec_changed(new, old):
            new["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1

    def grace_period(self, obj: Object, requested: int | None) -> int | None:
        spec = obj.get("spec", {})
        seconds = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS) if requested is None else requested
        ended = obj.get("status", {}).get("phase") in ("Succeeded", "Failed")
        if not spec.get("nodeName") or ended:
            return 0
        return 1 if seconds < 0 else int(seconds)

    def fields(self, obj: Object) -> dict[str, str]:
        spec, status = obj.get("spec", {}), obj.get("status", {})
        return {
            "spec.nodeName": text(spec.get("nodeName")),
            "spec.restartPolicy": text(spec.get("restartPolicy")),
            "spec.schedulerName": text(spec.get("schedulerName")),
            "spec.serviceAccountName": text(spec.get("serviceAccountName")),
            "spec.hostNetwork": text(bool(spec.get("hostNetwork"))),
            "status.phase": text(status.get("phase")),
            "status.podIP": text(status.get("podIP")),
            "status.nominatedNodeName": text(status.get("nominatedNodeName")),
        }


def _resized(sent: Object, old: Object) -> Object:
    """Return the containers of `old` with the resources that `sent` gives to those of the same name."""
    resized: Object = {}
    for kind in ("containers", "initContainers"):
        wanted = {one["name"]: one for one in sent.get(kind) or () if one.get("name")}
        for container in old.get(kind) or ():
            one = dict(container)
            for field in ("resources", "resizePolicy"):
                keep(one, wanted.get(one["name"], container), field)
            resized.setdefault(kind, []).append(one)
    return resized


def bind(pod: Object, binding: Object) -> None:
    """Set the node that `binding` names, in place, on a private copy of a pod. Raises StatusError 409, 422."""
    name = pod["metadata"]["name"]
    target = binding.get("target") or {}
    if target.get("kind") not in (None, "", "Node"):
        cause = errors.FieldError(
            "target.kind",
            "FieldValueNotSupported",
            f'Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"',
        )
        raise errors.invalid("Binding", name, [cause])
    if not target.get("name"):
        raise errors.invalid(
            "Binding", name, [errors.FieldError("target.name", "FieldValueRequired", "Required value")]
        )
    metadata, spec = pod["metadata"], pod.setdefault("spec", {})
    if binding.get("metadata", {}).get("uid") not in (None, "", metadata["uid"]):
        raise errors.conflict("pods/binding", name, f"the UID in the binding is not that of the pod, {metadata['uid']}")
    if metadata.get("deletionTimestamp"):
        raise errors.conflict("pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        why = f'pod {name} is already assigned to node "{spec["nodeName"]}"'
        raise errors.conflict("pods/binding", name, why)
    spec["nodeName"] = target["name"]
    for field in ("annotations", "labels"):
        if added := binding.get("metadata", {}).get(field):
            metadata[field] = {**(metadata.get(field) or {}), **added}
    generation = metadata.get("generation", 1)
    set_condition(pod, {"type": "PodScheduled", "status": "True", "observedGeneration": generation})


def set_condition(pod: Object, condition: dict[str, Any]) -> None:
    """Put a condition into status.conditions in place of the one of its type; lastTransitionTime is now if it flips."""
    conditions: list[dict[str, Any]] = list(pod.setdefault("status", {}).get("conditions") or ())
    before = next((known for known in conditions if known.get("type") == condition["type"]), None)
    condition = dict(condition)
    if before is not None and before.get("status") == condition["status"]:
        keep(condition, before, "lastTransitionTime")
    else:
        condition["lastTransitionTime"] = clock.rfc3339()
    pod["status"]["conditions"] = [known for known in conditions if known is not before] + [condition]
