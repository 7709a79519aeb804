"""Server-side apply: PATCH with application/apply-patch+yaml makes or changes an object as a configuration says.

KEP-555; https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from podstead.objects import apply as objects
from podstead.objects import errors, schema, yaml_text
from podstead.objects.apply.configuration import Configuration, configuration
from podstead.objects.apply.shapes import shape_of
from podstead.registry.core import ATTEMPTS, Core, Object
from podstead.registry.create import create
from podstead.registry.entry import Entry
from podstead.registry.options import PatchRequest, RequestContext, WriteOptions
from podstead.registry.ownership import manager
from podstead.registry.update import check_names, replace

_LONG = 64 * 1024
"""Bytes from which decoding YAML would hold up other requests for milliseconds."""
_OF_STATUS = ("apiVersion", "kind", "metadata", "status")


async def apply(
    core: Core,
    ctx: RequestContext,
    namespace: str,
    name: str,
    request: PatchRequest,
    subresource: str,
    options: WriteOptions,
) -> tuple[Entry, bool]:
    """Return the object as it is now, and whether it was created. Raises StatusError 400, 403, 404, 409, 422."""
    config = await _configuration(core, ctx, request.body, subresource, options)
    for field in (config.raw, config.checked):
        check_names(core, field.setdefault("metadata", {}), namespace, name)
    shape = shape_of(config.definition.name)
    who = manager(core, ctx, options, subresource)

    def make(old: Entry) -> Object:
        return objects.applied(shape, old.object, config, who, bool(request.force))

    for _ in range(ATTEMPTS):
        if subresource or core.find(namespace, name) is not None:
            return await replace(core, ctx, namespace, name, subresource, options, make, applied=True), False
        _check_new(core, name, config.checked["metadata"])
        new = objects.applied(shape, None, config, who, bool(request.force))
        try:
            return await create(core, ctx, namespace, new, options, applied=True), True
        except errors.StatusError as error:
            if error.reason != "AlreadyExists":
                raise
    raise core.conflict(name)


def _check_new(core: Core, name: str, metadata: Object) -> None:
    """409 for a configuration that speaks of an object that is not there any more."""
    if metadata.get("uid"):
        why = f"uid mismatch: the provided object specified uid {metadata['uid']}, and no existing object was found"
        raise core.conflict(name, why)
    if metadata.get("resourceVersion"):
        raise core.conflict(name)


async def _configuration(
    core: Core, ctx: RequestContext, body: Any, subresource: str, options: WriteOptions
) -> Configuration:
    raw, duplicates = await _decoded(body)
    info = core.info
    try:
        definition = schema.definition_of(info.group, info.version, info.kind)
    except KeyError:
        raise errors.unsupported_media_type(f"{info.kind} has no schema to apply configurations by") from None
    config = configuration(definition, raw, info.group, info.version, info.kind)
    if duplicates and options.field_validation != "Ignore":
        problems = schema.field_problems((), duplicates)
        if options.field_validation == "Strict":
            raise errors.bad_request("error strict decoding YAML: " + ", ".join(problems))
        ctx.warnings.extend(problems)
    for sent in (config.raw, config.checked):
        for field in _beside(core, sent, subresource):
            del sent[field]
    return config


def _beside(core: Core, sent: Object, subresource: str) -> list[str]:
    """Return the fields that this request does not write, whatever the configuration says of them."""
    if subresource == "status":
        return [field for field in sent if field not in _OF_STATUS]
    return ["status"] if core.strategy.has_status and not subresource and "status" in sent else []


async def _decoded(body: Any) -> tuple[Any, list[str]]:
    if not isinstance(body, bytes | bytearray | memoryview):
        return copy.deepcopy(body), []
    data = bytes(body)
    try:
        if data.lstrip()[:1] == b"{":
            return schema.decode_json(data)
    except errors.StatusError:
        pass  # what begins as JSON may still be YAML
    try:
        if len(data) > _LONG:
            return await asyncio.to_thread(yaml_text.decode_yaml, data)
        return yaml_text.decode_yaml(data)
    except errors.StatusError as error:
        raise errors.bad_request(f"error decoding YAML: {error.message}") from error
