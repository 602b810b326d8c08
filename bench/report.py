"""Define the results of a bench, and print them as a Markdown table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """How large a run is: `short` runs take seconds and only show that a bench works."""

    short: bool = False

    def pick(self, full: int, short: int) -> int:
        """Return `full`, or `short` in a short run."""
        return short if self.short else full

    @property
    def clients(self) -> int:
        """Return the number of clients that wait on the gateway."""
        return self.pick(10_000, 200)


@dataclass(frozen=True)
class Figure:
    """One measured figure: a row of the table that a bench prints."""

    what: str
    """What was measured, with its unit."""
    values: Sequence[float]
    """One value for each measurement in the run; the table shows the median."""
    baseline: Sequence[float] = ()
    """The values of the baseline, measured in the same run."""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def is_met(self) -> bool:
        """Return whether the limit is kept; true without a limit."""
        value = statistics.median(self.values)
        too_much = self.at_most is not None and value > self.at_most
        return not too_much and (self.at_least is None or value >= self.at_least)

    def cells(self) -> list[str]:
        """Return the cells of this row, empty where a value is missing."""
        value, limit = statistics.median(self.values), self.at_most or self.at_least
        baseline = statistics.median(self.baseline) if self.baseline else None
        must = f"{'≤' if self.at_most else '≥'} {number(limit)}" if limit else ""
        return [
            self.what,
            number(value),
            f"{number(min(self.values))} to {number(max(self.values))}" if self.values[1:] else "",
            "" if baseline is None else number(baseline),
            f"{number(value / baseline)} ×" if baseline else "",
            must and f"{must}: {'met' if self.is_met else '**missed**'}",
        ]


def number(value: float) -> str:
    """Format a number with commas between thousands, and with two decimals below 100."""
    return f"{value:,.{0 if abs(value) >= 100 else 2}f}"


def table(figures: Sequence[Figure], *, baseline: str) -> str:
    """Return the table. `baseline` is the heading of the column to compare with."""
    head = ["", "measured", "range", baseline, "ratio", "must"]
    rows = [head, ["---", *["--:"] * 5], *(figure.cells() for figure in figures)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
