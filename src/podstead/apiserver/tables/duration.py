"""Ages as kubectl shows them: two units where both matter (apimachinery, duration.HumanDuration)."""

from __future__ import annotations

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400

# (below this many seconds, large unit, its letter, small unit or 0 for none, its letter)
_SCALE = (
    (2 * _MINUTE, 1, "s", 0, ""),
    (10 * _MINUTE, _MINUTE, "m", 1, "s"),
    (3 * _HOUR, _MINUTE, "m", 0, ""),
    (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
    (2 * _DAY, _HOUR, "h", 0, ""),
    (8 * _DAY, _DAY, "d", _HOUR, "h"),
    (2 * _YEAR, _DAY, "d", 0, ""),
    (8 * _YEAR, _YEAR, "y", _DAY, "d"),
)


def human_duration(seconds: float) -> str:
    """Return `95s`, `5m30s`, `3h`, `2d4h`, `400d`, `3y20d` ...; two clocks may differ by less than two seconds."""
    whole = int(seconds)
    if whole < 0:
        return "0s" if whole >= -1 else "<invalid>"
    for limit, large, letter, small, small_letter in _SCALE:
        if whole < limit:
            count, rest = divmod(whole, large)
            remainder = rest // small if small else 0
            return f"{count}{letter}{remainder}{small_letter}" if remainder else f"{count}{letter}"
    return f"{whole // _YEAR}y"
