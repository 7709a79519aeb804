"""Back-off as the kubelet counts it: from a first delay, doubling to a limit, forgotten after a long rest."""

from __future__ import annotations

from dataclasses import dataclass

INITIAL, LIMIT = 10.0, 300.0
"""Seconds: restarts of containers and pulls of images (Kubernetes: Pod Lifecycle, container restart policy)."""


@dataclass(slots=True)
class _Entry:
    delay: float
    updated: float


class Backoff:
    """Delays by key. Times are seconds of the caller's clock, so that tests give their own."""

    def __init__(self, initial: float = INITIAL, limit: float = LIMIT) -> None:
        self._initial = initial
        self._limit = limit
        self._entries: dict[str, _Entry] = {}

    def failed(self, key: str, now: float) -> float:
        """Note a failure at `now`; return the delay that holds from then on."""
        entry = self._entries.get(key)
        if entry is None or now - entry.updated > 2 * self._limit:
            self._entries[key] = _Entry(self._initial, now)
            return self._initial
        entry.delay = min(entry.delay * 2, self._limit)
        entry.updated = now
        return entry.delay

    def restore(self, key: str, delay: float, updated: float) -> None:
        """Take up what was noted at `updated` by an earlier server, unless more is known by now."""
        self._entries.setdefault(key, _Entry(min(delay, self._limit), updated))

    def forget(self, key: str) -> None:
        """Let go of what is known of `key`: it will not be asked for any more."""
        self._entries.pop(key, None)

    def delay(self, key: str) -> float:
        """Return the delay in force (0 if none)."""
        entry = self._entries.get(key)
        return entry.delay if entry else 0.0

    def remaining(self, key: str, since: float, now: float) -> float:
        """Return how many seconds of the delay are left for a failure at `since` (0: try now)."""
        entry = self._entries.get(key)
        if entry is None or since - entry.updated > 2 * self._limit:
            return 0.0
        return max(0.0, since + entry.delay - now)
