"""Delete: at once, gracefully, or when the finalizers are gone; and deletecollection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from podstead import clock
from podstead.objects import errors
from podstead.registry import propagation
from podstead.registry.admission import Operation
from podstead.registry.core import ATTEMPTS, Core, Lost, Object
from podstead.registry.entry import Entry, unstored
from podstead.registry.lists import Listing, list_objects
from podstead.registry.options import DeleteOptions, ListOptions, RequestContext

MAX_GRACE = 100 * 365 * 86_400
"""Seconds. A longer grace period is as good as this one, and its end could not be written as a time."""


async def delete(core: Core, ctx: RequestContext, namespace: str, name: str, options: DeleteOptions) -> Entry:
    """Return what the API answers: the object where it lingers or its kind says so, else a Status of success."""
    propagation.warn(core, ctx, options)
    entry, gone = await remove(core, ctx, namespace, name, options)
    if not gone or core.info.returns_deleted:
        return entry
    details = {"name": name, "kind": core.info.plural, "uid": entry.uid}
    if core.info.group:
        details["group"] = core.info.group
    return unstored(success(details))


def success(details: Object | None = None) -> Object:
    """Return a Status of success."""
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return status if details is None else status | {"details": details}


async def remove(
    core: Core, ctx: RequestContext, namespace: str, name: str, options: DeleteOptions
) -> tuple[Entry, bool]:
    """Delete; return the object as it is now, or was last, and whether it is gone.

    Raises StatusError 403, 404, 409 (preconditions), 422 (options).
    """
    propagation.check(options)
    for _ in range(ATTEMPTS):
        old = core.current(namespace, name)
        check_preconditions(core, old, options)
        attributes = core.attributes(ctx, Operation.DELETE, namespace, name, dry_run=options.dry_run)
        attributes.old = old.object
        await core.admission.admit(attributes)
        await core.admission.validate(attributes)
        marked = _marked(core, old, options)
        try:
            if marked is None:
                return (old if options.dry_run else await core.commit_delete(old)), True
            if marked is old.object:
                return old, False
            if options.dry_run:
                return unstored(core.codec.ordered(marked, str(old.revision))), False
            return await core.commit_update(old, marked), False
        except Lost:
            continue
    raise core.conflict(name)


async def delete_collection(
    core: Core, ctx: RequestContext, namespace: str, options: DeleteOptions, which: ListOptions
) -> Listing:
    """Delete what a list with `which` returns; returns that list. Raises what the first failed delete raised."""
    propagation.check(options)
    propagation.warn(core, ctx, options)
    listing = await list_objects(core, namespace, which)
    # Together, so that they share commits. Each has its own outcome: one that is gone already is no failure.
    outcomes = await asyncio.gather(
        *(remove(core, ctx, entry.namespace, entry.name, options) for entry in listing.items), return_exceptions=True
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not (isinstance(outcome, errors.StatusError) and outcome.code == 404):
            raise outcome
    return listing


def check_preconditions(core: Core, old: Entry, options: DeleteOptions) -> None:
    """Raise StatusError 409 where `old` is not what `options` say that it has to be."""
    why = ""
    if options.uid and options.uid != old.uid:
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({old.uid}). "
            "The object might have been deleted and then recreated"
        )
    elif options.resource_version and options.resource_version != str(old.revision):
        why = (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the ResourceVersion "
            f"in record ({old.revision}). The object might have been modified"
        )
    if why:
        # Here Kubernetes says the kind where other conflicts have the resource.
        raise errors.conflict(core.info.kind, old.name, why, core.info.group)


def _marked(core: Core, old: Entry, options: DeleteOptions) -> Object | None:
    """Return what the object becomes: None if it goes now, itself if nothing changes, else a marked copy."""
    obj = old.object
    metadata = obj["metadata"]
    requested = options.grace_period_seconds
    if requested is not None and requested < 0:
        requested = 1
    if metadata.get("deletionTimestamp"):
        return _again(core, old, requested, options)
    finalizers = propagation.finalizers(core, metadata, options)
    grace = min(core.strategy.grace_period(obj, requested) or 0, MAX_GRACE)
    if not grace and not finalizers and not core.strategy.lingers(obj):
        return None
    marked = old.copy()
    _mark(marked, clock.rfc3339(clock.now() + timedelta(seconds=grace)), grace)
    _set_finalizers(marked, finalizers)
    if marked["metadata"].get("generation"):
        marked["metadata"]["generation"] += 1
    core.strategy.prepare_for_deletion(marked)
    return marked


def _again(core: Core, old: Entry, requested: int | None, options: DeleteOptions) -> Object | None:
    """A delete of what is being deleted may shorten the grace period, never lengthen it.

    While a grace period runs and stays as it is, the finalizers stay too; else they follow the options.
    """
    metadata = old.object["metadata"]
    before = metadata.get("deletionGracePeriodSeconds") or 0
    grace = before if requested is None else min(before, requested)
    if grace == before > 0:
        return old.object
    finalizers = propagation.finalizers(core, metadata, options)
    if not grace and not finalizers and not core.strategy.lingers(old.object):
        return None
    if grace == before and list(finalizers) == list(metadata.get("finalizers") or ()):
        return old.object
    moment = clock.parse(metadata["deletionTimestamp"]) - timedelta(seconds=before - grace)
    marked = old.copy()
    _mark(marked, clock.rfc3339(moment), grace)
    _set_finalizers(marked, finalizers)
    return marked


def _set_finalizers(marked: Object, finalizers: Sequence[str]) -> None:
    if finalizers:
        marked["metadata"]["finalizers"] = list(finalizers)
    else:
        marked["metadata"].pop("finalizers", None)


def _mark(marked: Object, moment: str, grace: int) -> None:
    metadata = marked["metadata"]
    metadata["deletionTimestamp"] = moment
    metadata["deletionGracePeriodSeconds"] = grace
