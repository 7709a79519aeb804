"""Memory that the C library holds on to, given back to the kernel (malloc_trim(3))."""

from __future__ import annotations

import ctypes

_libc = ctypes.CDLL(None)


def trim() -> bool:
    """Give free memory back; returns whether there was any. Blocks for milliseconds."""
    try:
        return bool(_libc.malloc_trim(0))
    except AttributeError:  # musl
        return False
