"""POST to a subresource of a pod: binding gives it a node, eviction asks it to go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from podstead.objects import errors, meta, schema
from podstead.registry.admission import Operation
from podstead.registry.core import ATTEMPTS, Core, Lost, Object
from podstead.registry.delete import success
from podstead.registry.entry import Entry, unstored
from podstead.registry.eviction import evict
from podstead.registry.options import RequestContext, WriteOptions
from podstead.registry.strategies.pods import bind
from podstead.registry.update import served


async def create_subresource(
    core: Core,
    ctx: RequestContext,
    namespace: str,
    name: str,
    subresource: str,
    obj: Object,
    options: WriteOptions,
) -> Entry:
    """Return the answer: a Status of success, or what was asked for. Raises StatusError (400, 403 to 405, 409, 422)."""
    served(core, subresource, "create")
    act = _ACTIONS.get((core.info.resource, subresource))
    if act is None:
        # exec and its like are served by the node, not by the registry.
        raise errors.method_not_supported(f"{core.info.plural}/{subresource}", "create", core.info.group)
    known = core.info.subresource(subresource)
    assert known is not None
    if isinstance(obj, dict):
        obj = dict(obj)
    schema.check_kind(known, obj)
    sent, warnings = schema.check(known, obj, validation=options.field_validation, duplicates=options.duplicates)
    ctx.warnings.extend(warnings)
    metadata = sent.setdefault("metadata", {})
    if metadata.get("namespace", namespace) != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if metadata.get("name", name) != name:
        raise errors.bad_request(f"name in URL does not match name in {known.kind} object")
    return unstored(await act(core, ctx, namespace, name, sent, options) or success() | {"code": 201})


async def _binding(
    core: Core, ctx: RequestContext, namespace: str, name: str, binding: Object, options: WriteOptions
) -> None:
    added = binding["metadata"]
    causes = [
        *meta.validate_labels(added.get("labels") or {}, "metadata.labels"),
        *meta.validate_annotations(added.get("annotations") or {}, "metadata.annotations"),
    ]
    if causes:
        raise errors.invalid("Binding", name, causes)
    for _ in range(ATTEMPTS):
        old = core.current(namespace, name)
        new = old.copy()
        bind(new, binding)
        attributes = core.attributes(
            ctx, Operation.UPDATE, namespace, name, dry_run=options.dry_run, subresource="binding"
        )
        attributes.object, attributes.old = new, old.object
        await core.admission.admit(attributes)
        await core.admission.validate(attributes)
        if options.dry_run:
            return
        try:
            await core.commit_update(old, new)
        except Lost:
            continue
        return
    raise core.conflict(name)


async def _token(
    core: Core, ctx: RequestContext, namespace: str, name: str, request: Object, options: WriteOptions
) -> Object:
    if core.tokens is None:
        raise errors.path_not_found()
    account = core.current(namespace, name).object
    attributes = core.attributes(ctx, Operation.CREATE, namespace, name, dry_run=options.dry_run, subresource="token")
    attributes.object = request
    await core.admission.admit(attributes)
    await core.admission.validate(attributes)
    return core.tokens.request(account, request)


_ACTIONS: dict[tuple[str, str], Callable[..., Awaitable[Object | None]]] = {
    ("pods", "binding"): _binding,
    ("pods", "eviction"): evict,
    ("serviceaccounts", "token"): _token,
}
