"""The tables of dynamic resource allocation (resource.k8s.io)."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, name_of, since
from podstead.apiserver.tables.cells import is_deleted, spec_of, status_of, text


def _bare(obj: Object, now: datetime) -> list[Cell]:
    return [name_of(obj), age(obj, now)]


def _claim(obj: Object, now: datetime) -> list[Cell]:
    status, deleted = status_of(obj), is_deleted(obj)
    states = ["deleted"] if deleted else []
    if status.get("allocation") is not None:
        states += ["allocated", "reserved"] if status.get("reservedFor") else ["allocated"]
    elif not deleted:
        states.append("pending")
    return [name_of(obj), ",".join(states), age(obj, now)]


def _slice(obj: Object, now: datetime) -> list[Cell]:
    spec = spec_of(obj)
    pool = text((spec.get("pool") or {}), "name")
    return [name_of(obj), text(spec, "nodeName"), text(spec, "driver"), pool, age(obj, now)]


def _taint_rule(obj: Object, now: datetime) -> list[Cell]:
    taint = spec_of(obj).get("taint") or {}
    added = taint.get("timeAdded")
    texts = [text(taint, field) for field in ("key", "value", "effect")]
    return [name_of(obj), *texts, since(added, now) if added else "", age(obj, now)]


_BARE = TableFormat((NAME, AGE), _bare)

TABLES = {
    "deviceclasses": _BARE,
    "devicetaintrules": TableFormat(
        (
            NAME,
            Column("Key", "The taint's key."),
            Column("Value", "The taint's value."),
            Column("Effect", "What the taint does to pods."),
            Column("TimeAdded", "How long ago the taint was added."),
            AGE,
        ),
        _taint_rule,
    ),
    "resourceclaims": TableFormat(
        (NAME, Column("State", "Whether the claim is pending, allocated, reserved, deleted."), AGE), _claim
    ),
    "resourceclaimtemplates": _BARE,
    "resourceslices": TableFormat(
        (
            NAME,
            Column("Node", "The node that has the devices."),
            Column("Driver", "The driver of the devices."),
            Column("Pool", "The pool that the devices are part of."),
            AGE,
        ),
        _slice,
    ),
}
