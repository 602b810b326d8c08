"""What a bench hands back, how it is kept, and how it becomes a table.

The newest figures of every bench stand in `docs/benchmarks.json`; all else is made from it
(`publish.py`), so a run of one bench renews its own figures and leaves the others with their date.
"""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import msgspec

from tests.support.places import ROOT

RECORD = ROOT / "docs" / "benchmarks.json"
PREFIXES = ("gateway_", "console_", "client_")
"""Modules of this folder that are benches begin with one of these."""


@dataclass(frozen=True)
class Size:
    """How large a run is: in full, or only to see that everything runs."""

    short: bool = False

    def pick(self, full: int, short: int) -> int:
        """`full`, or `short` in the short form."""
        return short if self.short else full

    @property
    def clients(self) -> int:
        """Clients that wait in the benches of the gateway."""
        return self.pick(10_000, 200)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of a bench's table."""

    what: str
    value: float
    unit: str
    low: float | None = None
    """Where it was measured several times in the run: the least and the most of them. `value` is
    their median."""
    high: float | None = None
    baseline: float | None = None
    """The same of the bare baseline, in the same run and unit."""
    peer: float | None = None
    """The same of what a user would pick instead."""
    ambition: float | None = None
    must: float | None = None
    more_is_better: bool = False
    headline: bool = False
    """Stands in the README, too."""

    @classmethod
    def of(cls, values: float | list[float], **fields: Any) -> Self:
        """Of what was measured once, or several times."""
        if isinstance(values, list):
            fields |= {"low": min(values), "high": max(values)}
        return cls(value=median(values), **fields)

    @property
    def label(self) -> str:
        """With its unit, where it has one."""
        return f"{self.what}, {self.unit}" if self.unit else self.what

    @property
    def is_plausible(self) -> bool:
        """Whether it can be a measurement at all."""
        known = (self.value, self.baseline, self.peer)
        return all(math.isfinite(each) and each >= 0 for each in known if each is not None)

    @property
    def verdict(self) -> str:
        """How it stands to its targets; empty when there are none."""
        if self.ambition is not None and self._reaches(self.ambition):
            return "ambition met"
        if self.must is None:
            return "" if self.ambition is None else "ambition missed"
        return "met" if self._reaches(self.must) else "**missed**"

    def _reaches(self, target: float) -> bool:
        return self.value >= target if self.more_is_better else self.value <= target


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A bench's newest figures."""

    date: str
    machine: str
    figures: list[Figure]
    noise_percent: float = 0.0
    """By how much the slowest tenth of the same piece of work took longer than the fastest."""


@dataclass(frozen=True)
class Bench:
    """A bench as its module declares it."""

    name: str
    title: str
    text: str
    baseline: str
    peer: str
    run: Callable[[Size], list[Figure]]

    @classmethod
    def of(cls, module: ModuleType) -> Bench:
        title, _, text = inspect.cleandoc(module.__doc__ or "").partition("\n")
        return cls(
            module.__name__.rpartition(".")[2],
            title.strip().rstrip("."),
            text.strip(),
            getattr(module, "BASELINE", ""),
            getattr(module, "PEER", ""),
            module.run,
        )


def names() -> list[str]:
    """All benches, the gateway's first."""
    found = [each.name for each in pkgutil.iter_modules([str(Path(__file__).parent)])]
    return [name for prefix in PREFIXES for name in sorted(found) if name.startswith(prefix)]


def load(name: str) -> Bench:
    """The bench of this name."""
    return Bench.of(importlib.import_module(f"bench.{name}"))


def read_record() -> dict[str, Entry]:
    """By name: what was measured last."""
    if not RECORD.exists():
        return {}
    return msgspec.json.decode(RECORD.read_bytes(), type=dict[str, Entry])


def encode_record(record: dict[str, Entry]) -> str:
    """As `read_record` takes it."""
    encoded = msgspec.json.encode(dict(sorted(record.items())))
    return msgspec.json.format(encoded, indent=1).decode() + "\n"


def median(values: float | list[float]) -> float:
    """Of what was measured once, or several times."""
    return statistics.median(values) if isinstance(values, list) else values


def number(value: float | None) -> str:
    """Three digits that count, thousands apart; empty for what is not there."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{round(value, digits):,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def table(bench: Bench, figures: Iterable[Figure]) -> str:
    """A Markdown table that reads well in a terminal, too."""
    figures = list(figures)
    rows = [_heading(bench), *(_row(each) for each in figures)]
    kept = [i for i in range(len(rows[0])) if any(row[i] for row in rows[1:])]
    widths = [max(len(row[i]) for row in rows) for i in kept]
    lines = [_line([row[i] for i in kept], widths) for row in rows]
    rule = "|".join("-" * (w + 2) if n == 0 else "-" * (w + 1) + ":" for n, w in enumerate(widths))
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def _line(cells: list[str], widths: list[int]) -> str:
    padded = [
        cell.ljust(width) if n == 0 else cell.rjust(width)
        for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def _heading(bench: Bench) -> list[str]:
    baseline, peer = bench.baseline or "baseline", bench.peer or "peer"
    return ["", "measured", "from – to", baseline, "ratio", peer, "ratio", "ambition", "must", ""]


def _row(figure: Figure) -> list[str]:
    def ratio(other: float | None) -> str:
        return f"{number(figure.value / other)} ×" if other else ""

    return [
        figure.label,
        number(figure.value),
        "" if figure.low is None else f"{number(figure.low)} – {number(figure.high)}",
        number(figure.baseline),
        ratio(figure.baseline),
        number(figure.peer),
        ratio(figure.peer),
        target(figure, figure.ambition),
        target(figure, figure.must),
        figure.verdict,
    ]


def target(figure: Figure, value: float | None) -> str:
    """`≤ 12`, or `≥ 800` where more is better; empty where there is none."""
    return "" if value is None else f"{'≥' if figure.more_is_better else '≤'} {number(value)}"
