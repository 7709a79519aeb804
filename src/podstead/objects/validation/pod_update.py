"""Validation of what may happen to a pod that exists: updates, ephemeral containers, binding, reading its logs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation import objectmeta, unsupported
from podstead.objects.validation.affinity import validate_tolerations
from podstead.objects.validation.annotations import MIRROR, validate_annotation_changes, validate_annotations
from podstead.objects.validation.common import MAX_INT32
from podstead.objects.validation.container import padded_images
from podstead.objects.validation.differences import difference
from podstead.objects.validation.ephemeral import PATH as EPHEMERAL
from podstead.objects.validation.pod import validate_whole

Object = Mapping[str, Any]

_FIXED = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_MUTABLE = ("activeDeadlineSeconds", "schedulingGates", "tolerations")


def validate_update(new: Object, old: Object) -> list[FieldError]:
    """An update by anyone: of the spec, only images, the deadline, tolerations and scheduling gates may change."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    errors = [
        *objectmeta.validate_update(new, old),
        *validate_whole(new),
        *annotation_errors(new, old),
    ]
    for name in ("containers", "initContainers"):
        now = spec.get(name) or ()
        if len(now) != len(before.get(name) or ()):
            return [*errors, meta.forbidden(f"spec.{name}", "pod updates may not add or remove containers")]
        errors += (meta.required(f"spec.{name}[{i}].image") for i, one in enumerate(now) if not one.get("image"))
        errors += padded_images(now, f"spec.{name}")
    deadline = list(_deadline(spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")))
    errors += deadline
    if deadline and spec.get("activeDeadlineSeconds") is not None:
        return errors
    errors += _tolerations(spec.get("tolerations") or (), before.get("tolerations") or ())
    errors += _gates(spec.get("schedulingGates") or (), before.get("schedulingGates") or ())
    if spec == before:
        return errors
    if before.get("schedulingGates"):
        errors += _node_choice(spec, before)
    changed = difference(_fixed_part(before, before), _fixed_part(spec, before), "core.PodSpec")
    if changed:
        errors.append(meta.forbidden("spec", f"{_FIXED}\n{changed}"))
    return errors


def annotation_errors(new: Object, old: Object) -> list[FieldError]:
    """What is wrong with the annotations that mean something, and with how they change."""
    annotations, before = (((pod.get("metadata") or {}).get("annotations") or {}) for pod in (new, old))
    return [
        *validate_annotation_changes(annotations, before, "metadata.annotations"),
        *validate_annotations(annotations, new.get("spec") or {}, "metadata.annotations"),
    ]


def validate_ephemeral_update(new: Object, old: Object) -> list[FieldError]:
    """An update of pods/ephemeralcontainers; `new` differs from `old` in these containers alone (KEP-277)."""
    if MIRROR in ((old.get("metadata") or {}).get("annotations") or {}):
        return [meta.forbidden("[]", "static pods do not support ephemeral containers")]
    containers: Sequence[Object] = (new.get("spec") or {}).get("ephemeralContainers") or ()
    errors = [*objectmeta.validate_update(new, old), *validate_whole(new), *annotation_errors(new, old)]
    errors += _kept(containers, (old.get("spec") or {}).get("ephemeralContainers") or ())
    named = {error.path for error in errors}
    for index, container in enumerate(containers):
        refused = unsupported.refusals("EphemeralContainer", container, f"{EPHEMERAL}[{index}].")
        errors += (error for error in refused if error.path not in named)
    return errors


def _kept(new: Sequence[Object], old: Sequence[Object]) -> Iterator[FieldError]:
    present = {container.get("name"): container for container in new}
    for container in old:
        name = meta.quoted(container.get("name") or "")
        now = present.get(container.get("name"))
        if now is None:
            yield meta.forbidden(EPHEMERAL, f"existing ephemeral containers {name} may not be removed\n")
        elif now != container:
            changed = difference(container, now, "core.EphemeralContainer")
            yield meta.forbidden(EPHEMERAL, f"existing ephemeral containers {name} may not be changed\n{changed}")


def validate_binding(binding: Object) -> list[FieldError]:
    """The Binding that a scheduler posts."""
    target = binding.get("target") or {}
    errors: list[FieldError] = []
    if target.get("kind") not in (None, "", "Node"):
        errors.append(meta.unsupported("target.kind", target["kind"], ("Node", "<empty>")))
    if not target.get("name"):
        errors.append(meta.required("target.name"))
    return errors


def validate_log_options(options: Mapping[str, Any]) -> list[FieldError]:
    """The query of a GET of pods/log, decoded: tailLines, limitBytes, sinceSeconds are numbers, sinceTime is text."""
    errors: list[FieldError] = []
    if (options.get("tailLines") or 0) < 0:
        errors.append(meta.invalid("tailLines", options["tailLines"], "must be greater than or equal to 0"))
    small = [name for name in ("limitBytes", "sinceSeconds") if options.get(name) is not None and options[name] < 1]
    errors += [meta.invalid(name, options[name], "must be greater than 0") for name in small]
    if options.get("sinceSeconds") is not None and options.get("sinceTime") is not None:
        detail = "at most one of `sinceTime` or `sinceSeconds` may be specified"
        errors.append(meta.forbidden("[]", detail))
    return errors


def _deadline(new: int | None, old: int | None) -> Iterator[FieldError]:
    path = "spec.activeDeadlineSeconds"
    if new is None:
        if old is not None:
            yield meta.invalid(path, None, "must not update from a positive integer to nil value")
    elif not 0 <= new <= MAX_INT32:
        yield meta.invalid(path, new, meta.in_range(0, MAX_INT32))
    elif old is not None and new > old:
        yield meta.invalid(path, new, "must be less than or equal to previous value")


def _tolerations(new: Sequence[Object], old: Sequence[Object]) -> Iterator[FieldError]:
    kept = [_timeless(toleration) for toleration in new]
    if any(_timeless(toleration) not in kept for toleration in old):
        detail = "existing toleration can not be modified except its tolerationSeconds"
        yield meta.forbidden("spec.tolerations", detail)
    else:
        yield from validate_tolerations(new, "spec.tolerations")


def _timeless(toleration: Object) -> dict[str, Any]:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}


def _gates(new: Sequence[Object], old: Sequence[Object]) -> Iterator[FieldError]:
    """Scheduling gates only ever go (KEP-3521)."""
    before = {gate.get("name") for gate in old}
    for index, gate in enumerate(new):
        if gate.get("name") not in before:
            detail = f"only deletion is allowed, but found new scheduling gate '{gate.get('name') or ''}'"
            yield meta.forbidden(f"spec.schedulingGates[{index}].name", detail)


def _node_choice(new: Object, old: Object) -> Iterator[FieldError]:
    """Of a pod that is still gated, the choice of nodes may become narrower (KEP-3838)."""
    selector, before = new.get("nodeSelector") or {}, old.get("nodeSelector") or {}
    if any(selector.get(key) != value for key, value in before.items()):
        detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        yield meta.invalid("spec.nodeSelector", dict(selector), detail)
    terms, was = _node_terms(new), _node_terms(old)
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    if was and len(was) != len(terms):
        detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        yield meta.invalid(path, list(terms), detail)
        return
    for index, (term, old_term) in enumerate(zip(terms, was, strict=False)):
        if not _only_adds(term, old_term):
            detail = "only additions are allowed (no mutations or deletions)"
            yield meta.invalid(f"{path}[{index}]", dict(term), detail)


def _node_terms(spec: Object) -> Sequence[Object]:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms: Sequence[Object] = required.get("nodeSelectorTerms") or ()
    return terms


def _only_adds(new: Object, old: Object) -> bool:
    lists = [(new.get(name) or [], old.get(name) or []) for name in ("matchExpressions", "matchFields")]
    if not any(before for _, before in lists):
        # An empty term matches nothing; anything in it would match more.
        return not any(now for now, _ in lists)
    return all(now[: len(before)] == before for now, before in lists)


def _fixed_part(spec: Object, before: Object) -> dict[str, Any]:
    """The spec without what an update of `before` may change."""
    fixed = {key: value for key, value in spec.items() if key not in _MUTABLE}
    for name in ("containers", "initContainers"):
        if name in fixed:
            fixed[name] = [{key: value for key, value in one.items() if key != "image"} for one in fixed[name] or ()]
    if (before.get("terminationGracePeriodSeconds") or 0) < 0 and fixed.get("terminationGracePeriodSeconds") == 1:
        fixed["terminationGracePeriodSeconds"] = before["terminationGracePeriodSeconds"]
    if before.get("schedulingGates"):
        fixed.pop("nodeSelector", None)
        affinity = {key: value for key, value in (fixed.pop("affinity", None) or {}).items() if key != "nodeAffinity"}
        fixed |= {"affinity": affinity} if affinity else {}
    return fixed
