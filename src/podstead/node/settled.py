"""Awaits what cannot be stopped half way: work in a thread goes on when its caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def settled(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` to its end even if the caller is cancelled, and only then let the cancellation through.

    So whoever cleans up after the cancelled caller never meets the work half done.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue
        if not task.cancelled():
            task.exception()  # It is of no use to anybody any more; this keeps asyncio from reporting it as forgotten.
        raise
