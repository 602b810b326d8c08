"""The command line, in the user's language, and a start that a bad setting refuses."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import pytest

from agent import dialogs, logs
from agent.__main__ import main

OURS = re.compile(
    r"coconowork-client|update-password|gw\.example\.com|wss?://|PC"
    r"|\b(run|status|login|logout|quit|doctor|bogus)\b|--?[a-z]+"
)
"""What stays as it is in Japanese."""


@pytest.fixture(autouse=True)
def japanese_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an English system, and a user who has chosen Japanese."""
    monkeypatch.setattr(argparse, "_", argparse._)  # type: ignore[attr-defined] # set back after it
    (tmp_path / "client.toml").write_text('language = "ja"\n', encoding="utf-8")
    for name, value in {"COCONOWORK_HOME": str(tmp_path), "LANG": "C"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["login", "--help"], 0),
        (["status", "-h"], 0),
        (["bogus"], 2),
        (["--bogus"], 2),
        (["login", "--server"], 2),
        (["login", "--password", "x"], 2),
        (["login", "--code", "--user", "tanaka"], 2),
        (["login", "--serv", "gw.example.com"], 2),
        (["status", "--json=1"], 2),
        (["quit", "bogus"], 2),
    ],
)
def test_speaks_the_users_language(
    arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Help and refusals are Japanese to the last word, those of argparse included."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    said = "".join(capsys.readouterr())
    assert end.value.code == code
    assert "使い方: coconowork-client" in said
    assert not re.findall(r"[A-Za-z]{2,}", OURS.sub("", said)), said


@pytest.mark.parametrize(("arguments", "shown"), [(["run"], 1), (["run", "--autostart"], 0)])
def test_a_refused_start_is_logged_and_shown_to_a_user_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], shown: int
) -> None:
    """The log names the setting; no window waits at a sign-in without a user."""
    (tmp_path / "client.toml").write_text('language = "fr"\n')
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(dialogs, "tell", lambda *texts: told.append(texts))
    monkeypatch.setattr(sys, "stderr", None)
    try:
        assert main(arguments) == 1
    finally:
        logs.tear_down()
    assert "client.toml: language: allowed is" in (tmp_path / "log" / "client.log").read_text()
    assert len(told) == shown
