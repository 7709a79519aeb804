"""Validation of what may happen to a pod that exists: updates, status, binding, reading its logs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.container import validate_image
from podstead.objects.validation.pod import MAX_INT32, ip_errors, validate_tolerations
from podstead.objects.validation.status import validate_keys

Object = Mapping[str, Any]

_FIXED = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_MIRROR = "kubernetes.io/config.mirror"


def validate_update(new: Object, old: Object) -> list[FieldError]:
    """An update by anyone: of the spec, only images, the deadline and tolerations may change."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    errors = meta.validate_object_meta_update(new.get("metadata") or {}, old.get("metadata") or {})
    errors += _mirror(new, old)
    for name in ("containers", "initContainers"):
        if len(spec.get(name) or ()) != len(before.get(name) or ()):
            return [*errors, meta.forbidden(f"spec.{name}", "pod updates may not add or remove containers")]
        for index, container in enumerate(spec.get(name) or ()):
            errors += validate_image(container.get("image") or "", f"spec.{name}[{index}].image")
    errors += _deadline(spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    errors += _tolerations(spec.get("tolerations") or (), before.get("tolerations") or ())
    changed = sorted(_changes(_fixed_part(spec), _fixed_part(before), "spec"))
    if changed:
        # The API server adds a dump of both specs; the paths say as much in one line.
        errors.append(meta.forbidden("spec", f"{_FIXED}\nchanged: {', '.join(changed)}"))
    return errors


def validate_status_update(new: Object, old: Object) -> list[FieldError]:
    """An update of the status: what has ended stays so where the restart policy says so."""
    status, before = new.get("status") or {}, old.get("status") or {}
    errors = meta.validate_object_meta_update(new.get("metadata") or {}, old.get("metadata") or {})
    if ((new.get("spec") or {}).get("nodeName") or "") != ((old.get("spec") or {}).get("nodeName") or ""):
        errors.append(meta.forbidden("status.nodeName", "may not be changed directly"))
    if before.get("qosClass") and before["qosClass"] != status.get("qosClass"):
        errors.append(meta.invalid("status.qosClass", status.get("qosClass") or "", meta.IMMUTABLE))
    for name in ("podIPs", "hostIPs"):
        for index, address in enumerate(status.get(name) or ()):
            errors += ip_errors(f"status.{name}[{index}].ip", address.get("ip") or "")
    policy = (old.get("spec") or {}).get("restartPolicy") or "Always"
    return [*errors, *validate_keys(status), *_transitions(status, before, policy)]


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


def _mirror(new: Object, old: Object) -> Iterator[FieldError]:
    annotations, before = (((pod.get("metadata") or {}).get("annotations") or {}) for pod in (new, old))
    if annotations.get(_MIRROR) != before.get(_MIRROR):
        verb = "remove or update" if _MIRROR in before else "add"
        yield meta.forbidden(f"metadata.annotations[{_MIRROR}]", f"may not {verb} mirror pod annotation")


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
    elif new != old:
        yield from validate_tolerations(new, "spec.tolerations")


def _timeless(toleration: Object) -> dict[str, Any]:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}


def _fixed_part(spec: Object) -> dict[str, Any]:
    """The spec without what an update may change."""
    fixed = {key: value for key, value in spec.items() if key not in ("activeDeadlineSeconds", "tolerations")}
    for name in ("containers", "initContainers"):
        if name in fixed:
            fixed[name] = [{key: value for key, value in c.items() if key != "image"} for c in fixed[name] or ()]
    return fixed


def _changes(new: Any, old: Any, path: str) -> Iterator[str]:
    """The paths at which the two differ."""
    if isinstance(new, Mapping) and isinstance(old, Mapping):
        for key in {*new, *old}:
            yield from _changes(new.get(key), old.get(key), f"{path}.{key}")
    elif isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        for index, (item, before) in enumerate(zip(new, old, strict=True)):
            yield from _changes(item, before, f"{path}[{index}]")
    elif new != old and (new or old):
        yield path
    elif new != old and (isinstance(new, bool | int) or isinstance(old, bool | int)):
        # false and 0 are not the same as absent in fields that are optional.
        yield path


def _transitions(status: Object, before: Object, policy: str) -> Iterator[FieldError]:
    if policy == "Always":
        return
    for name in ("containerStatuses", "initContainerStatuses"):
        now = {container.get("name"): container for container in status.get(name) or ()}
        for index, container in enumerate(before.get(name) or ()):
            ended = (container.get("state") or {}).get("terminated")
            if ended is None or (ended.get("exitCode") and policy == "OnFailure"):
                continue
            current = now.get(container.get("name"))
            if current is not None and (current.get("state") or {}).get("terminated") is None:
                path = f"status.{name}[{index}].state"
                yield meta.forbidden(path, "may not be transitioned to non-terminated state")
