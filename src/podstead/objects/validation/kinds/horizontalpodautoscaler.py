"""Validation of horizontal pod autoscalers, in the words of autoscaling/v2 for both versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.conversion.autoscaling import to_stored
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import each

Object = Mapping[str, Any]
_TYPES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_TARGETS = ("Utilization", "Value", "AverageValue")


def validate(autoscaler: Object) -> Iterator[FieldError]:
    obj = dict(autoscaler)
    spec = (to_stored(obj) if obj.get("apiVersion") == "autoscaling/v1" else obj).get("spec") or {}
    lowest, highest = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if lowest is not None and lowest < 1:
        yield meta.invalid("spec.minReplicas", lowest, "must be greater than or equal to 1")
    if highest < 1:
        yield meta.invalid("spec.maxReplicas", highest, "must be greater than 0")
    if lowest is not None and highest < lowest:
        yield meta.invalid("spec.maxReplicas", highest, "must be greater than or equal to `minReplicas`")
    target = spec.get("scaleTargetRef") or {}
    for field in ("kind", "name"):
        value, path = target.get(field) or "", f"spec.scaleTargetRef.{field}"
        if value:
            yield from each(path, value, meta.path_segment_name(value, False))
        else:
            yield meta.required(path)
    for index, metric in enumerate(spec.get("metrics") or ()):
        yield from _metric(metric, f"spec.metrics[{index}]")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return validate(new)


def _metric(metric: Object, path: str) -> Iterator[FieldError]:
    kind = metric.get("type") or ""
    if not kind:
        yield meta.required(f"{path}.type", "must specify a metric source type")
    elif kind not in _TYPES:
        yield meta.unsupported(f"{path}.type", kind, tuple(_TYPES))
    else:
        field = _TYPES[kind]
        if metric.get(field) is None:
            detail = "must populate information for the given metric source"
            yield meta.required(f"{path}.{field}", detail)
            return
        for other in _TYPES.values():
            if other != field and metric.get(other) is not None:
                detail = "must populate the given metric source only"
                yield meta.forbidden(f"{path}.{other}", detail)
        source, at = metric[field], f"{path}.{field}"
        if "esource" in field and not source.get("name"):
            yield meta.required(f"{at}.name", "must specify a resource name")
        yield from _target(source.get("target") or {}, f"{at}.target")


def _target(target: Object, path: str) -> Iterator[FieldError]:
    kind = target.get("type") or ""
    if not kind:
        yield meta.required(f"{path}.type", "must specify a metric target type")
    elif kind not in _TARGETS:
        yield meta.invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")
    percent = target.get("averageUtilization")
    if percent is not None and percent < 1:
        yield meta.invalid(f"{path}.averageUtilization", percent, "must be greater than 0")
