"""What becomes of an object's dependents at its deletion: the policy, as a finalizer for the garbage collector.

Sources: Kubernetes documentation, "Garbage Collection" and "Use Cascading Deletion"; batch/v1 Job and the
ReplicationController keep their pods unless told otherwise, for compatibility with their first clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from podstead.objects import errors
from podstead.registry.core import Core
from podstead.registry.options import DeleteOptions, RequestContext

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
"""Finalizers: dependents go first, dependents stay."""

_POLICIES = ("Foreground", "Background", "Orphan")
_ORPHANED_BY_DEFAULT = frozenset({"jobs.batch", "replicationcontrollers"})
_WITHOUT_DEPENDENTS = frozenset({"events", "events.events.k8s.io"})
_JOB_WARNING = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
    "propagationPolicy=Orphan to suppress this warning"
)


def check(options: DeleteOptions) -> None:
    """Raise StatusError 422 for a policy that is none, or two of them."""
    policy = options.propagation_policy
    text = kind = ""
    if policy and options.orphan_dependents is not None:
        kind = "FieldValueInvalid"
        text = f'Invalid value: "{policy}": orphanDependents and deletionPropagation cannot be both set'
    elif policy and policy not in _POLICIES:
        listed = ", ".join(f'"{known}"' for known in (*_POLICIES, "nil"))
        kind, text = "FieldValueNotSupported", f'Unsupported value: "{policy}": supported values: {listed}'
    if text:
        cause = errors.FieldError("propagationPolicy", kind, text)
        raise errors.invalid("DeleteOptions", "", [cause], "meta.k8s.io")


def warn(core: Core, ctx: RequestContext, options: DeleteOptions) -> None:
    """Tell who deletes a Job and says nothing of its pods that these stay."""
    if core.info.resource == "jobs.batch" and not options.propagation_policy and options.orphan_dependents is None:
        ctx.warnings.append(_JOB_WARNING)


def finalizers(core: Core, metadata: dict[str, Any], options: DeleteOptions) -> Sequence[str]:
    """Return metadata.finalizers as a delete with `options` leaves them.

    What the options say goes first, then a finalizer that is there already, then the default of the kind.
    """
    present: Sequence[str] = metadata.get("finalizers") or ()
    wanted = _wanted(core.info.resource, present, options)
    names = {one for one in present if one not in (FOREGROUND, ORPHAN)} | ({wanted} if wanted else set())
    return present if names == set(present) else sorted(names)


def _wanted(resource: str, present: Sequence[str], options: DeleteOptions) -> str:
    if resource in _WITHOUT_DEPENDENTS:
        return ""
    if options.orphan_dependents is not None:
        return ORPHAN if options.orphan_dependents else ""
    if options.propagation_policy:
        return {"Foreground": FOREGROUND, "Orphan": ORPHAN}.get(options.propagation_policy, "")
    for finalizer in present:
        if finalizer in (FOREGROUND, ORPHAN):
            return finalizer
    return ORPHAN if resource in _ORPHANED_BY_DEFAULT else ""
