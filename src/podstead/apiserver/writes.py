"""create, update, patch, delete and deletecollection, of objects and of their subresources."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from podstead.apiserver import body, query
from podstead.apiserver.answers import Answer
from podstead.apiserver.call import Call
from podstead.apiserver.negotiation import negotiate, require_content_type
from podstead.apiserver.reads import list_meta
from podstead.apiserver.render import Renderer
from podstead.apiserver.target import Target
from podstead.objects.exchange import PatchType
from podstead.objects.kinds import SubresourceInfo
from podstead.registry.options import DeleteOptions, PatchRequest, WriteOptions

_DELETE_OPTIONS = SubresourceInfo("", "DeleteOptions", "", "v1", ())


def _renderer(call: Call, target: Target, *, many: bool = False) -> Renderer:
    return Renderer.of(target.info, call.accept, call.info.query, many=many)


async def read_object(call: Call, expected: body.Expected, options_kind: str) -> tuple[Any, WriteOptions]:
    """Return the decoded body and the write's options; raises StatusError 400, 413, 415, 422."""
    options = query.write_options(call.info.query, options_kind)
    wants_duplicates = options.field_validation != "Ignore"
    obj, duplicates = await body.read_object(call.request, expected, duplicates=wants_duplicates)
    return obj, replace(options, duplicates=tuple(duplicates))


def _subresource(target: Target) -> str:
    return target.subresource.name if target.subresource else ""


async def create(call: Call, target: Target) -> Answer:
    renderer = _renderer(call, target)
    obj, options = await read_object(call, target.info, "CreateOptions")
    entry = await target.registry.create(call.context, target.namespace, obj, options)
    return Answer(renderer.one(entry), 201)


async def create_subresource(call: Call, target: Target) -> Answer:
    """POST to a subresource that is an action (binding, eviction)."""
    assert target.subresource is not None
    negotiate(call.accept)
    obj, options = await read_object(call, target.subresource, "CreateOptions")
    entry = await target.registry.create_subresource(
        call.context, target.namespace, target.name, target.subresource.name, obj, options
    )
    return Answer(entry.encoded, 201)


async def update(call: Call, target: Target) -> Answer:
    renderer = _renderer(call, target)
    obj, options = await read_object(call, target.info, "UpdateOptions")
    entry, created = await target.registry.put(
        call.context, target.namespace, target.name, obj, _subresource(target), options
    )
    return Answer(renderer.one(entry), 201 if created else 200)


async def patch(call: Call, target: Target) -> Answer:
    renderer = _renderer(call, target)
    media_type = require_content_type(call.request.headers.get("Content-Type", ""), tuple(PatchType))
    options, force = query.patch_options(call.info.query, applies=media_type == PatchType.APPLY)
    request = PatchRequest(media_type, await body.read(call.request), force)
    entry, created = await target.registry.patch_or_create(
        call.context, target.namespace, target.name, request, _subresource(target), options
    )
    return Answer(renderer.one(entry), 201 if created else 200)


async def _delete_options(call: Call) -> DeleteOptions:
    """Return the options that the body gives, or the query where there is none; raises StatusError 400, 413, 415."""
    return query.delete_options(call.info.query, await body.read_options(call.request, _DELETE_OPTIONS))


async def delete(call: Call, target: Target) -> Answer:
    renderer = _renderer(call, target)
    options = await _delete_options(call)
    entry = await target.registry.delete(call.context, target.namespace, target.name, options)
    return Answer(renderer.one(entry))


async def delete_collection(call: Call, target: Target) -> Answer:
    renderer = _renderer(call, target, many=True)
    which = query.list_options(call.info.query, watch=False)
    options = await _delete_options(call)
    listing = await target.registry.delete_collection(call.context, target.namespace, options, which)
    return Answer(renderer.many(listing.items, list_meta(listing)))
