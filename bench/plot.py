"""Draws the figures that matter most beside baseline, peer and targets, one small panel each."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from bench import report
from bench.report import Bench, Entry, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 3
_COLOURS = {"measured": "#1b6ac9", "baseline": "#9aa5b1", "peer": "#d98324"}
_TARGETS = {"must": "#b00020", "ambition": "#2e7d32"}
_ROW_INCHES, _TITLE_INCHES = 1.3, 0.35


def draw(record: dict[str, Entry], path: Path) -> None:
    """Write an SVG; nothing when there is nothing to compare."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    benches = [
        (report.load(name), chosen)
        for name in report.names()
        if name in record and (chosen := [each for each in record[name].figures if _shown(each)])
    ]
    if not benches:
        return
    # The same figures give the same file.
    mpl.rcParams["svg.hashsalt"] = "benchmarks"
    mpl.rcParams["font.size"] = 8
    mpl.rcParams["font.family"] = ["DejaVu Sans", "Noto Sans CJK JP"]
    rows = [-(-len(chosen) // _COLUMNS) for _, chosen in benches]
    inches = [_ROW_INCHES * count + _TITLE_INCHES for count in rows]
    canvas = Canvas(figsize=(11, sum(inches)), layout="constrained")
    parts = canvas.subfigures(len(benches), 1, squeeze=False, height_ratios=inches)
    for part, count, (bench, chosen) in zip(parts.flat, rows, benches, strict=True):
        part.suptitle(bench.title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        grid = part.subplots(count, _COLUMNS, squeeze=False)
        for axes in grid.flat[len(chosen) :]:
            axes.set_axis_off()
        for axes, figure in zip(grid.flat, chosen, strict=False):
            _panel(axes, bench, figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, format="svg", metadata={"Date": None})


def _shown(figure: Figure) -> bool:
    beside = (figure.baseline, figure.peer, figure.ambition, figure.must)
    return figure.headline and any(each is not None for each in beside)


def _panel(axes: Axes, bench: Bench, figure: Figure) -> None:
    bars = _bars(bench, figure)
    values = [value for _, _, value in bars]
    drawn = axes.barh(
        [label for label, _, _ in bars], values, color=[colour for _, colour, _ in bars]
    )
    axes.bar_label(
        drawn,
        labels=[report.number(value) for value in values],
        padding=2,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
    )
    title = f"{figure.label} (more is better)" if figure.more_is_better else figure.label
    axes.set_title(textwrap.fill(title, 44), fontsize=8, loc="left")
    targets = {name: getattr(figure, name) for name in _TARGETS}
    known = {name: value for name, value in targets.items() if value is not None}
    axes.set_xlim(0, max([*values, *known.values()]) * 1.25 or 1)
    axes.set_ylim(2.6, -0.6)  # room for three bars, so that all are of one width
    for name, value in known.items():
        axes.axvline(value, color=_TARGETS[name], linewidth=0.8, linestyle="--", zorder=0.5)
    axes.xaxis.set_visible(False)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _bars(bench: Bench, figure: Figure) -> list[tuple[str, str, float]]:
    bars = [("coconowork", _COLOURS["measured"], figure.value)]
    if figure.baseline is not None:
        bars.append((bench.baseline or "baseline", _COLOURS["baseline"], figure.baseline))
    if figure.peer is not None:
        bars.append((bench.peer or "peer", _COLOURS["peer"], figure.peer))
    return bars
