"""The figures of api.py: each beside the limit that was measured with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from report import Series, grid, number

HEADINGS = ["", "unit", "podstead", "limit", "of limit", "server, µs each", "limit, µs each", "target", ""]


@dataclass
class Figure:
    """One line of the table.

    `least` and `most` bound podstead's median, `share` is the least that it may be of the limit's. The costs are
    processor time of the server, in microseconds an operation.
    """

    name: str
    unit: str
    least: float | None = None
    most: float | None = None
    share: float | None = None
    podstead: Series = field(default_factory=Series)
    limit: Series = field(default_factory=Series)
    cost: Series = field(default_factory=Series)
    limit_cost: Series = field(default_factory=Series)

    @property
    def ratio(self) -> float | None:
        ours, limit = self.podstead.median, self.limit.median
        return ours / limit if ours is not None and limit else None

    @property
    def target(self) -> str:
        parts = [f">= {self.least:g} {self.unit}"] if self.least is not None else []
        parts += [f"<= {self.most:g} {self.unit}"] if self.most is not None else []
        parts += [f">= {self.share:.0%} of limit"] if self.share is not None else []
        return ", ".join(parts)

    @property
    def met(self) -> bool | None:
        """None where there is no target, or nothing to judge it by."""
        median, checks = self.podstead.median, []
        if median is None:
            return None
        if self.least is not None:
            checks.append(median >= self.least)
        if self.most is not None:
            checks.append(median <= self.most)
        if self.share is not None and self.ratio is not None:
            checks.append(self.ratio >= self.share)
        return all(checks) if checks else None

    def cells(self) -> list[str]:
        medians = [number(one.median) for one in (self.podstead, self.limit)]
        costs = [number(one.median) for one in (self.cost, self.limit_cost)]
        ratio = f"{self.ratio:.0%}" if self.ratio is not None else ""
        met = "" if self.met is None else ("met" if self.met else "NOT MET")
        return [self.name, self.unit, *medians, ratio, *costs, self.target, met]

    def as_json(self) -> dict[str, Any]:
        series = {"podstead": self.podstead, "limit": self.limit, "server_us": self.cost, "limit_us": self.limit_cost}
        values = {name: {"median": one.median, "values": one.values} for name, one in series.items() if one.values}
        return {
            "name": self.name,
            "unit": self.unit,
            **values,
            "ratio": self.ratio,
            "target": self.target,
            "met": self.met,
        }


def table(figures: Sequence[Figure]) -> str:
    return grid([HEADINGS, *(figure.cells() for figure in figures)], {0, 1, 7, 8})
