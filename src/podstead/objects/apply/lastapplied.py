"""From kubectl's client-side apply to server-side apply: the annotation that says what was applied last.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply
"""

from __future__ import annotations

from typing import Any

import msgspec

from podstead.objects.apply.compare import compare
from podstead.objects.apply.configuration import Configuration
from podstead.objects.apply.fieldset import LEAF, Tree, difference
from podstead.objects.apply.merging import field_set
from podstead.objects.apply.shapes import Shape
from podstead.objects.errors import StatusError
from podstead.objects.meta import ANNOTATIONS_SIZE
from podstead.objects.schema import prune

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER = "kubectl"
"""The only manager that this is done for: whoever wants none of it names another."""

Object = dict[str, Any]


def owned(shape: Shape, live: Object, config: Configuration) -> Tree:
    """Return what the live object still has as client-side apply left it: kubectl may take that without force."""
    text = (live["metadata"].get("annotations") or {}).get(ANNOTATION)
    if not text:
        return LEAF
    try:
        last = msgspec.json.decode(text)
        if last.get("apiVersion") != config.checked.get("apiVersion"):
            return LEAF
        checked, _ = prune(config.definition, last)
    except (msgspec.DecodeError, AttributeError, StatusError, RecursionError):
        return LEAF
    compared = compare(shape, checked, live)
    fields = field_set(shape, checked)
    for changed in compared:
        fields = difference(fields, changed)
    return fields


def refresh(new: Object, config: Object) -> None:
    """Write the configuration into the annotation, in place, where the object has one: client-side apply stays right.

    Where the annotations would become too long it is dropped.
    """
    metadata = new["metadata"]
    annotations = metadata.get("annotations") or {}
    if not annotations.get(ANNOTATION):
        return
    shown = {**config, "metadata": dict(config.get("metadata") or {})}
    own = {key: value for key, value in (shown["metadata"].get("annotations") or {}).items() if key != ANNOTATION}
    if "annotations" in shown["metadata"]:
        shown["metadata"]["annotations"] = own
    text = msgspec.json.encode(shown, order="sorted").decode() + "\n"
    annotations = {**annotations, ANNOTATION: text}
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > ANNOTATIONS_SIZE:
        del annotations[ANNOTATION]
    metadata["annotations"] = annotations
