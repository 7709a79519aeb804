"""Keeps a component's task alive: what fails by a fault of its own is logged and run again, and takes nobody along."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from podstead import clock

log = logging.getLogger(__name__)

FIRST_DELAY, LAST_DELAY = 1.0, 60.0
"""Seconds before what failed is run again; doubled each time."""
STEADY = 60.0
"""After as many seconds without a failure the delay starts anew."""


async def supervise(
    name: str,
    work: Callable[[], Awaitable[None]],
    *,
    first_delay: float = FIRST_DELAY,
    failing: set[str] | None = None,
) -> None:
    """Await `work()` until it returns; where it raises, log it and call it again after a growing delay.

    Meanwhile `name` is in `failing`.

    Tasks of one TaskGroup end together: without this, a fault in the events of one pod would end the server.
    """
    delay = first_delay
    while True:
        began = clock.monotonic()
        try:
            return await work()
        except Exception:
            if clock.monotonic() - began > STEADY:
                delay = first_delay
            log.exception("%s failed; it is run again in %.0f s", name, delay)
        if failing is not None:
            failing.add(name)
        await asyncio.sleep(delay)
        if failing is not None:
            failing.discard(name)
        delay = min(delay * 2, LAST_DELAY)
