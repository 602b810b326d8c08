"""What a bench hands back, and how that becomes a table, a page, a picture and the README's part.

The newest figures of every bench stand in `docs/benchmarks.json`; all else is made from it, so a
run of one bench renews its own figures and leaves the others with their date.
"""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import msgspec

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "docs" / "benchmarks.json"
PAGE = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
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
    baseline: float | None = None
    """The same of the bare baseline, in the same run and unit."""
    peer: float | None = None
    """The same of what a user would pick instead."""
    ambition: float | None = None
    must: float | None = None
    more_is_better: bool = False
    headline: bool = False
    """Stands in the README, too."""

    @property
    def is_plausible(self) -> bool:
        """Whether it can be a measurement at all."""
        known = (self.value, self.baseline, self.peer)
        return all(math.isfinite(each) and each >= 0 for each in known if each is not None)

    @property
    def verdict(self) -> str:
        """How it stands to its targets; empty when there are none."""
        if self.ambition is not None and self._reaches(self.ambition):
            return "ambition reached"
        if self.must is None:
            return "" if self.ambition is None else "ambition missed"
        return "reached" if self._reaches(self.must) else "**missed**"

    def _reaches(self, target: float) -> bool:
        return self.value >= target if self.more_is_better else self.value <= target


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A bench's newest figures."""

    date: str
    machine: str
    figures: list[Figure]


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
    return Bench.of(importlib.import_module(f"tests.bench.{name}"))


def read_record() -> dict[str, Entry]:
    """By name: what was measured last."""
    if not RECORD.exists():
        return {}
    return msgspec.json.decode(RECORD.read_bytes(), type=dict[str, Entry])


def write_record(record: dict[str, Entry]) -> None:
    """Keep the figures."""
    encoded = msgspec.json.encode(dict(sorted(record.items())))
    RECORD.write_bytes(msgspec.json.format(encoded, indent=1) + b"\n")


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
    return ["", "measured", baseline, "ratio", peer, "ratio", "ambition", "must", ""]


def _row(figure: Figure) -> list[str]:
    def ratio(other: float | None) -> str:
        return f"{number(figure.value / other)} ×" if other else ""

    return [
        f"{figure.what}, {figure.unit}",
        number(figure.value),
        number(figure.baseline),
        ratio(figure.baseline),
        number(figure.peer),
        ratio(figure.peer),
        number(figure.ambition),
        number(figure.must),
        figure.verdict,
    ]


def page(record: dict[str, Entry]) -> str:
    """`docs/benchmarks.md`."""
    introduction = (
        "`make bench` measures all of this again and writes this page; `make bench ONLY=name` "
        "renews one part, `make bench SHORT=1` only tries whether everything runs. Each ratio is "
        "to the baseline or the peer of the same run. What the figures mean for a large "
        "installation is in [scale.md](scale.md). In the picture the dashed lines are the targets: "
        "red must be reached, green is the ambition."
    )
    parts = [
        "# Benchmarks",
        introduction,
        "![The figures beside baseline and peer](images/benchmarks.svg)",
    ]
    for name in names():
        entry, bench = record.get(name), load(name)
        parts += [f"## {bench.title}", bench.text]
        if entry is None:
            parts.append("Not measured yet.")
        else:
            parts.append(table(bench, entry.figures))
            parts.append(f"`{name}`, {entry.date}; {entry.machine}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def readme(text: str, record: dict[str, Entry]) -> str:
    """The README with the newest headlines between its two marks."""
    rows, dates, machines = ["| | measured | must |", "|---|---:|---:|"], [], []
    for name in names():
        entry = record.get(name)
        chosen = [each for each in entry.figures if each.headline] if entry else []
        for each in chosen:
            must = f"{number(each.must)} {each.unit}" if each.must is not None else ""
            rows.append(f"| {each.what} | {number(each.value)} {each.unit} | {must} |")
        if entry and chosen:
            dates.append(entry.date)
            machines.append(entry.machine)
    measured = ""
    if dates:
        first, last = min(dates), max(dates)
        when = last if first == last else f"{first} to {last}"
        measured = f"Measured on {when}; {'; '.join(sorted(set(machines)))}. "
    else:
        rows = ["Not measured yet for this version: `make bench` does."]
    body = "\n".join(rows)
    link = "All figures, with baselines and a peer: [docs/benchmarks.md](docs/benchmarks.md)."
    made = f"<!-- figures -->\n{body}\n\n{measured}{link}\n<!-- end of figures -->"
    pattern = r"<!-- figures -->.*?<!-- end of figures -->"
    return re.sub(pattern, lambda _: made, text, count=1, flags=re.DOTALL)


def publish(record: dict[str, Entry]) -> None:
    """Write the record and what is made from it."""
    from tests.bench import plot, scale

    write_record(record)
    PAGE.write_text(page(record), encoding="utf-8")
    README.write_text(readme(README.read_text(encoding="utf-8"), record), encoding="utf-8")
    plot.draw(record, PAGE.parent / "images" / "benchmarks.svg")
    if "gateway_waiting" in record:
        scale.publish(record)
