"""Update: replace an object, or one part of it, in place of the state that it was made from."""

from __future__ import annotations

from collections.abc import Callable

from podstead.objects import errors, schema
from podstead.objects.validation import validate_update
from podstead.registry.admission import Operation
from podstead.registry.core import ATTEMPTS, Core, Lost, Object
from podstead.registry.create import checked, create
from podstead.registry.entry import Entry, unstored
from podstead.registry.options import RequestContext, WriteOptions
from podstead.registry.ownership import own_updated
from podstead.registry.strategies.base import keep

_CARRIED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
_SERVER_OWNED = ("generation", "selfLink")

Make = Callable[[Entry], Object]
"""Returns a private, checked object to put in place of the entry."""


async def update(
    core: Core, ctx: RequestContext, namespace: str, name: str, obj: Object, subresource: str, options: WriteOptions
) -> tuple[Entry, bool]:
    """Return the object as it is now, and whether it was created. Raises StatusError 400, 403, 404, 409, 422.

    An object without resourceVersion replaces whatever is there.
    """
    served(core, subresource, "update")
    sent = checked(core, ctx, obj, options)
    metadata = sent.setdefault("metadata", {})
    check_names(core, metadata, namespace, name)
    creates = core.strategy.creates_on_update and not subresource
    if creates and core.find(namespace, name) is None and not metadata.get("resourceVersion"):
        return await create(core, ctx, namespace, sent, options), True
    # The strategies work in place: another attempt needs what was sent.
    kept = core.codec.stored(sent)
    version = metadata.get("resourceVersion", "")

    def make(old: Entry) -> Object:
        new = Entry("", 0, kept).copy()
        new["metadata"]["resourceVersion"] = version
        return new

    return await replace(core, ctx, namespace, name, subresource, options, make), False


async def replace(
    core: Core,
    ctx: RequestContext,
    namespace: str,
    name: str,
    subresource: str,
    options: WriteOptions,
    make: Make,
    *,
    applied: bool = False,
) -> Entry:
    """Put what `make` makes of the present state in its place, again if another write came first.

    If what it makes carries a resourceVersion, that must be the present one: 409. `applied`: it has its managedFields.
    """
    for _ in range(ATTEMPTS):
        old = core.current(namespace, name)
        new = make(old)
        version = new["metadata"].get("resourceVersion")
        if version and version != str(old.revision):
            raise core.conflict(name)
        await _prepare(core, ctx, namespace, name, subresource, options, new, old, applied)
        try:
            return await _commit(core, options, new, old)
        except Lost:
            continue
    raise core.conflict(name)


async def _prepare(
    core: Core,
    ctx: RequestContext,
    namespace: str,
    name: str,
    subresource: str,
    options: WriteOptions,
    new: Object,
    old: Entry,
    applied: bool,
) -> None:
    """Bring `new` into its final form, in place; raises StatusError where it is not a state that may follow `old`."""
    strategy, before = core.strategy, old.object
    _carry_metadata(core, new, before, name)
    schema.default(core.info, new)
    if not applied and subresource in ("", "status"):
        own_updated(core, ctx, new, before, subresource, options)
    attributes = core.attributes(
        ctx, Operation.UPDATE, namespace, name, dry_run=options.dry_run, subresource=subresource
    )
    attributes.object, attributes.old = new, before
    await core.admission.admit(attributes)
    if subresource == "status":
        strategy.prepare_for_status_update(new, before)
    elif subresource:
        strategy.prepare_for_subresource(subresource, new, before)
        if not applied:
            # Only its strategy knows what such a subresource writes.
            own_updated(core, ctx, new, before, subresource, options)
    else:
        strategy.prepare_for_update(new, before)
    if strategy.generation and not subresource and strategy.spec_changed(new, before):
        new["metadata"]["generation"] = (before["metadata"].get("generation") or 0) + 1
    new["metadata"]["resourceVersion"] = str(old.revision)
    if causes := validate_update(core.info, new, before, subresource):
        raise core.invalid(name, causes)
    await core.admission.validate(attributes)


def _carry_metadata(core: Core, new: Object, before: Object, name: str) -> None:
    metadata, was = new["metadata"], before["metadata"]
    if metadata.get("uid") and metadata["uid"] != was["uid"]:
        why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {was['uid']}"
        raise core.conflict(name, why)
    for field in _SERVER_OWNED:
        keep(metadata, was, field)
    # What a client leaves out stays; what it changes is for validation to refuse.
    for field in _CARRIED:
        if not metadata.get(field):
            keep(metadata, was, field)
    metadata["name"] = was["name"]
    if core.info.namespaced:
        metadata["namespace"] = was["namespace"]


async def _commit(core: Core, options: WriteOptions, new: Object, old: Entry) -> Entry:
    gone = _ends(core, new)
    if options.dry_run:
        return unstored(core.codec.ordered(new, str(old.revision)))
    if gone:
        return await core.commit_delete(old, new)
    # Nothing to write: nobody is woken, the revision stays.
    if new == old.object:
        return old
    return await core.commit_update(old, new)


def _ends(core: Core, new: Object) -> bool:
    """Tell whether the last thing that kept an object which is being deleted is gone with this update."""
    metadata = new["metadata"]
    return bool(
        metadata.get("deletionTimestamp")
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
        and not core.strategy.lingers(new)
    )


def check_names(core: Core, metadata: Object, namespace: str, name: str) -> None:
    """Fill in name and namespace from the request; 400 where the object says others."""
    sent = metadata.get("name") or ""
    if sent and sent != name:
        raise errors.bad_request(f"the name of the object ({sent}) does not match the name on the URL ({name})")
    sent = metadata.get("namespace") or ""
    if sent and sent != namespace:
        why = f"the namespace of the object ({sent}) does not match the namespace on the request ({namespace})"
        raise errors.bad_request(why)
    metadata["name"] = name
    if core.info.namespaced:
        metadata["namespace"] = namespace


def served(core: Core, subresource: str, verb: str) -> None:
    """404 for a subresource that the kind does not have, 405 for one that cannot be written so."""
    if not subresource:
        return
    known = core.info.subresource(subresource)
    if known is None:
        raise errors.path_not_found()
    if verb not in known.verbs:
        raise errors.method_not_supported(f"{core.info.plural}/{subresource}", verb, core.info.group)
