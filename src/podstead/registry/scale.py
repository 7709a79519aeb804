"""The subresource `scale`: spec.replicas of a workload, shown and set as an autoscaling/v1 Scale that is made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from podstead.objects import errors, meta, schema
from podstead.objects.exchange import PatchType
from podstead.objects.patch import json_patch, merge_patch
from podstead.objects.selectors import selector_text
from podstead.objects.strategic import strategic_merge_patch
from podstead.registry.apply import apply_scale
from podstead.registry.core import Core, Object
from podstead.registry.entry import Entry, unstored
from podstead.registry.options import PatchRequest, RequestContext, WriteOptions
from podstead.registry.update import replace, served

_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
_API_VERSION, _KIND = "autoscaling/v1", "Scale"


def scale_of(core: Core, entry: Entry) -> Entry:
    """Return the Scale of an object."""
    obj = entry.object
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    selector = spec.get("selector") or {}
    if core.info.kind == "ReplicationController":
        selector = {"matchLabels": selector}
    shown = {"replicas": status.get("replicas", 0)}
    if text := selector_text(selector):
        shown["selector"] = text
    return unstored(
        {
            "kind": _KIND,
            "apiVersion": _API_VERSION,
            "metadata": {name: obj["metadata"][name] for name in _METADATA if name in obj["metadata"]},
            "spec": {"replicas": spec["replicas"]} if spec.get("replicas") else {},
            "status": shown,
        }
    )


async def put_scale(
    core: Core, ctx: RequestContext, namespace: str, name: str, obj: Object, options: WriteOptions
) -> Entry:
    """Set the number of replicas. Raises StatusError 400, 403, 404, 409 (resourceVersion, uid), 422."""
    served(core, "scale", "update")
    sent = _checked(core, ctx, obj, options)
    return await _replace(core, ctx, namespace, name, options, lambda _: sent)


async def patch_scale(
    core: Core, ctx: RequestContext, namespace: str, name: str, request: PatchRequest, options: WriteOptions
) -> Entry:
    """Patch the Scale. Raises as `put_scale`, and 415 for a type of patch that it does not take."""
    served(core, "scale", "patch")
    if request.type == PatchType.APPLY:
        return scale_of(core, await apply_scale(core, ctx, namespace, name, request, options))
    definition = schema.definition_of("autoscaling", "v1", _KIND)
    body: Any = request.body
    duplicates: list[str] = []
    if isinstance(body, bytes | bytearray | memoryview):
        body, duplicates = schema.decode_json(bytes(body))
    warned = False

    def make(old: Object) -> Object:
        nonlocal warned
        match request.type:
            case PatchType.JSON:
                new = json_patch(old, body)
            case PatchType.MERGE:
                new = merge_patch(old, body)
            case PatchType.STRATEGIC:
                new = strategic_merge_patch(definition, old, body)
            case _:
                accepted = ", ".join(PatchType)
                text = "the body of the request was in an unknown format - accepted media types include: "
                raise errors.unsupported_media_type(text + accepted)
        context = RequestContext(ctx.user, manager=ctx.manager) if warned else ctx
        warned = True
        checks = WriteOptions(field_validation=options.field_validation, duplicates=tuple(duplicates))
        return _checked(core, context, new, checks)

    return await _replace(core, ctx, namespace, name, options, make)


async def _replace(
    core: Core,
    ctx: RequestContext,
    namespace: str,
    name: str,
    options: WriteOptions,
    make: Callable[[Object], Object],
) -> Entry:
    def changed(old: Entry) -> Object:
        scale = make(scale_of(core, old).copy())
        metadata = scale.get("metadata") or {}
        _check_names(metadata, namespace, name)
        replicas = (scale.get("spec") or {}).get("replicas", 0)
        if replicas < 0:
            problem = meta.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
            raise errors.invalid(_KIND, name, [problem], "autoscaling")
        new = old.copy()
        new["spec"] = {**new.get("spec", {}), "replicas": replicas}
        new["metadata"]["resourceVersion"] = metadata.get("resourceVersion", "")
        if metadata.get("uid"):
            new["metadata"]["uid"] = metadata["uid"]
        return new

    return scale_of(core, await replace(core, ctx, namespace, name, "scale", options, changed))


def _checked(core: Core, ctx: RequestContext, obj: Any, options: WriteOptions) -> Object:
    """Return a private, pruned copy of a Scale. Raises StatusError 400."""
    scale = core.info.subresource("scale")
    assert scale is not None
    if isinstance(obj, dict):
        obj = dict(obj)
    schema.check_kind(scale, obj)
    sent, warnings = schema.check(scale, obj, validation=options.field_validation, duplicates=options.duplicates)
    ctx.warnings.extend(warnings)
    return sent


def _check_names(metadata: Object, namespace: str, name: str) -> None:
    sent = metadata.get("name") or name
    if sent != name:
        raise errors.bad_request(f"the name of the object ({sent}) does not match the name on the URL ({name})")
    sent = metadata.get("namespace") or namespace
    if sent != namespace:
        why = f"the namespace of the object ({sent}) does not match the namespace on the request ({namespace})"
        raise errors.bad_request(why)
