"""How long the phases of a pod's start take, from the moment that the node's agent saw the pod."""

from __future__ import annotations

from podstead import clock
from podstead.metrics import Histogram

NETWORK, SANDBOX, VOLUMES, IMAGE = "network", "sandbox", "volumes", "image"
CREATED, STARTED, RUNNING, SEEN = "created", "started", "running", "seen"
_BUCKETS = (
    *(0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0),
)

DURATIONS = Histogram(
    "podstead_pod_start_phase_duration_seconds",
    "From the node's sight of a new pod to the end of a phase of its start.",
    ("phase",),
    _BUCKETS,
)


class PodStarts:
    """The starts that are under way. One counts once the pod has been seen Running; others are told of nowhere."""

    def __init__(self, durations: Histogram = DURATIONS) -> None:
        self._durations = durations
        self._began: dict[str, float] = {}
        self._ends: dict[str, dict[str, float]] = {}

    def begin(self, uid: str) -> None:
        """A pod is seen for the first time."""
        self._began[uid] = clock.monotonic()
        self._ends[uid] = {}

    def mark(self, uid: str, phase: str) -> None:
        """A phase has ended; of one with several ends (containers) the last counts. No start, nothing done."""
        ends = self._ends.get(uid)
        if ends is None:
            return
        ends[phase] = clock.monotonic()
        if RUNNING in ends and SEEN in ends:
            began = self._began[uid]
            for name, end in ends.items():
                self._durations.observe(end - began, (name,))
            self.forget(uid)

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._began.pop(uid, None)
        self._ends.pop(uid, None)


STARTS = PodStarts()
"""Those of this process: as metrics are, there is one."""
