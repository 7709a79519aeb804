"""GET, PUT and PATCH of the subresource `scale`, whose object is another kind than its resource's."""

from __future__ import annotations

from dataclasses import replace

from podstead.apiserver import body, query
from podstead.apiserver.answers import Answer
from podstead.apiserver.call import Call
from podstead.apiserver.negotiation import require_content_type
from podstead.apiserver.render import Renderer
from podstead.apiserver.target import Target
from podstead.objects.exchange import PatchType
from podstead.objects.kinds import ResourceInfo
from podstead.registry.options import PatchRequest
from podstead.registry.scale import patch_scale, put_scale, scale_of

_SCALE = ResourceInfo("autoscaling", "v1", "Scale", "scale", "scale", (), True, ("get", "patch", "update"), (), ())


async def serve(call: Call, target: Target) -> Answer:
    """Answer with the Scale. Raises StatusError as the same verbs of other resources do."""
    renderer = Renderer.of(_SCALE, call.accept, call.info.query)
    core, namespace, name = target.registry.core, target.namespace, target.name
    if call.info.verb == "get":
        return Answer(renderer.one(scale_of(core, core.current(namespace, name))))
    if call.info.verb == "update":
        options = query.write_options(call.info.query, "UpdateOptions")
        wanted = options.field_validation != "Ignore"
        obj, duplicates = await body.read_object(call.request, _SCALE, duplicates=wanted)
        options = replace(options, duplicates=tuple(duplicates))
        return Answer(renderer.one(await put_scale(core, call.context, namespace, name, obj, options)))
    media_type = require_content_type(call.request.headers.get("Content-Type", ""), tuple(PatchType))
    options, force = query.patch_options(call.info.query, applies=media_type == PatchType.APPLY)
    request = PatchRequest(media_type, await body.read(call.request), force)
    return Answer(renderer.one(await patch_scale(core, call.context, namespace, name, request, options)))
