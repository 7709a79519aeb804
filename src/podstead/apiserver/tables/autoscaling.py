"""The tables of horizontal pod autoscalers, in both versions, and of scales (a subresource of others)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of
from podstead.apiserver.tables.cells import NONE, UNKNOWN, UNSET, quantity, shortened, spec_of, status_of, text

_Values = Mapping[str, Any]

# For each metric type: its field, and what an averageValue is marked with.
_AMOUNTS = {"External": ("external", " (avg)"), "Object": ("object", " (avg)"), "Pods": ("pods", "")}
_RESOURCES = {"Resource": "resource", "ContainerResource": "containerResource"}


def _amount(metric: str, target: _Values, current: _Values | None, mark: str) -> str:
    """Return `current/target` of a metric that is counted in an amount: the average, or the value where none is set."""
    averaged = metric == "Pods" or target.get("averageValue") is not None
    field = "averageValue" if averaged else "value"
    # The current average may be absent on its own; a value or a pods' average is then zero.
    missing = current is None or (averaged and metric != "Pods" and current.get(field) is None)
    shown = UNKNOWN if missing else quantity((current or {}).get(field))
    return f"{shown}/{quantity(target.get(field))}{mark if averaged else ''}"


def _share(name: str, target: _Values, current: _Values | None) -> str:
    """Return `cpu: 20%/50%`, or amounts where the target is one."""
    if target.get("averageValue") is not None:
        shown = UNKNOWN if current is None else quantity(current.get("averageValue"))
        return f"{name}: {shown}/{quantity(target['averageValue'])}"
    use, wanted = (current or {}).get("averageUtilization"), target.get("averageUtilization")
    return f"{name}: {UNKNOWN if use is None else f'{use}%'}/{'<auto>' if wanted is None else f'{wanted}%'}"


def _metric(spec: _Values, status: _Values) -> str:
    kind = text(spec, "type")
    field, mark = _AMOUNTS.get(kind, (_RESOURCES.get(kind, ""), ""))
    if not field:
        return "<unknown type>"
    source, found = spec.get(field) or {}, status.get(field)
    target, current = source.get("target") or {}, None if found is None else found.get("current") or {}
    if kind in _RESOURCES:
        return _share(text(source, "name"), target, current)
    return _amount(kind, target, current, mark)


def _targets(specs: Sequence[_Values], statuses: Sequence[_Values]) -> str:
    if not specs:
        return NONE
    padded = [*statuses, *({} for _ in specs)]
    listed = [_metric(spec, status) for spec, status in zip(specs, padded, strict=False)]
    return shortened(listed, 2, separator=", ")


def _cpu_of_v1(obj: Object) -> tuple[list[_Values], list[_Values]]:
    """Return the metrics of an autoscaling/v1 object: the utilization of CPU alone."""
    wanted = spec_of(obj).get("targetCPUUtilizationPercentage")
    use = status_of(obj).get("currentCPUUtilizationPercentage")
    specs: list[_Values] = [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": wanted}}}]
    statuses: list[_Values] = [{"resource": {"current": {"averageUtilization": use}}}]
    return (specs if wanted is not None else []), statuses


def _autoscaler(obj: Object, now: datetime) -> list[Cell]:
    spec, status = spec_of(obj), status_of(obj)
    if "targetCPUUtilizationPercentage" in spec:
        metrics = _targets(*_cpu_of_v1(obj))
    else:
        metrics = _targets(spec.get("metrics") or (), status.get("currentMetrics") or ())
    target = spec.get("scaleTargetRef") or {}
    return [
        name_of(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        metrics,
        text(spec, "minReplicas", UNSET),
        int(spec.get("maxReplicas") or 0),
        int(status.get("currentReplicas") or 0),
        age(obj, now),
    ]


def _scale(obj: Object, now: datetime) -> list[Cell]:
    desired, available = (int(part.get("replicas") or 0) for part in (spec_of(obj), status_of(obj)))
    return [name_of(obj), desired, available, age(obj, now)]


TABLES = {
    "horizontalpodautoscalers": TableFormat(
        (
            NAME,
            Column("Reference", "What is scaled."),
            Column("Targets", "What is measured, and what it should be."),
            Column("MinPods", "How many pods there are at least."),
            Column("MaxPods", "How many pods there are at most."),
            Column("Replicas", "How many pods there were when last counted."),
            AGE,
        ),
        _autoscaler,
    ),
    "scale": TableFormat(
        (
            Column(NAME.name, NAME.description),
            Column("Desired", "How many pods there should be.", type="integer"),
            Column("Available", "How many pods there are.", type="integer"),
            AGE,
        ),
        _scale,
    ),
}
