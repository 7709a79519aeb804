"""Patch: a JSON, merge or strategic merge patch of the present state, then an update; or server-side apply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from podstead.objects import errors, meta, schema
from podstead.objects.exchange import PatchType
from podstead.objects.patch import json_patch, merge_patch
from podstead.objects.strategic import go_text, strategic_merge_patch
from podstead.registry.apply import apply
from podstead.registry.core import Core, Object
from podstead.registry.create import checked
from podstead.registry.entry import Entry
from podstead.registry.options import PatchRequest, RequestContext, WriteOptions
from podstead.registry.update import check_names, replace, served

Apply = Callable[[Core, Object, Any], Any]
"""(resource, object, decoded patch) -> patched object; the resource is there for patches that follow the schema."""


def _strategic(core: Core, obj: Object, changes: Any) -> Any:
    info = core.info
    try:
        definition = schema.definition_of(info.group, info.version, info.kind)
    except KeyError:
        # Without a schema nothing says how its lists are merged.
        raise _unsupported((PatchType.JSON, PatchType.MERGE)) from None
    return strategic_merge_patch(definition, obj, changes)


_APPLY: dict[str, Apply] = {
    PatchType.JSON: lambda _, obj, operations: json_patch(obj, operations),
    PatchType.MERGE: lambda _, obj, changes: merge_patch(obj, changes),
    PatchType.STRATEGIC: _strategic,
}


async def patch(
    core: Core,
    ctx: RequestContext,
    namespace: str,
    name: str,
    request: PatchRequest,
    subresource: str,
    options: WriteOptions,
) -> tuple[Entry, bool]:
    """Return the object as it is now, and whether an apply created it.

    Raises StatusError as update does, 415 for other patch types, and 409 for an apply that conflicts.

    What is no object of its kind after the patch is a 422, unknown fields under strict validation included.

    Retried against the newer state if another write came first, unless the patch itself sets a resourceVersion.
    """
    served(core, subresource, "patch")
    if request.type == PatchType.APPLY:
        return await apply(core, ctx, namespace, name, request, subresource, options)
    change = _APPLY.get(request.type)
    if change is None:
        raise _unsupported((*_APPLY, PatchType.APPLY))
    body, duplicates = _decoded(request.body)
    first = True

    def make(old: Entry) -> Object:
        nonlocal first
        patched = change(core, old.copy(), body)
        if not isinstance(patched, dict) or not isinstance(patched.get("metadata"), dict):
            raise errors.bad_request("the patch leaves no object with metadata")
        # Each attempt checks again, but the client is warned once.
        warned = RequestContext(ctx.user, manager=ctx.manager) if not first else ctx
        first = False
        write = WriteOptions(field_validation=options.field_validation, duplicates=(*options.duplicates, *duplicates))
        try:
            new = checked(core, warned, patched, write, patched=True)
        except errors.StatusError as error:
            raise _unfit(core, request.type, body, patched, error) from error
        check_names(core, new.setdefault("metadata", {}), namespace, name)
        return new

    return await replace(core, ctx, namespace, name, subresource, options, make), False


def _unsupported(accepted: tuple[str, ...]) -> errors.StatusError:
    return errors.unsupported_media_type(
        "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    )


def _unfit(core: Core, type_: str, body: Any, patched: Object, error: errors.StatusError) -> errors.StatusError:
    """422: a strategic merge patch is shown as it was sent, other patches by what they led to."""
    problem = error.message.partition(f" cannot be handled as a {core.info.kind}: ")[2] or error.message
    shown = go_text(body) if type_ == PatchType.STRATEGIC else msgspec.json.encode(patched).decode()
    return errors.invalid("", "", [meta.invalid("patch", shown, problem)])


def _decoded(body: Any) -> tuple[Any, list[str]]:
    if not isinstance(body, bytes | bytearray | memoryview):
        return body, []
    return schema.decode_json(bytes(body))
