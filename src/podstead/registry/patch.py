"""Patch: apply a JSON or merge patch to the present state, then update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from podstead.objects import errors, schema
from podstead.objects.exchange import PatchType
from podstead.objects.patch import json_patch, merge_patch
from podstead.registry.core import Core, Object
from podstead.registry.create import checked
from podstead.registry.entry import Entry
from podstead.registry.options import PatchRequest, RequestContext, WriteOptions
from podstead.registry.update import check_names, replace, served

Apply = Callable[[Core, Object, Any], Any]
"""(resource, object, decoded patch) -> patched object; the resource is there for patches that follow the schema."""

_APPLY: dict[str, Apply] = {
    PatchType.JSON: lambda _, obj, operations: json_patch(obj, operations),
    PatchType.MERGE: lambda _, obj, changes: merge_patch(obj, changes),
}


async def patch(
    core: Core,
    ctx: RequestContext,
    namespace: str,
    name: str,
    request: PatchRequest,
    subresource: str,
    options: WriteOptions,
) -> Entry:
    """Return the object as it is now. Raises StatusError as update does, and 415 for other patch types.

    Retried against the newer state if another write came first, unless the patch itself sets a resourceVersion.
    """
    served(core, subresource, "patch")
    apply = _APPLY.get(request.type)
    if apply is None:
        accepted = ", ".join(_APPLY)
        raise errors.unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: " + accepted
        )
    body, duplicates = _decoded(request.body)
    first = True

    def make(old: Entry) -> Object:
        nonlocal first
        patched = apply(core, old.copy(), body)
        if not isinstance(patched, dict) or not isinstance(patched.get("metadata"), dict):
            raise errors.bad_request("the patch leaves no object with metadata")
        # Each attempt checks again, but the client is warned once.
        warned = RequestContext(ctx.user) if not first else ctx
        first = False
        write = WriteOptions(field_validation=options.field_validation, duplicates=(*options.duplicates, *duplicates))
        new = checked(core, warned, patched, write)
        check_names(core, new.setdefault("metadata", {}), namespace, name)
        return new

    return await replace(core, ctx, namespace, name, subresource, options, make)


def _decoded(body: Any) -> tuple[Any, list[str]]:
    if not isinstance(body, bytes | bytearray | memoryview):
        return body, []
    return schema.decode_json(bytes(body))
