"""Objects of one kind in another of its versions: events.k8s.io's and core's Event, autoscaling/v1's and v2's scaler.

The stored form is what `ResourceInfo.stored_as` says; these functions return new objects, sharing what they only move.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from podstead.objects import schema
from podstead.objects.kinds import ResourceInfo

Object = dict[str, Any]

_MODULES = {("autoscaling", "v1", "HorizontalPodAutoscaler"): "autoscaling", ("events.k8s.io", "v1", "Event"): "events"}


def to_stored(info: ResourceInfo, obj: Object) -> Object:
    """Return an object of `info` (checked and defaulted) in its stored form, defaulted too.

    Raises StatusError 400 where what it carries for the other version in annotations cannot be read.
    """
    stored = info.stored_as
    if stored is None:
        return obj
    made = _function(info, "to_stored")(obj)
    made["apiVersion"], made["kind"] = stored.api_version, stored.kind
    checked, _ = schema.check(stored, made, validation="Ignore")
    return schema.default(stored, checked)


def from_stored(info: ResourceInfo, obj: Object) -> Object:
    """Return a stored object as an object of `info`."""
    if info.stored_as is None:
        return obj
    made = _function(info, "from_stored")(obj)
    return {**made, "apiVersion": info.api_version, "kind": info.kind}


def _function(info: ResourceInfo, name: str) -> Callable[[Object], Object]:
    module = import_module(f"{__name__}.{_MODULES[info.group, info.version, info.kind]}")
    function: Callable[[Object], Object] = getattr(module, name)
    return function
