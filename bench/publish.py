"""Writes what was measured: the record, the pages made from it, the picture, the README's part.

The texts around the figures stand in `pages/`, so that no number is written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from bench import plot, report, scale
from bench.report import Entry, Figure, number
from tests.support.places import ROOT

TEMPLATES = Path(__file__).parent / "pages"
PICTURE = "docs/images/benchmarks.svg"


def publish(record: dict[str, Entry], root: Path = ROOT) -> None:
    """Write everything below `root`."""
    for name, text in pages(record).items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    plot.draw(record, root / PICTURE)


def pages(record: dict[str, Entry]) -> dict[str, str]:
    """By path: the texts that have figures in them, in full."""
    readme, operations = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/operations.md")
    )
    figures = scale.Figures.of(record)
    reckoned = scale.fields(figures) if figures else None
    scaled = _fill("scale.md", reckoned) if reckoned else _fill("not_measured.md", {})
    sizing = _fill("sizing.md", reckoned) if reckoned else "Not measured yet: `make bench` does."
    return {
        "docs/benchmarks.json": report.encode_record(record),
        "docs/benchmarks.md": benchmarks(record),
        "docs/scale.md": scaled,
        "docs/operations.md": between(operations, "sizing", sizing.strip()),
        "README.md": between(readme, "figures", headlines(record)),
    }


def _fill(template: str, fields: dict[str, str]) -> str:
    return Template((TEMPLATES / template).read_text(encoding="utf-8")).substitute(fields)


def between(text: str, mark: str, made: str) -> str:
    """The page with this between its two marks. Raise ValueError when it has none."""
    pattern = rf"(?s)(?<=<!-- {mark} -->\n).*?(?=<!-- end of {mark} -->)"
    filled, times = re.subn(pattern, lambda _: f"{made}\n", text)
    if times != 1:
        raise ValueError(f"the page has no place for {mark}")
    return filled


def benchmarks(record: dict[str, Entry]) -> str:
    """`docs/benchmarks.md`."""
    parts: list[str] = []
    for name in report.names():
        entry, bench = record.get(name), report.load(name)
        parts += [f"## {bench.title}", bench.text]
        if entry is None:
            parts.append("Not measured yet.")
        else:
            parts.append(report.table(bench, entry.figures))
            noise = f"noise of the machine {number(entry.noise_percent)} %"
            parts.append(f"`{name}`, {entry.date}; {entry.machine}; {noise}.")
    return _fill("benchmarks.md", {"benches": "\n\n".join(part for part in parts if part)})


def headlines(record: dict[str, Entry]) -> str:
    """The README's part: the figures that matter most, when and where they were measured."""
    chosen = {
        name: figures
        for name in report.names()
        if name in record and (figures := [each for each in record[name].figures if each.headline])
    }
    link = "All figures, with baselines and a peer: [docs/benchmarks.md](docs/benchmarks.md)."
    if not chosen:
        return f"Not measured yet for this version: `make bench` does.\n\n{link}"
    rows = ["| | measured | ambition | must | |", "|---|---:|---:|---:|---|"]
    for name, figures in chosen.items():
        rows.append(f"| **{report.load(name).title}** | | | | |")
        rows += [_headline(each) for each in figures]
    entries = [record[name] for name in chosen]
    first, last = (pick(each.date for each in entries) for pick in (min, max))
    when = last if first == last else f"{first} to {last}"
    machines = "; ".join(sorted({each.machine for each in entries}))
    noise = max(each.noise_percent for each in entries)
    measured = (
        f"Measured on {when}: {machines}. There, the same piece of work took up to "
        f"{number(noise)} % longer at one time than at another; so much may other runs differ."
    )
    return "\n".join([*rows, "", measured, link])


def _headline(figure: Figure) -> str:
    cells = (
        figure.what,
        f"{number(figure.value)} {figure.unit}".rstrip(),
        report.target(figure, figure.ambition),
        report.target(figure, figure.must),
        figure.verdict,
    )
    return f"| {' | '.join(cells)} |"
