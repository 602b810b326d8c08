"""What a bench returns, and how it is printed: a Markdown table that reads well in a terminal."""

from __future__ import annotations

import math
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


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of a table."""

    what: str
    unit: str = ""
    values: Sequence[float]
    """One value for each time it was measured in the run; the table shows the median."""
    baseline: Sequence[float] = ()
    """The same, measured on the baseline in the same run."""
    must: float | None = None
    """The limit that has to be kept."""
    more_is_better: bool = False

    @property
    def is_met(self) -> bool:
        """Return whether the limit is kept; true without a limit."""
        value = statistics.median(self.values)
        return self.must is None or (
            value >= self.must if self.more_is_better else value <= self.must
        )

    def cells(self) -> list[str]:
        """Return the cells of this row; empty where there is nothing to say."""
        value, low, high = statistics.median(self.values), min(self.values), max(self.values)
        baseline = statistics.median(self.baseline) if self.baseline else 0.0
        must = ""
        if self.must is not None:
            limit = f"{'≥' if self.more_is_better else '≤'} {number(self.must)}"
            must = f"{limit}: {'met' if self.is_met else '**missed**'}"
        return [
            f"{self.what}, {self.unit}" if self.unit else self.what,
            number(value),
            f"{number(low)} to {number(high)}" if len(self.values) > 1 else "",
            number(baseline) if self.baseline else "",
            f"{number(value / baseline)} ×" if baseline else "",
            must,
        ]


def number(value: float) -> str:
    """Return the number with three significant digits and a comma between thousands."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{round(value, digits):,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def table(figures: Sequence[Figure], *, baseline: str) -> str:
    """Return the table. `baseline` is the heading of the column to compare with."""
    rows = [["", "measured", "range", baseline, "ratio", "must"], *(f.cells() for f in figures)]
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    rule = ["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]
    lines = [
        f"| {row[0].ljust(widths[0])} | "
        + " | ".join(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        + " |"
        for row in zip(*columns, strict=True)
    ]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])
