"""Validation of core/v1 events, whose rules are looser than those of events.k8s.io."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError

Object = Mapping[str, Any]

_LIMIT = 128
_MESSAGE_LIMIT = 1024


def validate(event: Object) -> list[FieldError]:
    metadata = event.get("metadata") or {}
    errors = meta.validate_object_meta(metadata, namespaced=True, name_rule=meta.path_segment_name)
    return [*errors, *validate_content(event)]


def validate_update(new: Object, old: Object) -> list[FieldError]:
    errors = meta.validate_object_meta_update(new.get("metadata") or {}, old.get("metadata") or {})
    return [*errors, *validate_content(new)]


def validate_content(event: Object) -> Iterator[FieldError]:
    """All but the metadata, which must be there: an event lies in the namespace of what it speaks of."""
    namespace = (event.get("metadata") or {}).get("namespace") or ""
    involved = (event.get("involvedObject") or {}).get("namespace") or ""
    if event.get("eventTime"):
        # Made by a recorder of the newer kind: cluster-scoped objects may be spoken of in kube-system too.
        fits = bool(involved) or namespace in ("default", "kube-system")
        yield from _new_style(event)
    else:
        fits = involved == namespace if involved else namespace in ("", "default")
    if not fits:
        yield meta.invalid("involvedObject.namespace", involved, "does not match event.namespace")


def _new_style(event: Object) -> Iterator[FieldError]:
    controller = event.get("reportingComponent") or ""
    if not controller:
        yield meta.required("reportingController")
    yield from (meta.invalid("reportingController", controller, text) for text in meta.label_key_problems(controller))
    for name in ("reportingInstance", "action", "reason"):
        value = event.get(name) or ""
        if not value:
            yield meta.required(name)
        if len(value.encode()) > _LIMIT:
            yield meta.invalid(name, "", f"can have at most {_LIMIT} characters")
    if len((event.get("message") or "").encode()) > _MESSAGE_LIMIT:
        yield meta.invalid("message", "", f"can have at most {_MESSAGE_LIMIT} characters")
