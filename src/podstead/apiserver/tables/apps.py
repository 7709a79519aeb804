"""The tables of the kinds that keep pods running: apps, and the core group's replication controllers."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of
from podstead.apiserver.tables.cells import (
    CONTAINERS,
    IMAGES,
    NONE,
    SELECTOR,
    containers,
    labels,
    selector,
    spec_of,
    status_of,
    text,
)
from podstead.objects.selectors import selector_text


def _desired(obj: Object) -> int:
    replicas = spec_of(obj).get("replicas")
    return 1 if replicas is None else int(replicas)


def _count(obj: Object, field: str) -> int:
    return int(status_of(obj).get(field) or 0)


def _deployment(obj: Object, now: datetime) -> list[Cell]:
    spec = spec_of(obj)
    try:
        chosen = selector_text(spec.get("selector"))
    except ValueError:
        chosen = "<invalid>"
    return [
        name_of(obj),
        f"{_count(obj, 'readyReplicas')}/{_desired(obj)}",
        _count(obj, "updatedReplicas"),
        _count(obj, "availableReplicas"),
        age(obj, now),
        *containers(spec.get("template")),
        chosen,
    ]


def _replicas(obj: Object, now: datetime) -> list[Cell]:
    current, ready = _count(obj, "replicas"), _count(obj, "readyReplicas")
    return [name_of(obj), _desired(obj), current, ready, age(obj, now), *containers(spec_of(obj).get("template"))]


def _replica_set(obj: Object, now: datetime) -> list[Cell]:
    return [*_replicas(obj, now), selector(spec_of(obj).get("selector"))]


def _replication_controller(obj: Object, now: datetime) -> list[Cell]:
    return [*_replicas(obj, now), labels(spec_of(obj).get("selector"))]


def _stateful_set(obj: Object, now: datetime) -> list[Cell]:
    ready = f"{_count(obj, 'readyReplicas')}/{_desired(obj)}"
    return [name_of(obj), ready, age(obj, now), *containers(spec_of(obj).get("template"))]


_DAEMON_COUNTS = (
    "desiredNumberScheduled",
    "currentNumberScheduled",
    "numberReady",
    "updatedNumberScheduled",
    "numberAvailable",
)


def _daemon_set(obj: Object, now: datetime) -> list[Cell]:
    spec = spec_of(obj)
    template = spec.get("template") or {}
    return [
        name_of(obj),
        *(_count(obj, field) for field in _DAEMON_COUNTS),
        labels((template.get("spec") or {}).get("nodeSelector")),
        age(obj, now),
        *containers(template),
        selector(spec.get("selector")),
    ]


def _controller_revision(obj: Object, now: datetime) -> list[Cell]:
    owners = (obj.get("metadata") or {}).get("ownerReferences") or ()
    owner = next((each for each in owners if each.get("controller")), None)
    controller = NONE
    if owner:
        group = text(owner, "apiVersion").rpartition("/")[0]
        kind = f"{owner.get('kind', '')}.{group}" if group else text(owner, "kind")
        controller = f"{kind.lower()}/{owner.get('name', '')}"
    return [name_of(obj), controller, int(obj.get("revision") or 0), age(obj, now)]


_READY = Column("Ready", "How many pods are ready, of how many there should be.")
_REPLICAS = (
    NAME,
    Column("Desired", "How many pods there should be.", type="integer"),
    Column("Current", "How many pods there are.", type="integer"),
    Column("Ready", "How many pods are ready.", type="integer"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
)

TABLES = {
    "controllerrevisions": TableFormat(
        (
            NAME,
            Column("Controller", "The object whose state this is."),
            Column("Revision", "The number of the state, growing with each change."),
            AGE,
        ),
        _controller_revision,
    ),
    "daemonsets": TableFormat(
        (
            NAME,
            Column("Desired", "How many nodes should run its pod.", type="integer"),
            Column("Current", "How many nodes run its pod and should.", type="integer"),
            Column("Ready", "How many nodes have its pod ready.", type="integer"),
            Column("Up-to-date", "How many nodes run the pod of the current template.", type="integer"),
            Column("Available", "How many nodes have had its pod ready for long enough.", type="integer"),
            Column("Node Selector", "The labels that a node needs."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        _daemon_set,
    ),
    "deployments": TableFormat(
        (
            NAME,
            _READY,
            Column("Up-to-date", "How many pods are of the current template."),
            Column("Available", "How many pods have been ready for long enough."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        _deployment,
    ),
    "replicasets": TableFormat(_REPLICAS, _replica_set),
    "replicationcontrollers": TableFormat(_REPLICAS, _replication_controller),
    "statefulsets": TableFormat((NAME, _READY, AGE, CONTAINERS, IMAGES), _stateful_set),
}
