"""The benches run, and what is shown of their figures is what was measured."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.bench import report, scale


@pytest.mark.parametrize("name", report.names())
def test_every_bench_runs_in_its_short_form(name: str) -> None:
    """It measures something plausible, and leaves nothing to be done by hand."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--short", "--only", name],
        cwd=report.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pages_show_the_newest_figures() -> None:
    """Nobody has changed a figure by hand, or forgotten `python -m tests.bench --page`."""
    record = report.read_record()
    readme = report.README.read_text(encoding="utf-8")
    assert report.PAGE.read_text(encoding="utf-8") == report.page(record)
    assert readme == report.readme(readme, record)
    assert "<!-- figures -->" in readme


def test_a_figure_is_judged_by_its_targets() -> None:
    """Either way round, and not where there are none."""
    less = {"what": "memory", "unit": "KiB", "ambition": 8, "must": 12}
    more = {"what": "logins", "unit": "1/s", "ambition": 6_000, "must": 2_000}
    verdicts = [
        report.Figure(**less, value=value).verdict  # type: ignore[arg-type] # mixed values
        for value in (8, 8.1, 12.1)
    ]
    assert verdicts == ["ambition reached", "reached", "**missed**"]
    verdicts = [
        report.Figure(**more, value=value, more_is_better=True).verdict  # type: ignore[arg-type]
        for value in (6_000, 2_000, 1_999)
    ]
    assert verdicts == ["ambition reached", "reached", "**missed**"]
    assert report.Figure(what="x", unit="ms", value=1).verdict == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.01234, "0.0123"), (4.7115, "4.71"), (10.0, "10"), (123456.7, "123,457")],
)
def test_a_number_has_three_digits_that_count(value: float, text: str) -> None:
    """And no more than its whole part where that is longer."""
    assert report.number(value) == text


def test_clients_that_are_lost_come_back_spread_out() -> None:
    """With the real backoff: all of them, and no faster than the servers that are left serve."""
    quick = scale.come_back(lost=scale._lost, noticed=(0, 1), logins_per_s=1e9)
    slow = scale.come_back(lost=scale._lost, noticed=(0, 1), logins_per_s=10_000)
    assert quick.all_s < 6
    assert quick.attempts == 1
    assert slow.all_s > scale.PCS / 10_000
    assert slow.peak_logins_per_s <= 10_000 * 1.1


def test_the_simulation_knows_the_gateway() -> None:
    """By the same numbers; importing it would set up Django."""
    gateway = report.ROOT / "server" / "gateway"
    assert f"\nSPREAD_SECONDS = {scale.SPREAD_SECONDS}\n" in (gateway / "server.py").read_text()
    assert f"\nOPEN_SECONDS = {scale.GIVE_UP_S:.0f}\n" in (gateway / "transport.py").read_text()
