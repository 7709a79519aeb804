"""Opening a watch: where it starts, and what it sends first.

Rules: Kubernetes documentation, "API concepts", semantics for watch; KEP-3157 for sendInitialEvents.
"""

from __future__ import annotations

from podstead.objects import errors
from podstead.objects.exchange import EventType
from podstead.registry.core import Core
from podstead.registry.lists import list_invalid, parse_revision, selection, too_large
from podstead.registry.options import ListOptions
from podstead.registry.watch import Event, FailedWatch, Watch


def watch_objects(core: Core, namespace: str, options: ListOptions) -> Watch:
    """Return a watch of `namespace` (empty: all).

    Raises StatusError 400 and 422 for options that make no sense. A revision that is too old or not reached yet is an
    ERROR event of the watch, as the answer to the request itself has begun by then.
    """
    chosen = selection(core, options)
    _check(options)
    revision = parse_revision(core, options.resource_version)
    cache, prefix = core.cache, core.scope(namespace)
    initial: list[Event] = []
    after, cursor = cache.revision, cache.end
    listed = options.send_initial_events if options.send_initial_events is not None else revision == 0
    if listed:
        if revision > cache.revision:
            return FailedWatch(too_large(core, revision))
        initial = [Event(EventType.ADDED, entry) for entry in cache.scan(prefix) if chosen.matches(entry)]
        if options.send_initial_events and options.allow_bookmarks:
            initial.append(cache.bookmark(cache.revision, initial_events_end=True))
    elif revision:
        if revision < cache.oldest:
            return FailedWatch(errors.expired(f"too old resource version: {revision} ({cache.oldest})"))
        after = revision
        while cursor > cache.first and cache.window[cursor - cache.first - 1].revision > revision:
            cursor -= 1
    return Watch(
        cache,
        prefix,
        chosen,
        initial=initial,
        after=after,
        cursor=cursor,
        bookmarks=options.allow_bookmarks,
        timeout=options.timeout_seconds,
    )


def _check(options: ListOptions) -> None:
    match = options.resource_version_match
    if options.continue_token:
        raise errors.bad_request("continue is not allowed for watch")
    if options.send_initial_events is None:
        if match:
            why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            raise list_invalid("resourceVersionMatch", why)
        return
    if match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise list_invalid("resourceVersionMatch", why)
