"""autoscaling/v1 and v2 HorizontalPodAutoscaler.

v1 knows the average utilization of the cpu alone. What else v2 says is kept in v1's annotations, as Kubernetes does it
(https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#api-object), so that a client of v1 that
writes back what it read loses nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from podstead.objects.errors import bad_request

Object = dict[str, Any]

_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_CURRENT = "autoscaling.alpha.kubernetes.io/current-metrics"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_ANNOTATIONS = (_METRICS, _CURRENT, _CONDITIONS, _BEHAVIOR)


def from_stored(autoscaler: Object) -> Object:
    """v2 to v1."""
    spec, status = dict(autoscaler.get("spec") or {}), dict(autoscaler.get("status") or {})
    metrics, behavior = spec.pop("metrics", None) or [], spec.pop("behavior", None)
    current, conditions = status.pop("currentMetrics", None), status.pop("conditions", None)
    cpu = next((metric for metric in metrics if _utilization(metric, "target") is not None), None)
    if cpu is not None:
        spec["targetCPUUtilizationPercentage"] = _utilization(cpu, "target")
    used = next((value for each in current or () if (value := _utilization(each, "current")) is not None), None)
    if used is not None:
        status["currentCPUUtilizationPercentage"] = used
    status.setdefault("currentReplicas", 0)
    others = [metric for metric in metrics if metric is not cpu]
    kept = {_METRICS: others, _CURRENT: current, _CONDITIONS: conditions, _BEHAVIOR: behavior}
    texts = {name: msgspec.json.encode(value).decode() for name, value in kept.items() if value}
    metadata = dict(autoscaler.get("metadata") or {})
    if texts:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **texts}
    return {**autoscaler, "metadata": metadata, "spec": spec, "status": status}


def to_stored(autoscaler: Object) -> Object:
    """v1 to v2. Raises StatusError 400 for annotations that are no JSON."""
    spec, status = dict(autoscaler.get("spec") or {}), dict(autoscaler.get("status") or {})
    metadata = dict(autoscaler.get("metadata") or {})
    annotations = dict(metadata.get("annotations") or {})
    kept = {name: _read(name, annotations.pop(name)) for name in _ANNOTATIONS if name in annotations}
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    metrics = list(kept.get(_METRICS) or ())
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        metrics.insert(0, {"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        spec["metrics"] = metrics
    if kept.get(_BEHAVIOR):
        spec["behavior"] = kept[_BEHAVIOR]
    used = status.pop("currentCPUUtilizationPercentage", None)
    if kept.get(_CURRENT):
        status["currentMetrics"] = kept[_CURRENT]
    elif used is not None:
        current = {"name": "cpu", "current": {"averageUtilization": used}}
        status["currentMetrics"] = [{"type": "Resource", "resource": current}]
    if kept.get(_CONDITIONS):
        status["conditions"] = kept[_CONDITIONS]
    return {**autoscaler, "metadata": metadata, "spec": spec, "status": status}


def _utilization(metric: Object, part: str) -> int | None:
    """The percent of a metric or status of the cpu; None where it is another, or no utilization."""
    resource = metric.get("resource") or {}
    if metric.get("type") != "Resource" or resource.get("name") != "cpu":
        return None
    percent: int | None = (resource.get(part) or {}).get("averageUtilization")
    return percent


def _read(name: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise bad_request(f"the annotation {name} is not JSON: {error}") from error
