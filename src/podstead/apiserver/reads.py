"""get, list and watch."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from podstead.apiserver import query
from podstead.apiserver.answers import Answer
from podstead.apiserver.call import Call
from podstead.apiserver.negotiation import JSON
from podstead.apiserver.render import Renderer
from podstead.apiserver.request import text
from podstead.apiserver.target import Target
from podstead.registry.lists import Listing
from podstead.registry.watch import Watch


async def get(call: Call, target: Target) -> Answer:
    renderer = Renderer.of(target.info, call.accept, call.info.query, many=False)
    entry = await target.registry.get(target.namespace, target.name, text(call.info.query, "resourceVersion"))
    return Answer(renderer.one(entry))


async def list_(call: Call, target: Target) -> Answer:
    renderer = Renderer.of(target.info, call.accept, call.info.query, many=True)
    options = query.list_options(call.info.query, watch=False)
    listing = await target.registry.list(target.namespace, options)
    return Answer(renderer.many(listing.items, list_meta(listing)))


def list_meta(listing: Listing) -> dict[str, Any]:
    """Return metav1.ListMeta."""
    meta: dict[str, Any] = {"resourceVersion": str(listing.revision)}
    if listing.continue_token:
        meta["continue"] = listing.continue_token
    if listing.remaining is not None:
        meta["remainingItemCount"] = listing.remaining
    return meta


async def watch(call: Call, target: Target, watches: set[Watch]) -> web.StreamResponse:
    """Stream events until the watch ends or the client goes; `watches` holds it meanwhile, for whoever ends them all.

    What has piled up since the last write goes out in one. A client that does not read loses its connection once its
    watch has been cut or is over: nothing else would end the write.
    """
    renderer = Renderer.of(target.info, call.accept, call.info.query, streamed=True)
    options = query.list_options(call.info.query, watch=True, name=target.name)
    async with target.registry.watch(target.namespace, options) as events:
        watches.add(events)
        try:
            response = await call.stream(JSON)
            if call.request.transport is not None:
                events.lost = call.request.transport.abort
            while batch := await events.batch():
                await response.write(b"".join(map(renderer.event, batch)))
            await response.write_eof()
        finally:
            watches.discard(events)
    return response
