"""Draws the figures that have a baseline, one small panel each."""

from __future__ import annotations

import textwrap
from pathlib import Path

from tests.bench import report
from tests.bench.report import Bench, Entry, Figure

_COLUMNS = 3
_COLOURS = {"measured": "#1b6ac9", "baseline": "#9aa5b1", "peer": "#d98324"}


def draw(record: dict[str, Entry], path: Path) -> None:
    """Write an SVG; nothing when there is nothing to compare."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    panels = [
        (report.load(name), figure)
        for name in report.names()
        if name in record
        for figure in record[name].figures
        if figure.baseline is not None
    ]
    if not panels:
        return
    # The same figures give the same file.
    mpl.rcParams["svg.hashsalt"] = "benchmarks"
    mpl.rcParams["font.size"] = 8
    rows = -(-len(panels) // _COLUMNS)
    canvas = Canvas(figsize=(10, 1.35 * rows), layout="constrained")
    grid = canvas.subplots(rows, _COLUMNS, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (bench, figure) in zip(grid.flat, panels, strict=False):
        bars = _bars(bench, figure)
        values = [value for _, _, value in bars]
        drawn = axes.barh(
            [label for label, _, _ in bars], values, color=[colour for _, colour, _ in bars]
        )
        axes.bar_label(drawn, labels=[report.number(value) for value in values], padding=2)
        axes.set_title(textwrap.fill(figure.label, 46), fontsize=8, loc="left")
        axes.set_xlim(0, max(values) * 1.25 or 1)
        axes.invert_yaxis()
        axes.xaxis.set_visible(False)
        for side in ("top", "right", "bottom"):
            axes.spines[side].set_visible(False)
        for name, line in (("must", "#b00020"), ("ambition", "#2e7d32")):
            target = getattr(figure, name)
            if target is not None and target <= max(values) * 1.25:
                axes.axvline(target, color=line, linewidth=0.8, linestyle="--")
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, format="svg", metadata={"Date": None})


def _bars(bench: Bench, figure: Figure) -> list[tuple[str, str, float]]:
    bars = [("coconowork", _COLOURS["measured"], figure.value)]
    if figure.baseline is not None:
        bars.append((bench.baseline or "baseline", _COLOURS["baseline"], figure.baseline))
    if figure.peer is not None:
        bars.append((bench.peer or "peer", _COLOURS["peer"], figure.peer))
    return bars
