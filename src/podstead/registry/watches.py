"""Opening a watch: where it starts, and what it sends first.

Rules: Kubernetes documentation, "API concepts", semantics for watch; KEP-3157 for sendInitialEvents.
"""

from __future__ import annotations

from podstead.objects import errors
from podstead.objects.exchange import EventType
from podstead.registry.core import Core
from podstead.registry.lists import parse_revision, scan, selection, too_large, validate_watch
from podstead.registry.options import ListOptions
from podstead.registry.watch import Event, FailedWatch, LateWatch, Watch


def watch_objects(core: Core, namespace: str, options: ListOptions) -> Watch:
    """Return a watch of `namespace` (empty: all).

    Raises StatusError 400 and 422 for options that make no sense. A revision that is too old, or that a watch list
    waits for in vain, is an ERROR event of the watch, as the answer to the request itself has begun by then.
    """
    validate_watch(options)
    chosen = selection(core, options)
    revision = parse_revision(options.resource_version)
    cache, prefix = core.cache, core.scope(namespace)

    def listing() -> list[Event]:
        events = [Event(EventType.ADDED, entry) for entry in scan(core, prefix, chosen)]
        if options.send_initial_events and options.allow_bookmarks:
            events.append(cache.bookmark(cache.revision, initial_events_end=True))
        return events

    initial: list[Event] = []
    after, cursor = cache.revision, cache.end
    listed = options.send_initial_events if options.send_initial_events is not None else revision == 0
    if listed:
        if revision > cache.revision and options.allow_bookmarks:
            return LateWatch(
                cache,
                prefix,
                chosen,
                revision=revision,
                begin=listing,
                late=lambda: too_large(core, revision),
                bookmarks=True,
                timeout=options.timeout_seconds,
            )
        initial = listing()
    elif revision:
        if revision < cache.oldest:
            return FailedWatch(errors.expired(f"too old resource version: {revision} ({cache.oldest})"))
        after, cursor = revision, cache.position(revision)
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
