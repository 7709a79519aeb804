"""What one probe of a container found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

BODY_LIMIT = 10 << 10
"""Bytes that are read of a body or of a command's output."""
USER_AGENT = "kube-probe/1.37"


class Outcome(StrEnum):
    """WARNING counts as a success and is told; UNKNOWN counts for nothing."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Result:
    """`text`: what events say of it. `errored`: the probe itself could not be done; it counts for nothing."""

    outcome: Outcome
    text: str = ""
    errored: bool = False

    @property
    def passed(self) -> bool:
        return self.outcome in (Outcome.SUCCESS, Outcome.WARNING)


SUCCESS = Result(Outcome.SUCCESS)


def failure(text: str) -> Result:
    return Result(Outcome.FAILURE, text)


def errored(text: str, outcome: Outcome = Outcome.UNKNOWN) -> Result:
    return Result(outcome, text, errored=True)
