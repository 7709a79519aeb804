"""Lists: what the resourceVersion parameters mean, pages that belong together, continue tokens.

Rules: Kubernetes documentation, "API concepts", resource versions and "retrieving large results sets in chunks".
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from itertools import islice

import msgspec

from podstead.objects import errors
from podstead.registry.core import Core
from podstead.registry.entry import Entry, encode
from podstead.registry.options import ListOptions
from podstead.registry.selection import Selection, select
from podstead.store.base import Compacted, StoreError

_TOKEN_VERSION = "meta.k8s.io/v1"
_CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. "
    "You must start a new list without the continue parameter."
)
_REVISION_EXPIRED = "The resourceVersion for the provided list is too old."
_READ_STEP = 500
"""Objects read from the store at once while a selector thins them out."""


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


def parse_revision(core: Core, text: str) -> int:
    """Return the number that a resourceVersion is; raises StatusError 422 where it is none."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        why = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise errors.invalid(
            core.info.plural, "", [errors.FieldError("resourceVersion", "FieldValueInvalid", why)], core.info.group
        )
    return int(text)


def too_large(core: Core, wanted: int) -> errors.StatusError:
    error = errors.timeout(f"Too large resource version: {wanted}, current: {core.cache.revision}", 1)
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    error.details = {**(error.details or {}), "causes": causes}
    return error


def list_invalid(path: str, text: str) -> errors.StatusError:
    """422 on the options themselves."""
    return errors.invalid(
        "ListOptions", "", [errors.FieldError(path, "FieldValueForbidden", f"Forbidden: {text}")], "meta.k8s.io"
    )


async def list_objects(core: Core, namespace: str, options: ListOptions) -> Listing:
    """Return the objects in `namespace` (empty: all). Raises StatusError 400, 410, 422, 504."""
    chosen = selection(core, options)
    prefix = core.scope(namespace)
    if options.send_initial_events is not None:
        raise list_invalid("sendInitialEvents", "sendInitialEvents is forbidden for list")
    if options.continue_token:
        revision, after = _decode_token(core, options)
        return await _at(core, prefix, chosen, options, revision, after)
    revision = parse_revision(core, options.resource_version)
    exact = _exact(options)
    if revision > core.cache.revision:
        raise too_large(core, revision)
    if exact:
        return await _at(core, prefix, chosen, options, revision, "")
    return _present(core, prefix, chosen, options.limit)


def _exact(options: ListOptions) -> bool:
    """Tell whether the list is to be at exactly its resourceVersion."""
    match, version = options.resource_version_match, options.resource_version
    if match and not version:
        raise list_invalid(
            "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"
        )
    if match not in ("", "Exact", "NotOlderThan"):
        text = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan"'
        cause = errors.FieldError("resourceVersionMatch", "FieldValueNotSupported", text)
        raise errors.invalid("ListOptions", "", [cause], "meta.k8s.io")
    if match == "Exact" and version == "0":
        why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        raise list_invalid("resourceVersionMatch", why)
    # A page of a list at a revision has always meant that very revision.
    return match == "Exact" or (not match and options.limit > 0 and version not in ("", "0"))


def _present(core: Core, prefix: str, chosen: Selection, limit: int, after: str = "") -> Listing:
    """List what the cache holds now."""
    cache = core.cache
    if chosen.name and not after:
        found: list[Entry] = _by_name(core, prefix, chosen)
        return Listing(found, cache.revision)
    entries = cache.scan(prefix, after)
    if not chosen.trivial:
        entries = (entry for entry in entries if chosen.matches(entry))
    if limit <= 0:
        return Listing(list(entries), cache.revision)
    entries = iter(entries)
    items = list(islice(entries, limit))
    following = sum(1 for _ in entries)
    if not following:
        return Listing(items, cache.revision)
    token = _encode_token(cache.revision, items[-1].key.removeprefix(prefix))
    return Listing(items, cache.revision, token, following if chosen.trivial else None)


def _by_name(core: Core, prefix: str, chosen: Selection) -> list[Entry]:
    if core.info.namespaced and prefix == core.cache.prefix:
        return [entry for entry in core.cache.scan(prefix) if entry.name == chosen.name and chosen.matches(entry)]
    entry = core.cache.get(prefix + chosen.name)
    return [entry] if entry is not None and chosen.matches(entry) else []


async def _at(core: Core, prefix: str, chosen: Selection, options: ListOptions, revision: int, after: str) -> Listing:
    """List as it was at `revision`: from the cache if this resource has not changed since, else from the store."""
    if core.cache.changed <= revision:
        present = _present(core, prefix, chosen, options.limit, prefix + after if after else "")
        token = present.continue_token
        if token:
            token = _encode_token(revision, present.items[-1].key.removeprefix(prefix))
        return Listing(present.items, revision, token, present.remaining)
    items: list[Entry] = []
    limit, last = options.limit, prefix + after if after else ""
    while True:
        step = limit - len(items) if chosen.trivial else max(_READ_STEP, limit)
        try:
            page = await core.store.list(prefix, after=last, limit=step if limit else 0, revision=revision)
        except Compacted as error:
            raise errors.expired(_CONTINUE_EXPIRED if options.continue_token else _REVISION_EXPIRED) from error
        except StoreError as error:
            raise errors.internal_error(str(error)) from error
        for position, item in enumerate(page.items):
            entry = core.codec.entry(item.key, item.revision, item.value)
            if chosen.matches(entry):
                items.append(entry)
            if limit and len(items) == limit:
                left = page.remaining + len(page.items) - position - 1
                token = _encode_token(revision, item.key.removeprefix(prefix)) if left else ""
                return Listing(items, revision, token, left if left and chosen.trivial else None)
        if not page.remaining:
            return Listing(items, revision)
        last = page.items[-1].key


# -- continue tokens: opaque to clients; the place is relative to the prefix, so that none leads out of it


class _Token(msgspec.Struct, rename={"revision": "rv"}):
    v: str
    revision: int
    start: str


def _encode_token(revision: int, after: str) -> str:
    return base64.urlsafe_b64encode(encode(_Token(_TOKEN_VERSION, revision, after))).decode().rstrip("=")


def _decode_token(core: Core, options: ListOptions) -> tuple[int, str]:
    if options.resource_version not in ("", "0"):
        raise errors.bad_request("specifying resource version is not allowed when using continue")
    if options.resource_version_match:
        raise list_invalid("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
    text = options.continue_token
    try:
        token = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Token)
    except (ValueError, msgspec.DecodeError) as error:
        raise errors.bad_request(f"continue key is not valid: {error}") from error
    known = 0 < token.revision <= core.cache.revision
    if token.v != _TOKEN_VERSION or not known or not token.start or token.start.startswith("/"):
        raise errors.bad_request("continue key is not valid: incorrect encoded start")
    return token.revision, token.start
