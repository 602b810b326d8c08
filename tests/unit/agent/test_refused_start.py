"""A start with a bad setting is refused: what is logged, and what is shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agent import dialogs, logs
from agent.__main__ import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a profile with a setting that cannot be used."""
    monkeypatch.setenv("COCONOWORK_HOME", str(tmp_path))
    (tmp_path / "client.toml").write_text('language = "fr"\n')
    return tmp_path


@pytest.mark.parametrize(("arguments", "shown"), [(["run"], 1), (["run", "--autostart"], 0)])
def test_it_is_logged_and_shown_to_a_user_only(
    home: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], shown: int
) -> None:
    """The log names the setting; no window waits at a sign-in without a user."""
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(dialogs, "tell", lambda *texts: told.append(texts))
    monkeypatch.setattr(sys, "stderr", None)
    try:
        assert main(arguments) == 1
    finally:
        logs.tear_down()
    assert "client.toml: language: allowed is" in (home / "log" / "client.log").read_text()
    assert len(told) == shown
