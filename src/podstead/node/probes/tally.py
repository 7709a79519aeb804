"""Results of one probe in a row against its thresholds. Pure."""

from __future__ import annotations

from podstead.objects.probe import Probe


class Tally:
    """`verdict` is what holds: None until a threshold was reached first."""

    def __init__(self, probe: Probe, verdict: bool | None) -> None:
        self._thresholds = {True: probe.success_threshold, False: probe.failure_threshold}
        self._last: bool | None = None
        self._run = 0
        self.verdict = verdict

    def count(self, passed: bool) -> bool:
        """Count a result; returns whether it reached its threshold."""
        self._run = self._run + 1 if passed is self._last else 1
        self._last = passed
        if self._run < self._thresholds[passed]:
            return False
        self.verdict = passed
        return True
