"""Create: check, default, admit, prepare, validate, commit."""

from __future__ import annotations

from podstead import clock
from podstead.objects import errors, meta, schema
from podstead.objects.kinds import inert_warning
from podstead.objects.validation import validate_create
from podstead.registry.admission import Operation
from podstead.registry.core import Core, Lost, Object
from podstead.registry.entry import Entry, unstored
from podstead.registry.options import RequestContext, WriteOptions
from podstead.registry.ownership import own_created

GENERATE_ATTEMPTS = 8
"""How often another name is tried when a generated one is taken."""
_DUPLICATE_OWNERS = (
    ".metadata.ownerReferences contains duplicate entries{}; API server dedups owner references in 1.20+, and may "
    "reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
)
_SERVER_OWNED = ("deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")


async def create(
    core: Core, ctx: RequestContext, namespace: str, obj: Object, options: WriteOptions, *, applied: bool = False
) -> Entry:
    """Return what was created. Raises StatusError 400, 403, 404 (namespace), 409, 422.

    `applied`: the object has its managedFields already.
    """
    new = checked(core, ctx, obj, options)
    if inert := inert_warning(core.info):
        ctx.warnings.append(inert)
    metadata = new.setdefault("metadata", {})
    if metadata.pop("resourceVersion", ""):
        # Kubernetes words it so but answers with a 500; the fault is the client's.
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    place(core, metadata, namespace)
    schema.default(core.info, new)
    if not applied:
        own_created(core, ctx, new, options)
    attributes = core.attributes(ctx, Operation.CREATE, namespace, metadata.get("name", ""), dry_run=options.dry_run)
    attributes.object = new
    await core.admission.admit(attributes)
    core.strategy.prepare_for_create(new)
    core.strategy.requested_by(new, ctx.user)
    _own(core, metadata)
    for _ in range(GENERATE_ATTEMPTS):
        generated = not attributes.name and bool(metadata.get("generateName"))
        if generated:
            metadata["name"] = meta.generate_name(metadata["generateName"])
        # What depends on the name (a namespace's label) is set once the name is there.
        core.strategy.named(new)
        name = metadata.get("name", "")
        if causes := validate_create(core.info, new):
            raise core.invalid(name, causes)
        await core.admission.validate(attributes)
        key = core.key(namespace, name)
        taken = core.cache.get(key) is not None
        if not taken and options.dry_run:
            metadata.pop("resourceVersion", None)
            return unstored({"kind": core.info.kind, "apiVersion": core.info.api_version, **new})
        if not taken:
            try:
                return await core.commit_create(key, new)
            except Lost:
                pass
        if not generated:
            break
    if metadata.get("generateName"):
        raise errors.generate_name_conflict(core.info.plural, metadata["name"], core.info.group)
    raise errors.already_exists(core.info.plural, metadata["name"], core.info.group)


def checked(core: Core, ctx: RequestContext, obj: Object, options: WriteOptions, *, patched: bool = False) -> Object:
    """Return a private, pruned copy of what a client sent, or of what its patch makes. Raises StatusError 400."""
    if isinstance(obj, dict):
        obj = dict(obj)
    schema.check_kind(core.info, obj)
    new, warnings = schema.check(core.info, obj, validation=options.field_validation, duplicates=options.duplicates)
    ctx.warnings.extend(warnings)
    if twice := meta.drop_duplicate_owners(new.get("metadata") or {}):
        # Kubernetes looks at what a patch makes later than at what is sent whole, and says so.
        when = " after mutating admission happens" if patched else ""
        ctx.warnings.append(_DUPLICATE_OWNERS.format(when) + ", ".join(twice))
    return new


def place(core: Core, metadata: Object, namespace: str) -> None:
    """Set metadata.namespace to the request's; 400 where the object says another."""
    sent = metadata.get("namespace") or ""
    if core.info.namespaced and not namespace:
        raise errors.bad_request("an empty namespace may not be set during creation")
    if sent and sent != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if core.info.namespaced:
        metadata["namespace"] = namespace


def _own(core: Core, metadata: Object) -> None:
    """Set what is the server's, whatever the client sent."""
    for field in _SERVER_OWNED:
        metadata.pop(field, None)
    metadata["uid"] = meta.new_uid()
    metadata["creationTimestamp"] = clock.rfc3339()
    if core.strategy.generation:
        metadata["generation"] = 1
