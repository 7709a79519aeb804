"""Lists: what the resourceVersion parameters mean, and pages that belong together.

Rules: Kubernetes documentation, "API concepts", resource versions and "retrieving large results sets in chunks".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from podstead.objects import errors, meta
from podstead.objects.errors import FieldError
from podstead.registry.continuation import LATEST, decode_token, encode_token, expired
from podstead.registry.core import Core
from podstead.registry.entry import Entry
from podstead.registry.options import ListOptions
from podstead.registry.selection import Selection, select
from podstead.store.base import Compacted, StoreError

_REVISION_EXPIRED = "The resourceVersion for the provided list is too old."
_READ_STEP = 500
"""Objects read from the store at once, so that no read holds up a checkpoint for long."""
_LARGEST = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Listing:
    """A consistent list at `revision`. `remaining` is None where it is not known or nothing follows."""

    items: list[Entry]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


def selection(core: Core, options: ListOptions) -> Selection:
    strategy = core.strategy
    return select(options.label_selector, options.field_selector, strategy.field_labels, strategy.fields_of)


def parse_revision(text: str) -> int:
    """Return the number that a resourceVersion is; raises StatusError 400 where it is none (Go's ParseUint)."""
    if not text:
        return 0
    digits = text.isascii() and text.isdigit()
    if not digits or len(text) > 30 or int(text) > _LARGEST:
        wrong = "value out of range" if digits else "invalid syntax"
        why = f"strconv.ParseUint: parsing {meta.quoted(text)}: {wrong}"
        raise errors.bad_request(f"invalid resource version: {meta.invalid('resourceVersion', text, why)}")
    return int(text)


def too_large(core: Core, wanted: int) -> errors.StatusError:
    """504: `wanted` has not been reached in the time that a read waits for it; the client may ask again in a second."""
    error = errors.timeout(f"Too large resource version: {wanted}, current: {core.cache.revision}", 1)
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    error.details = {**(error.details or {}), "causes": causes}
    return error


async def fresh(core: Core, wanted: int) -> None:
    """Wait for the revision `wanted`; raises StatusError 504 where it does not come in time."""
    if wanted > core.cache.revision and not await core.cache.reach(wanted):
        raise too_large(core, wanted)


def _refuse(causes: list[FieldError]) -> None:
    """Raise StatusError 422 on the options themselves, if there is a cause."""
    if causes:
        raise errors.invalid("ListOptions", "", causes, "meta.k8s.io")


def _forbidden(path: str, text: str) -> FieldError:
    return FieldError(path, "FieldValueForbidden", f"Forbidden: {text}")


def _unsupported_match(match: str, *supported: str) -> FieldError:
    listed = ", ".join(f'"{value}"' for value in supported)
    text = f'Unsupported value: "{match}": supported values: {listed}'
    return FieldError("resourceVersionMatch", "FieldValueNotSupported", text)


def validate_list(options: ListOptions) -> None:
    """Raise StatusError 422 for options that contradict each other (apimachinery's ValidateListOptions)."""
    match, version = options.resource_version_match, options.resource_version
    path, causes = "resourceVersionMatch", []
    if match:
        if not version:
            causes.append(_forbidden(path, f"{path} is forbidden unless resourceVersion is provided"))
        if options.continue_token:
            causes.append(_forbidden(path, f"{path} is forbidden when continue is provided"))
        if match not in ("Exact", "NotOlderThan"):
            causes.append(_unsupported_match(match, "Exact", "NotOlderThan", ""))
        if match == "Exact" and version == "0":
            causes.append(_forbidden(path, f'{path} "exact" is forbidden for resourceVersion "0"'))
    if options.send_initial_events is not None:
        causes.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    _refuse(causes)


def validate_watch(options: ListOptions) -> None:
    """As `validate_list`, for a watch."""
    match, initial = options.resource_version_match, options.send_initial_events
    path, causes = "resourceVersionMatch", []
    if initial is not None and match != "NotOlderThan":
        causes.append(_forbidden(path, f"sendInitialEvents requires setting {path} to NotOlderThan"))
    if match:
        if initial is None:
            causes.append(_forbidden(path, f"{path} is forbidden for watch unless sendInitialEvents is provided"))
        if match != "NotOlderThan":
            causes.append(_unsupported_match(match, "NotOlderThan"))
        if options.continue_token:
            causes.append(_forbidden(path, f"{path} is forbidden when continue is provided"))
    _refuse(causes)


async def list_objects(core: Core, namespace: str, options: ListOptions) -> Listing:
    """Return the objects in `namespace` (empty: all). Raises StatusError 400, 410, 422, 504."""
    validate_list(options)
    chosen = selection(core, options)
    prefix = core.scope(namespace)
    version = options.resource_version
    revision = parse_revision(version)
    if options.continue_token:
        wanted, after = decode_token(options.continue_token)
        if revision:
            raise errors.bad_request("specifying resource version is not allowed when using continue")
        if wanted == LATEST:
            return _present(core, prefix, chosen, options.limit, prefix + after)
        await fresh(core, wanted)
        return await _at(core, prefix, chosen, options, wanted, after)
    await fresh(core, revision)
    # A page of a list at a revision has always meant that very revision.
    if options.resource_version_match == "Exact" or (
        revision and options.limit > 0 and not options.resource_version_match
    ):
        return await _at(core, prefix, chosen, options, revision, "")
    # Whatever there is, at once and whole: kube-apiserver's cache knows no limit for that.
    return _present(core, prefix, chosen, 0 if version and not revision else options.limit)


def scan(core: Core, prefix: str, chosen: Selection, after: str = "") -> Iterator[Entry]:
    """Return the present entries below `prefix` that are chosen, those that sort behind `after`."""
    if chosen.name and (prefix != core.cache.prefix or not core.info.namespaced):
        entry = core.cache.get(prefix + chosen.name)
        found = entry is not None and entry.key > after and chosen.matches(entry)
        return iter([entry] if entry is not None and found else [])
    entries = core.cache.scan(prefix, after)
    return entries if chosen.trivial else (entry for entry in entries if chosen.matches(entry))


def _present(core: Core, prefix: str, chosen: Selection, limit: int, after: str = "") -> Listing:
    """List what the cache holds now."""
    revision = core.cache.revision
    entries = scan(core, prefix, chosen, after)
    if limit <= 0:
        return Listing(list(entries), revision)
    items = list(islice(entries, limit))
    if chosen.trivial:
        following = core.cache.count(prefix, items[-1].key) if items else 0
    else:
        following = next(entries, None) is not None
    if not following:
        return Listing(items, revision)
    token = encode_token(revision, items[-1].key.removeprefix(prefix))
    return Listing(items, revision, token, following if chosen.trivial else None)


async def _at(core: Core, prefix: str, chosen: Selection, options: ListOptions, revision: int, after: str) -> Listing:
    """List as it was at `revision`: from the cache if this resource has not changed since, else from the store."""
    if core.cache.changed <= revision:
        present = _present(core, prefix, chosen, options.limit, prefix + after if after else "")
        token = present.continue_token
        if token:
            token = encode_token(revision, present.items[-1].key.removeprefix(prefix))
        return Listing(present.items, revision, token, present.remaining)
    items: list[Entry] = []
    limit, last = options.limit, prefix + after if after else ""
    while True:
        step = min(limit - len(items), _READ_STEP) if limit and chosen.trivial else _READ_STEP
        try:
            page = await core.store.list(prefix, after=last, limit=step, revision=revision)
        except Compacted as error:
            if options.continue_token:
                raise expired(after) from error
            raise errors.expired(_REVISION_EXPIRED) from error
        except StoreError as error:
            raise errors.internal_error(str(error)) from error
        for position, item in enumerate(page.items):
            entry = core.cache.codec.entry(item.key, item.revision, item.value)
            if chosen.matches(entry):
                items.append(entry)
            if limit and len(items) == limit:
                left = page.remaining + len(page.items) - position - 1
                token = encode_token(revision, item.key.removeprefix(prefix)) if left else ""
                return Listing(items, revision, token, left if left and chosen.trivial else None)
        if not page.remaining:
            return Listing(items, revision)
        last = page.items[-1].key
