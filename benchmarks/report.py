"""The figures of a run: series of measurements, targets, and the one table that shows them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` (0 to 1) of `values` do not exceed, between two of them by proportion."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * share
    lower = int(position)
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] + (ordered[upper] - ordered[lower]) * (position - lower)


@dataclass
class Series:
    """Measurements of one thing, in the row's unit."""

    values: list[float] = field(default_factory=list)

    def add(self, value: float) -> None:
        self.values.append(value)

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None

    @property
    def p90(self) -> float | None:
        return percentile(self.values, 0.9) if self.values else None


@dataclass
class Row:
    """One line of the table. `limit` is the most that the median may be, `factor` the least that podman's is of it."""

    name: str
    unit: str
    podstead: Series = field(default_factory=Series)
    podman: Series = field(default_factory=Series)
    limit: float | None = None
    factor: float | None = None
    compared: bool = True
    """Whether podman does the same thing, so that a ratio means something."""

    @property
    def ratio(self) -> float | None:
        ours, theirs = self.podstead.median, self.podman.median
        return theirs / ours if self.compared and ours and theirs is not None else None

    @property
    def target(self) -> str:
        parts = [f"<= {self.limit:g} {self.unit}"] if self.limit is not None else []
        parts += [f">= {self.factor:g} x"] if self.factor is not None else []
        return ", ".join(parts)

    @property
    def met(self) -> bool | None:
        """None where there is no target, or nothing to judge it by."""
        median = self.podstead.median
        if median is None or (self.limit is None and self.factor is None):
            return None
        checks = [median <= self.limit] if self.limit is not None else []
        checks += [self.ratio >= self.factor] if self.factor is not None and self.ratio is not None else []
        return all(checks) if checks else None

    def cells(self) -> list[str]:
        sides = [number(value) for side in (self.podstead, self.podman) for value in (side.median, side.p90)]
        ratio = f"{self.ratio:.1f}" if self.ratio is not None else ""
        met = "" if self.met is None else ("met" if self.met else "NOT MET")
        return [self.name, self.unit, *sides, ratio, self.target, met]

    def as_json(self) -> dict[str, Any]:
        sides = {
            name: {"median": side.median, "p90": side.p90, "values": side.values}
            for name, side in (("podstead", self.podstead), ("podman", self.podman))
            if side.values
        }
        target = {"limit": self.limit, "factor": self.factor} if self.target else None
        return {"name": self.name, "unit": self.unit, **sides, "ratio": self.ratio, "target": target, "met": self.met}


HEADINGS = ["", "unit", "podstead", "p90", "podman", "p90", "ratio", "target", ""]


def table(rows: Sequence[Row]) -> str:
    """Return the table as Markdown that reads as plain text too."""
    return grid([HEADINGS, *(row.cells() for row in rows)], {0, 1, 7, 8})


def grid(lines: Sequence[list[str]], left: Set[int]) -> str:
    """Return lines of cells, the headings first, as a Markdown table; columns not in `left` are set to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def show(line: list[str]) -> str:
        padded = [
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" if column in left else ":").rjust(max(width, 3), "-") for column, width in enumerate(widths)]
    return "\n".join([show(lines[0]), f"| {' | '.join(rule)} |", *map(show, lines[1:])])


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else (f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}")
