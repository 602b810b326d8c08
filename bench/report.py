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
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool:
        """Return whether the limit is kept; true without a limit."""
        if self.must is None:
            return True
        return self.value >= self.must if self.more_is_better else self.value <= self.must

    def check(self) -> None:
        """Raise ValueError when this cannot be the result of a measurement."""
        values = (*self.values, *self.baseline)
        if not self.values or not all(math.isfinite(each) and each >= 0 for each in values):
            raise ValueError(f"no plausible figure: {self.what}")

    def cells(self) -> list[str]:
        """Return the cells of this row; empty where there is nothing to say."""
        low, high = min(self.values), max(self.values)
        baseline = statistics.median(self.baseline) if self.baseline else 0.0
        must = ""
        if self.must is not None:
            limit = f"{'≥' if self.more_is_better else '≤'} {number(self.must)}"
            must = f"{limit}: {'met' if self.is_met else '**missed**'}"
        return [
            f"{self.what}, {self.unit}" if self.unit else self.what,
            number(self.value),
            f"{number(low)} to {number(high)}" if len(self.values) > 1 else "",
            number(baseline) if self.baseline else "",
            f"{number(self.value / baseline)} ×" if baseline else "",
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
    kept = [i for i in range(len(rows[0])) if any(row[i] for row in rows[1:])]
    widths = [max(len(row[i]) for row in rows) for i in kept]
    rule = [f"{'-' * (width + 1)}{'-' if n == 0 else ':'}" for n, width in enumerate(widths)]
    lines = [
        " | ".join(
            row[i].ljust(width) if n == 0 else row[i].rjust(width)
            for n, (i, width) in enumerate(zip(kept, widths, strict=True))
        )
        for row in rows
    ]
    lines = [f"| {line} |" for line in lines]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])
