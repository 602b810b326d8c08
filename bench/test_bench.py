"""The benches run, and what is shown of their figures is what was measured."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest

from bench import __main__ as bench
from bench import outside, publish, report, scale, stage
from tests.support.places import ROOT


@pytest.mark.parametrize("name", report.names())
def test_every_bench_runs_in_its_short_form(name: str) -> None:
    """It measures something plausible, and leaves nothing to be done by hand."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--short", "--print", "--only", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pages_show_the_newest_figures() -> None:
    """Nobody has changed a figure by hand, or forgotten `python -m bench --page`."""
    for name, text in publish.pages(report.read_record()).items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, name


def entry(figures: list[report.Figure]) -> report.Entry:
    return report.Entry(date="2030-02-01", machine="a machine", figures=figures, noise_percent=7)


def made_up(**values: float) -> dict[str, report.Entry]:
    """As after a run that measured everything that a million PCs are reckoned from."""
    known = {
        "memory per waiting client, TLS": 30.0,
        "the kernel's memory per client, TLS": 10.0,
        "logins per CPU second, TLS, PostgreSQL": 1_000.0,
        "CPU of keepalive, TLS": 3.0,
        "PostgreSQL's own CPU per login, TLS, PostgreSQL": 0.1,
        **values,
    }
    figures = [report.Figure(what=what, value=value, unit="") for what, value in known.items()]
    change = report.Figure(what="a forced change", value=500.0, peer=500.0, unit="ms")
    return {"gateway_waiting": entry(figures), "console_pages": entry([change])}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulation takes a tenth of its time."""
    monkeypatch.setattr(scale, "SIMULATED", 5_000)


@pytest.mark.usefixtures("few")
def test_all_is_written_from_one_record(tmp_path: Path) -> None:
    """Table, ratios, spread, targets, machine and date on the page, the README's part, the
    picture, and what they mean for a million PCs; read back, the record is the same."""
    record = made_up() | {
        "gateway_push": entry(
            [
                report.Figure.of(
                    [3.0, 1.0, 2.0],
                    what="how long",
                    unit="ms",
                    baseline=4.0,
                    peer=1.0,
                    ambition=1.0,
                    must=5.0,
                    headline=True,
                )
            ]
        )
    }
    publish.publish(record, tmp_path)
    cells = " ".join((tmp_path / "docs/benchmarks.md").read_text("utf-8").split())
    assert "| how long, ms | 2 | 1 – 3 | 4 | 0.5 × | 1 | 2 × | ≤ 1 | ≤ 5 | met |" in cells
    assert "`gateway_push`, 2030-02-01; a machine; noise of the machine 7 %." in cells
    readme = (tmp_path / "README.md").read_text("utf-8")
    assert "| how long | 2 ms | ≤ 1 | ≤ 5 | met |" in readme
    assert "Measured on 2030-02-01: a machine." in readme
    assert "how long, ms" in (tmp_path / publish.PICTURE).read_text("utf-8")
    written = (tmp_path / "docs/benchmarks.json").read_bytes()
    assert msgspec.json.decode(written, type=dict[str, report.Entry]) == record


@pytest.mark.usefixtures("few")
def test_what_a_million_need_follows_from_the_figures() -> None:
    """No number of those pages stays when the measurement changes."""
    slow = {"logins per CPU second, TLS, PostgreSQL": 500.0, "memory per waiting client, TLS": 60.0}
    before, after = (publish.pages(record) for record in (made_up(), made_up(**slow)))
    assert "A million that come evenly take 35.7 s." in " ".join(before["docs/scale.md"].split())
    assert "A million that come evenly take 71.4 s." in " ".join(after["docs/scale.md"].split())
    assert "| gateway's memory | 391 MiB" in before["docs/operations.md"]
    assert "| gateway's memory | 684 MiB" in after["docs/operations.md"]


def test_one_bench_that_fails_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They go on, what they measured is kept beside the failed one's older figures, and the
    failure is named."""
    old, new = (report.Figure(what="x", value=value, unit="s") for value in (1, 2))

    def run(name: str, size: report.Size) -> list[report.Figure]:
        if name == "console_pages":
            raise RuntimeError("nothing answers")
        return [new]

    def load(name: str) -> report.Bench:
        return report.Bench(name, name, "", "", "", partial(run, name))

    kept: list[dict[str, report.Entry]] = []
    monkeypatch.setattr(report, "load", load)
    monkeypatch.setattr(report, "read_record", lambda: {"console_pages": entry([old])})
    monkeypatch.setattr(publish, "publish", lambda record, _: kept.append(record))
    assert bench.main(["--only", "console_pages", "client_idle"]) == 1
    assert "did not run: console_pages" in capsys.readouterr().err
    [record] = kept
    assert {name: each.figures for name, each in record.items()} == {
        "console_pages": [old],
        "client_idle": [new],
    }


def test_somebody_elses_clients_come_in(capsys: pytest.CaptureFixture[str]) -> None:
    """`bench.outside` logs in, waits, and tells of those whom the limits keep out."""
    with (
        stage.database("SQLite", report.Size(short=True)) as database,
        stage.server(database, CONNECTIONS_PER_ADDRESS="30") as server,
    ):
        url = f"ws://127.0.0.1:{server.port()}"
        some = [url, "--server", str(server.pid), "--seconds", "0", "--at-once", "2", "--clients"]
        assert outside.main([*some, "30"]) == 0
        said = capsys.readouterr().out
        assert "30 of 30 logged in" in said
        assert "logins per CPU second" in said
        assert outside.main([*some, "32"]) == 1
        said = capsys.readouterr().out
        assert "30 of 32 logged in" in said
        assert "refused: 2 times server rejected WebSocket connection: HTTP 429" in said


def test_a_figure_is_judged_by_its_targets() -> None:
    """Either way round, and not where there are none."""
    less = {"what": "memory", "unit": "KiB", "ambition": 8, "must": 12}
    more = {"what": "logins", "unit": "1/s", "ambition": 6_000, "must": 2_000}
    verdicts = [
        report.Figure(**less, value=value).verdict  # type: ignore[arg-type] # mixed values
        for value in (8, 8.1, 12.1)
    ]
    assert verdicts == ["ambition met", "met", "**missed**"]
    verdicts = [
        report.Figure(**more, value=value, more_is_better=True).verdict  # type: ignore[arg-type]
        for value in (6_000, 2_000, 1_999)
    ]
    assert verdicts == ["ambition met", "met", "**missed**"]
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
    gateway = ROOT / "server" / "gateway"
    assert f"\nSPREAD_SECONDS = {scale.SPREAD_SECONDS}\n" in (gateway / "server.py").read_text()
    away = f"\nUNAVAILABLE_SECONDS = {scale.UNAVAILABLE_SECONDS}\n"
    assert away in (gateway / "session.py").read_text()
    assert f"\nOPEN_SECONDS = {scale.GIVE_UP_S:.0f}\n" in (gateway / "transport.py").read_text()
