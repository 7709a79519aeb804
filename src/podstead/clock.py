"""The one clock: wall time as Kubernetes writes it (metav1.Time, metav1.MicroTime)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Return seconds of the monotonic clock; for deadlines only."""
    return time.monotonic()


def rfc3339(moment: datetime | None = None) -> str:
    """Return `moment` (now if left out) as metav1.Time: UTC, whole seconds, `Z`."""
    if moment is None:
        return _second(int(now().timestamp()))
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(moment: datetime | None = None) -> str:
    """Return `moment` (now if left out) as metav1.MicroTime: UTC, six digits, `Z`."""
    return (moment or now()).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(text: str) -> datetime:
    """Return the time that an RFC 3339 `text` names; raises ValueError."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
