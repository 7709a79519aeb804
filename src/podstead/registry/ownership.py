"""Keeps metadata.managedFields right at every write: who set which field, and through which subresource.

As in Kubernetes it is the object as the client sent it, with its defaults, that counts: what admission and the strategy
change afterwards belongs to nobody. What the strategy puts back anyway (the status, at a write of the object itself)
is nobody's change either.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

from podstead import clock
from podstead.objects import apply
from podstead.objects.apply.shapes import Shape, shape_of
from podstead.objects.definitions import definition_of
from podstead.objects.kinds import ResourceInfo
from podstead.objects.user import UserInfo
from podstead.registry.core import Core, Object
from podstead.registry.options import RequestContext, WriteOptions
from podstead.registry.strategies.base import keep

_NAME_BYTES = 128
_NODE = "system:node:"
_ACCOUNT = "system:serviceaccount:"


@lru_cache(maxsize=256)
def name_of_agent(user_agent: str) -> str:
    """Return the manager that a User-Agent header names: what is before the first "/", as far as it is printable."""
    name = "".join(letter for letter in user_agent.partition("/")[0] if letter.isprintable())
    return name.encode()[:_NAME_BYTES].decode(errors="ignore")


def name_of_user(user: UserInfo) -> str:
    """Return the manager that a component in this process is: its name without what says that it is one."""
    if user.name.startswith(_NODE):
        return "kubelet"
    if user.name.startswith(_ACCOUNT):
        return user.name.rpartition(":")[2]
    return user.name.removeprefix("system:")


def manager(core: Core, ctx: RequestContext, options: WriteOptions, subresource: str = "") -> apply.Manager:
    """Return who writes, now."""
    return apply.Manager(options.field_manager or ctx.manager, core.info.api_version, subresource, clock.rfc3339())


def shape(info: ResourceInfo) -> Shape | None:
    """Return how a resource's objects are walked; None where nothing says what is in them."""
    return _shape(info.group, info.version, info.kind)


@cache
def _shape(group: str, version: str, kind: str) -> Shape | None:
    try:
        return shape_of(definition_of(group, version, kind).name)
    except KeyError:
        return None


def own_created(core: Core, ctx: RequestContext, new: Object, options: WriteOptions) -> None:
    """Set the managedFields of an object to create, in place; the metadata is there."""
    walked = shape(core.info)
    if walked is None:
        new["metadata"].pop("managedFields", None)
        return
    shown = new
    if core.strategy.has_status and "status" in new:
        shown = {name: value for name, value in new.items() if name != "status"}
    _set(new["metadata"], apply.created(walked, shown, manager(core, ctx, options)))


def own_updated(
    core: Core, ctx: RequestContext, new: Object, old: Object, subresource: str, options: WriteOptions
) -> None:
    """Set the managedFields of an object that takes the place of `old`, in place."""
    walked = shape(core.info)
    if walked is None:
        keep(new["metadata"], old["metadata"], "managedFields")
        return
    shown = _shown(core, new, old, subresource)
    _set(new["metadata"], apply.updated(walked, old, shown, manager(core, ctx, options, subresource)))


def _shown(core: Core, new: Object, old: Object, subresource: str) -> Object:
    """Return `new` without changes that this request cannot make."""
    if subresource == "status":
        metadata = dict(new["metadata"])
        for field in ("ownerReferences", "finalizers"):
            keep(metadata, old["metadata"], field)
        shown = {**old, "metadata": metadata}
        keep(shown, new, "status")
        return shown
    if subresource or not core.strategy.has_status:
        return new
    shown = dict(new)
    keep(shown, old, "status")
    return shown


def _set(metadata: Object, entries: list[dict[str, Any]]) -> None:
    if entries:
        metadata["managedFields"] = entries
    else:
        metadata.pop("managedFields", None)
