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
    info = core.info
    config = await _configuration(ctx, request.body, options, (info.group, info.version, info.kind))
    _name(core, config, namespace, name)
    for sent in (config.raw, config.checked):
        for field in _beside(core, sent, subresource):
            del sent[field]
    return await _apply(core, ctx, namespace, name, config, subresource, options, bool(request.force))


async def apply_scale(
    core: Core, ctx: RequestContext, namespace: str, name: str, request: PatchRequest, options: WriteOptions
) -> Entry:
    """Apply a Scale; return the object that is scaled. Its spec.replicas is owned in the object's own version."""
    config = await _configuration(ctx, request.body, options, ("autoscaling", "v1", "Scale"))
    _name(core, config, namespace, name)
    info, scale = core.info, config.checked
    whole: Object = {"apiVersion": info.api_version, "kind": info.kind, "metadata": scale["metadata"]}
    if "replicas" in (scale.get("spec") or {}):
        whole["spec"] = {"replicas": scale["spec"]["replicas"]}
    config = Configuration(schema.definition_of(info.group, info.version, info.kind), whole, whole)
    return (await _apply(core, ctx, namespace, name, config, "scale", options, bool(request.force)))[0]


def _name(core: Core, config: Configuration, namespace: str, name: str) -> None:
    """Fill in name and namespace from the request; 400 where the configuration says others."""
    for sent in (config.raw, config.checked):
        check_names(core, sent.setdefault("metadata", {}), namespace, name)


async def _apply(
    core: Core,
    ctx: RequestContext,
    namespace: str,
    name: str,
    config: Configuration,
    subresource: str,
    options: WriteOptions,
    force: bool,
) -> tuple[Entry, bool]:
    shape = shape_of(config.definition.name)
    who = manager(core, ctx, options, subresource)

    def make(old: Entry) -> Object:
        return objects.applied(shape, old.object, config, who, force)

    for _ in range(ATTEMPTS):
        if subresource or core.find(namespace, name) is not None:
            return await replace(core, ctx, namespace, name, subresource, options, make, applied=True), False
        _check_new(core, name, config.checked["metadata"])
        new = objects.applied(shape, None, config, who, force)
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
    ctx: RequestContext, body: Any, options: WriteOptions, wanted: tuple[str, str, str]
) -> Configuration:
    """Decode and check a configuration of the (group, version, kind) that is wanted."""
    raw, duplicates = await _decoded(body)
    try:
        definition = schema.definition_of(*wanted)
    except KeyError:
        raise errors.unsupported_media_type(f"{wanted[2]} has no schema to apply configurations by") from None
    config = configuration(definition, raw, *wanted)
    if duplicates and options.field_validation != "Ignore":
        problems = schema.field_problems((), duplicates)
        if options.field_validation == "Strict":
            raise errors.bad_request("error strict decoding YAML: " + ", ".join(problems))
        ctx.warnings.extend(problems)
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
