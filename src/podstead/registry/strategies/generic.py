"""Strategies that many kinds share: which keep a generation, which can be scaled, what can be selected by."""

from __future__ import annotations

from typing import Any, ClassVar

from podstead import clock
from podstead.objects.user import UserInfo
from podstead.registry.strategies.base import Object, Strategy, keep, text

_OUTSIDE = frozenset({"apiVersion", "kind", "metadata", "status"})


class Generational(Strategy):
    """metadata.generation rises with every change of what is neither metadata nor status."""

    generation: ClassVar[bool] = True

    def spec_changed(self, new: Object, old: Object) -> bool:
        return any(new.get(field) != old.get(field) for field in {*new, *old} - _OUTSIDE)


class Scalable(Generational):
    """spec.replicas can be set through the subresource `scale`, and nothing else by it."""

    def prepare_for_subresource(self, subresource: str, new: Object, old: Object) -> None:
        if subresource != "scale":
            raise NotImplementedError(subresource)
        replicas = new.get("spec", {}).get("replicas", 0)
        for field in {*new, *old} - {"apiVersion", "kind", "metadata"}:
            keep(new, old, field)
        new["spec"] = {**old["spec"], "replicas": replicas}
        if self.spec_changed(new, old):
            new["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1


class ReplicaSets(Scalable):
    """Replica sets and replication controllers can be selected by how many pods they have."""

    extra_field_labels: ClassVar[frozenset[str]] = frozenset({"status.replicas"})

    def fields(self, obj: Object) -> dict[str, str]:
        return {"status.replicas": text(obj.get("status", {}).get("replicas", 0))}


class Deployments(Scalable):
    """A change of the annotations counts too: kubectl's change-cause is one (Kubernetes' own deployment strategy)."""

    def spec_changed(self, new: Object, old: Object) -> bool:
        noted = [obj["metadata"].get("annotations") or {} for obj in (new, old)]
        return noted[0] != noted[1] or super().spec_changed(new, old)


class Jobs(Generational):
    """A job's pods are found by its uid: selector and labels are made from it, unless spec.manualSelector says no.

    https://kubernetes.io/docs/concepts/workloads/controllers/job/#specifying-your-own-pod-selector
    """

    extra_field_labels: ClassVar[frozenset[str]] = frozenset({"status.successful"})

    def named(self, new: Object) -> None:
        spec, metadata = new["spec"], new["metadata"]
        if spec.get("manualSelector"):
            return
        uid, name = metadata["uid"], metadata.get("name", "")
        template = spec.setdefault("template", {})
        labels = template.setdefault("metadata", {}).setdefault("labels", {})
        labels |= {"batch.kubernetes.io/controller-uid": uid, "controller-uid": uid}
        labels |= {"batch.kubernetes.io/job-name": name, "job-name": name}
        selector = spec.setdefault("selector", {})
        selector.setdefault("matchLabels", {})["batch.kubernetes.io/controller-uid"] = uid

    def fields(self, obj: Object) -> dict[str, str]:
        return {"status.successful": text(obj.get("status", {}).get("succeeded", 0))}


class APIServices(Strategy):
    """What this server itself answers for is available from the first moment."""

    def prepare_for_create(self, new: Object) -> None:
        super().prepare_for_create(new)
        if new.get("spec", {}).get("service") is None:
            available = {"type": "Available", "status": "True", "reason": "Local"}
            available |= {"message": "Local APIServices are always available", "lastTransitionTime": clock.rfc3339()}
            new["status"] = {"conditions": [available]}


class Upserted(Strategy):
    """A PUT to a name that is not there creates it."""

    creates_on_update: ClassVar[bool] = True


class Services(Upserted):
    """Selectable by type and address."""

    extra_field_labels: ClassVar[frozenset[str]] = frozenset({"spec.clusterIP", "spec.type"})

    def fields(self, obj: Object) -> dict[str, str]:
        spec: dict[str, Any] = obj.get("spec", {})
        return {"spec.clusterIP": text(spec.get("clusterIP")), "spec.type": text(spec.get("type"))}


class SigningRequests(Strategy):
    """Certificate signing requests: `approval` changes the conditions of its two types, `status` the rest."""

    extra_field_labels: ClassVar[frozenset[str]] = frozenset({"spec.signerName"})

    def prepare_for_create(self, new: Object) -> None:
        super().prepare_for_create(new)
        for field in ("username", "uid", "groups", "extra"):
            new.get("spec", {}).pop(field, None)

    def requested_by(self, new: Object, user: UserInfo) -> None:
        extra = {key: list(values) for key, values in user.extra.items()}
        asked = {"username": user.name, "uid": user.uid, "groups": list(user.groups), "extra": extra}
        new["spec"] |= {field: value for field, value in asked.items() if value}

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        keep(new, old, "spec")

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        _only_conditions(new, old, decided=False)

    def prepare_for_subresource(self, subresource: str, new: Object, old: Object) -> None:
        if subresource != "approval":
            raise NotImplementedError(subresource)
        sent = new.get("status", {})
        keep(new, old, "spec")
        new["status"] = {**old.get("status", {})}
        keep(new["status"], sent, "conditions")
        _only_conditions(new, old, decided=True)

    def fields(self, obj: Object) -> dict[str, str]:
        return {"spec.signerName": text(obj.get("spec", {}).get("signerName"))}


_DECISIONS = ("Approved", "Denied")


def _only_conditions(new: Object, old: Object, *, decided: bool) -> None:
    """Put back the conditions that this subresource does not own: decisions, or all but decisions."""
    sent, before = (obj.get("status", {}).get("conditions") or () for obj in (new, old))
    conditions = [one for one in sent if (one.get("type") in _DECISIONS) is decided]
    conditions += [one for one in before if (one.get("type") in _DECISIONS) is not decided]
    status = {**new.get("status", {}), "conditions": conditions}
    if not conditions:
        del status["conditions"]
    new["status"] = status
